"""Pure arithmetic on samples, records of calls and the results of runs."""

import statistics


def quantile(samples, q):
    """By nearest rank; None without samples."""
    ordered = sorted(samples)
    if not ordered:
        return None
    rank = -(-round(q * 1000) * len(ordered) // 1000)
    return ordered[min(len(ordered), max(1, rank)) - 1]


def drained(calls, wanted):
    """What the record of a drain's calls says. A page is the answer to one call, a list's or an action's."""
    calls = sorted(calls)
    first, last = calls[0][0], max(call[0] + call[1] for call in calls)
    seconds, pages = (last - first) / 1e9, len(calls)
    upstream = sum(call[1] for call in calls) / 1e9
    gaps = [(after[0] - before[0] - before[1]) / 1e6 for before, after in zip(calls, calls[1:])]
    items = sum(call[6] for call in calls)
    out = {
        "items": items, "complete": items == wanted, "pages": pages, "lists": sum(call[2] == "list" for call in calls),
        "failed_calls": sum(call[3] != 200 for call in calls), "seconds": seconds, "items_per_s": items / seconds,
        "pages_per_s": pages / seconds, "upstream_ms_per_page": upstream / pages * 1e3,
    }
    # Of calls that overlap, the time between them says nothing.
    if all(gap >= 0 for gap in gaps):
        out.update(overhead_ms_per_page=(seconds - upstream) / pages * 1e3, gap_p99_ms=quantile(gaps, 0.99))
    return out


def middle(samples):
    """One dictionary of several: medians of numbers, also of nested counts, and the first of everything else."""
    def of(key):
        values = [s[key] for s in samples if s.get(key) is not None]
        if not values:
            return None
        if isinstance(values[0], bool):
            return all(values)
        if isinstance(values[0], dict):
            return {k: statistics.median(v.get(k, 0) for v in values) for k in dict.fromkeys(k for v in values for k in v)}
        return statistics.median(values) if isinstance(values[0], (int, float)) else values[0]
    return {key: of(key) for key in dict.fromkeys(key for s in samples for key in s)}


def flattened(value, prefix=""):
    """The numbers of nested objects, by a path such as "B1.policies_0.at_rest.rss_mb"."""
    out = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            out.update(flattened(inner, f"{prefix}{key}."))
        elif isinstance(inner, (int, float)):
            out[prefix + key] = inner
    return out


def medians(runs):
    """Of every number, the median over the runs that have it."""
    flat = [flattened(run) for run in runs]
    keys = dict.fromkeys(key for run in flat for key in run)
    return {key: statistics.median(run[key] for run in flat if key in run) for key in keys}


def ratio(ours, theirs):
    """How many times theirs is ours, or None where that says nothing."""
    return theirs / ours if ours and theirs is not None else None


def lateness(calls, tick, prefix, wanted):
    """How late each policy's first call came after the minute that it was due, in ms."""
    first, unplanned = {}, 0
    for at, _, _, _, label, _, _ in calls:
        seconds = at / 1e9 - tick
        if not label.startswith(prefix) or seconds < -5:
            unplanned += 1
        elif label not in first or seconds < first[label]:
            first[label] = seconds
    late = [seconds * 1e3 for seconds in first.values()]
    return {"p50_ms": quantile(late, 0.5), "p99_ms": quantile(late, 0.99), "max_ms": max(late, default=None),
            "missed": wanted - len(first), "early": sum(x < 0 for x in late), "unplanned": unplanned}
