"""Draws a Grafana dashboard as one SVG, with what a Prometheus answers to its queries.

draw.py DASHBOARD PROMETHEUS_URL END_UNIX_TIME > picture.svg

A test runs it about a day of the operator's own metrics (src/controller/metrics/day_tests), and `make picture` leaves
target/dashboard.svg that way. It knows the kinds of panel that the dashboard has: row, stat, timeseries and table. A query without an answer is an error.
"""

import html
import json
import math
import re
import sys
import urllib.parse
import urllib.request

WIDTH, COLUMN, UNIT, GAP, HEAD = 1440, 60, 30, 6, 44
SPAN, STEP = 86400, 600
BACK, CARD, EDGE, TEXT, DIM = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e9199"
LINES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#fade2a", "#8ab8ff", "#ffb357"]
NAMED = {"green": "#73bf69", "red": "#f2495c", "orange": "#ff9830", "blue": "#5794f2", "yellow": "#f2cc0c"}
VARIABLES = {"$__rate_interval": "10m", "$__range": "24h", "$namespace": ".*", "$policy": ".*"}


class Drawing:
    def __init__(self, height):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'font-family="Inter, Helvetica, Arial, sans-serif">',
            f'<rect width="{WIDTH}" height="{height}" fill="{BACK}"/>',
        ]

    def rect(self, x, y, w, h, fill, more=""):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" {more}/>')

    def text(self, x, y, text, size=12, fill=TEXT, anchor="start", more=""):
        text = html.escape(str(text))
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" {more}>{text}</text>')

    def line(self, points, stroke, width=1.2):
        if len(points) == 1:
            points = [points[0], (points[0][0] + 1, points[0][1])]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in without_flat_runs(points))
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>')

    def area(self, points, floor, fill):
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*points, *reversed(floor)])
            self.parts.append(f'<polygon points="{path}" fill="{fill}" fill-opacity="0.25"/>')


def ask(base, path, **parameters):
    query = parameters["query"]
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    url = f"{base}/api/v1/{path}?" + urllib.parse.urlencode({**parameters, "query": query})
    with urllib.request.urlopen(url) as answer:
        result = json.load(answer)["data"]["result"]
    if not result:
        sys.exit(f"no data: {query}")
    return result


def readable(value, unit):
    if value is None or math.isnan(value):
        return "-"
    sign, value = ("-" if value < 0 else ""), abs(value)
    if unit == "s" and value:
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
            if value >= size:
                return f"{sign}{value / size:.3g} {name}"
    if unit == "bytes":
        return f"{sign}{value / 2**20:.3g} MiB"
    if unit == "percentunit":
        return f"{sign}{value * 100:.3g} %"
    suffix = {"ops": "/s", "reqps": "/s"}.get(unit, "")
    for size, name in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{sign}{value / size:.3g}{name}{suffix}"
    return f"{sign}{value:.3g}{suffix}"


def legend(target, labels):
    wanted = target["legendFormat"]
    return re.sub(r"{{\s*(\w+)\s*}}", lambda name: labels.get(name[1], ""), wanted).strip()


def stat(drawing, panel, box, base, end):
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    result = ask(base, "query", query=panel["targets"][0]["expr"], time=end)
    value = float(result[0]["value"][1])
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    shown = readable(round(value) if defaults["unit"] == "short" else value, defaults["unit"])
    drawing.text(x + w / 2, y + h / 2 + 26, shown, 36, NAMED[steps[-1]["color"]], "middle", 'font-weight="600"')


def nice(low, high, unit):
    """A step for about four grid lines."""
    rough = (high - low) / 4 or 1
    if unit == "s" and rough > 30:
        return next(step for step in (60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604800) if step >= rough)
    if unit == "bytes":
        return nice(0, rough * 4 / 2**20, "") * 2**20
    size = 10 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)


def without_flat_runs(points):
    """The same line with fewer points."""
    last = len(points) - 1
    return [
        point for i, point in enumerate(points) if i in (0, last) or not points[i - 1][1] == point[1] == points[i + 1][1]
    ]


