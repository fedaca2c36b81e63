"""Draws how cost grows with policies and entries: an SVG for each figure, a curve for each contestant."""

import html
import math
import os
import re

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 660, 360, 78, 40, 48, 78
COLOURS = ["#1f6feb", "#d1242f", "#8250df", "#1a7f37", "#bf8700", "#57606a"]

# file, title, name of the y axis, and the path of the figure, whose {} is the number on the x axis
CHARTS = [
    ("memory-at-rest", "Memory at rest", "MiB", "policies", "B1.policies_{}.at_rest.rss_mb"),
    ("memory-after-restart", "Memory at rest after a restart", "MiB", "policies", "B1.policies_{}.after_restart.rss_mb"),
    ("memory-peak", "Peak memory of a first start", "MiB", "policies", "B1.policies_{}.first_start.peak_mb"),
    ("cpu-first-start", "CPU of a first start", "seconds", "policies", "B1.policies_{}.first_start.cpu_s"),
    ("requests-first-start", "Requests to the API server at a first start", "requests", "policies",
     "B1.policies_{}.first_start.requests_total"),
    ("requests-restart", "Requests to the API server at a restart", "requests", "policies",
     "B1.policies_{}.restart.requests_total"),
    ("first-start", "First start until at rest", "seconds", "policies", "B1.policies_{}.first_start.until_quiet_s"),
    ("control-plane-memory", "Memory of etcd and the API server", "MiB", "policies", "B1.policies_{}.at_rest.control_plane_mb"),
    ("start-to-first-call", "Start to first call", "seconds", "policies", "B2.policies_{}.first_call_s"),
    ("failover-stopped", "Failover after the leader was stopped", "seconds", "policies", "failover.policies_{}.stopped_s"),
    ("failover-killed", "Failover after the leader was killed", "seconds", "policies", "failover.policies_{}.killed_s"),
    ("lateness", "Lateness of policies that are due together, p99", "ms", "policies", "B4.policies_{}.latency_0ms.p99_ms"),
    ("drain-seconds", "Time to drain a queue", "seconds", "entries", "B3.cursor.entries_{}.latency_0ms.seconds"),
    ("drain-memory", "Peak memory of a drain", "MiB", "entries", "B3.cursor.entries_{}.latency_0ms.peak_mb"),
    ("drain-requests", "Requests to the API server of a drain", "requests", "entries",
     "B3.cursor.entries_{}.latency_0ms.requests_total"),
]


def points(median, path):
    """(x, y) of the figures that a path names, in ascending order."""
    pattern = re.compile(re.escape(path).replace(r"\{\}", r"(\d+)"))
    return sorted((int(match[1]), value) for key, value in median.items() if (match := pattern.fullmatch(key)))


class Scale:
    """From values to places on an axis. It is logarithmic, except that there is room for zero before the first power of ten."""

    def __init__(self, values, start, end):
        above = [value for value in values if value > 0] or [1]
        self.low = math.floor(math.log10(min(above)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(above)) - 1e-9), self.low + 1)
        self.has_zero = any(value <= 0 for value in values)
        self.start, self.end = start, end
        self.first = start + (end - start) * (0.12 if self.has_zero else 0)

    def __call__(self, value):
        if value <= 0:
            return self.start
        return self.first + (self.end - self.first) * (math.log10(value) - self.low) / (self.high - self.low)

    def ticks(self):
        powers = [10.0 ** exponent for exponent in range(self.low, self.high + 1)]
        return [0.0, *powers] if self.has_zero else powers


def number(value):
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def short(value):
    """A value with no more digits than one can tell apart in a picture."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(words)}</text>'


def chart(title, unit, x_name, series):
    """A picture of named series of (x, y)."""
    across = Scale([x for _, line in series for x, _ in line], LEFT, WIDTH - RIGHT)
    up = Scale([y for _, line in series for _, y in line], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(LEFT, 24, f"{title} ({unit})", "start", 'font-size="15" font-weight="bold"'),
    ]
    for tick in up.ticks():
        y = up(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(text(LEFT - 8, y + 4, number(tick), "end"))
    for tick in across.ticks():
        x = across(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eaeef2"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 18, number(tick)))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, x_name))
    legend, tops = LEFT, [(across(x), up(y)) for _, line in series for x, y in line]
    for index, (name, line) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        places = [(across(x), up(y), y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, value in places:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            anchor = "start" if x < LEFT + 20 else "middle"
            is_highest = y <= min(highest for column, highest in tops if column == x)
            parts.append(text(x, y - 8 if is_highest else y + 16, short(value), anchor, f'fill="{colour}" font-size="11"'))
        parts.append(f'<rect x="{legend}" y="{HEIGHT - 26}" width="12" height="12" fill="{colour}"/>')
        parts.append(text(legend + 18, HEIGHT - 16, name, "start"))
        legend += 40 + 7 * len(name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def pictures(documents):
    """The name and the text of each picture that the results have points for.

    Results of one contestant are joined: sizes that take long may have been measured apart."""
    medians = {}
    for document in documents:
        medians.setdefault(document["contestant"], {}).update(document["median"])
    for name, title, unit, x_name, path in CHARTS:
        series = [(contestant, line) for contestant, median in medians.items() if len(line := points(median, path)) > 1]
        if series:
            yield name, chart(title, unit, x_name, series)


def write_all(documents, folder):
    os.makedirs(folder, exist_ok=True)
    for name, picture in pictures(documents):
        path = os.path.join(folder, name + ".svg")
        with open(path, "w") as file:
            file.write(picture)
        print(path)
