"""Tables of results: the contestants side by side, what they asked of the API server, and what to give an operator."""

import math

from .figures import ratio
from .rows import HIGHER, LOWER, rows, spoken


def cell(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def markdown_table(head, lines):
    aligned = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, aligned, *lines])


def verdict(ours, theirs, better):
    """A ratio in words: how many times better the first contestant is than another."""
    times = ratio(ours, theirs)
    if times is None or times <= 0:
        return "" if times is None else cell(times, 2)
    if better not in (LOWER, HIGHER):
        return f"{times:.2f}"
    gain = times if better == LOWER else 1 / times
    return "equal" if abs(gain - 1) < 0.03 else f"{gain:.2f}× better" if gain > 1 else f"{1 / gain:.2f}× worse"


def comparison(documents):
    """A row for each figure: the median of each contestant, and how the first compares with each of the others."""
    first, *others = documents
    head = ["median"] + [f"{d['contestant']} ({len(d['runs'])})" for d in documents]
    head += [f"{first['contestant']} to {d['contestant']}" for d in others]
    lines = []
    for row in rows(path for d in documents for path in d["median"]):
        values = [d["median"].get(row.path) for d in documents]
        compared = [verdict(values[0], value, row.better) for value in values[1:]]
        lines.append([row.name, *(cell(value, row.digits) for value in values), *compared])
    return markdown_table(head, lines)


def requests_by_verb(documents):
    """B7: a row for each phase and request, with the median count of each contestant."""
    named = dict.fromkeys(path for d in documents for path in d["median"] if ".requests." in path)
    lines = []
    for path in named:
        phase, _, request = path.partition(".requests.")
        # No such request was counted, or none at all: the phase was not measured.
        values = [d["median"].get(path, 0 if any(p.startswith(phase + ".") for p in d["median"]) else None) for d in documents]
        where = ", ".join(spoken(part).replace("_", " ") for part in phase.split("."))
        lines.append([f"{where}: {request}", *(cell(value, 0) for value in values)])
    return markdown_table(["B7: requests to the API server", *(d["contestant"] for d in documents)], lines)


def rounded_up(mebibytes, step):
    return math.ceil(mebibytes / step) * step


def sizing(document):
    """For each number of policies what was measured, and what to give a replica.

    The request holds what it needs at rest with a quarter to spare; the limit its peak with a half to spare."""
    median, lines = document["median"], []
    for row in rows(median):
        if not row.path.startswith("B1.") or not row.path.endswith(".at_rest.rss_mb"):
            continue
        base = row.path.removesuffix(".at_rest.rss_mb")
        rest = max(median[row.path], median.get(f"{base}.after_restart.rss_mb", 0))
        peak = max(median[f"{base}.first_start.peak_mb"], median.get(f"{base}.restart.peak_mb", 0))
        lines.append([f"{int(base.rsplit('_', 1)[1]):,}", cell(rest, 0), cell(peak, 0),
                      cell(median[f"{base}.first_start.cpu_s"], 1), f"{rounded_up(rest * 1.25, 16)}Mi", f"{rounded_up(peak * 1.5, 32)}Mi"])
    return markdown_table(["policies", "MiB at rest", "MiB at most", "CPU seconds of a first start", "`requests.memory`",
                           "`limits.memory`"], lines)


def report(documents):
    """All of it as a Markdown page."""
    first = documents[0]
    machine = ", ".join(f"{name} {value}" for name, value in first["environment"].items())
    parts = [f"# Measured on {first['date']}", f"Machine: {machine}.", comparison(documents)]
    requests = requests_by_verb(documents)
    if requests.count("\n") > 1:
        parts += ["## Requests to the API server", requests]
    if any(path.endswith(".at_rest.rss_mb") for path in first["median"]):
        parts += [f"## Size of a replica of {first['contestant']}", sizing(first)]
    return "\n\n".join(parts) + "\n"