def timeseries(drawing, panel, box, base, end):
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    times = [end - SPAN + STEP * i for i in range(SPAN // STEP + 1)]
    series = []
    for target in panel["targets"]:
        for one in ask(base, "query_range", query=target["expr"], start=times[0], end=end, step=STEP):
            values = {round(at): float(value) for at, value in one["values"]}
            values = {at: value for at, value in values.items() if not math.isnan(value)}
            series.append((legend(target, one["metric"]), [values.get(at) for at in times]))
    series.sort(key=lambda one: one[0])
    fixed = {
        one["matcher"]["options"]: NAMED[one["properties"][0]["value"]["fixedColor"]]
        for one in panel["fieldConfig"]["overrides"]
    }
    colours = [fixed.get(name, LINES[i % len(LINES)]) for i, (name, _) in enumerate(series)]
    floors = []
    if stacked:
        below = [0.0] * len(times)
        for i, (name, values) in enumerate(series):
            above = [low + (value or 0) for low, value in zip(below, values)]
            floors.append(below)
            series[i], below = (name, above), above
    known = [value for _, values in series for value in values if value is not None]
    low = min([*known, 0])
    high = max([*known, defaults.get("max", 0)], default=1) or 1
    step = nice(low, high, defaults["unit"])
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    left, top, right, bottom = x + 62, y + 32, x + w - 22, y + h - 44

    def place(at, value):
        return left + (at - times[0]) / SPAN * (right - left), bottom - (value - low) / (high - low) * (bottom - top)

    for i in range(round((high - low) / step) + 1):
        value = low + i * step
        level = place(end, value)[1]
        drawing.line([(left, level), (right, level)], EDGE, 0.8)
        drawing.text(left - 6, level + 4, readable(value, defaults["unit"]), 10, DIM, "end")
    for hour in range(0, 25, 6):
        drawing.text(place(times[0] + hour * 3600, low)[0], bottom + 15, f"{hour:02}:00", 10, DIM, "middle")
    for i, (_, values) in enumerate(series):
        colour, run = colours[i], []
        points = [None if value is None else place(at, value) for at, value in zip(times, values)]
        if stacked:
            drawing.area(points, [place(at, value) for at, value in zip(times, floors[i])], colour)
        for point in [*points, None]:
            if point:
                run.append(point)
            elif run:
                drawing.line(run, colour)
                run = []
    across = left - 50
    for i, (name, _) in enumerate(series):
        size = 18 + 6.5 * len(name)
        if across + size > right + 14:
            drawing.text(across, y + h - 11, "...", 11, DIM)
            break
        drawing.rect(across, y + h - 16, 10, 4, colours[i])
        drawing.text(across + 14, y + h - 11, name, 11, DIM)
        across += size + 8


def table(drawing, panel, box, base, end):
    x, y, w, h = box
    organize = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    units = {
        one["matcher"]["options"]: one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]
    }
    rows = {}
    for target in panel["targets"]:
        for one in ask(base, "query", query=target["expr"], time=end):
            labels = one["metric"]
            row = rows.setdefault((labels["namespace"], labels["name"]), {})
            row.update(labels, **{f"Value #{target['refId']}": float(one["value"][1])})
    order = sorted(organize["indexByName"], key=organize["indexByName"].get)
    width = (w - 24) / len(order)
    for i, field in enumerate(order):
        title = organize["renameByName"][field]
        drawing.text(x + 12 + i * width, y + 48, title, 12, NAMED["blue"])
        for j, key in enumerate(sorted(rows)):
            value = rows[key].get(field, "")
            shown = readable(value, units.get(title, "short")) if isinstance(value, float) else value
            drawing.text(x + 12 + i * width, y + 76 + j * 26, shown, 12)
            drawing.line([(x + 12, y + 57 + j * 26), (x + w - 12, y + 57 + j * 26)], EDGE, 0.5)


DRAWN = {"stat": stat, "timeseries": timeseries, "table": table}


def main(dashboard, base, end):
    with open(dashboard, encoding="utf-8") as file:
        dashboard = json.load(file)
    panels = dashboard["panels"]
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    drawing = Drawing(HEAD + bottom * UNIT + GAP)
    drawing.text(14, 28, dashboard["title"], 18, TEXT, more='font-weight="600"')
    for panel in panels:
        grid = panel["gridPos"]
        x, y = grid["x"] * COLUMN + GAP / 2, HEAD + grid["y"] * UNIT + GAP / 2
        w, h = grid["w"] * COLUMN - GAP, grid["h"] * UNIT - GAP
        if panel["type"] == "row":
            drawing.text(x + 10, y + 18, panel["title"], 15, TEXT, more='font-weight="600"')
            continue
        drawing.rect(x, y, w, h, CARD, f'stroke="{EDGE}" rx="3"')
        drawing.text(x + 12, y + 20, panel["title"], 13, TEXT, more='font-weight="500"')
        DRAWN[panel["type"]](drawing, panel, (x, y, w, h), base, end)
    print("\n".join([*drawing.parts, "</svg>"]))


main(sys.argv[1], sys.argv[2].rstrip("/"), int(sys.argv[3]))
