"""The rows of the tables: which figure of a result, what it is called, and which way is better."""

import re
from typing import NamedTuple

LOWER, HIGHER, NEITHER = -1, 1, 0


class Row(NamedTuple):
    path: str  # of the figure, where {} is a variable part such as "policies_1000"
    name: str
    digits: int
    better: int


PATTERNS = [
    Row("B1.{}.at_rest.rss_mb", "B1 {}: RSS at rest, first start (MiB)", 1, LOWER),
    Row("B1.{}.first_start.peak_mb", "B1 {}: peak RSS, first start (MiB)", 1, LOWER),
    Row("B1.{}.at_rest.cpu_s_per_minute", "B1 {}: CPU at rest (s per minute)", 4, LOWER),
    Row("B1.{}.at_rest.requests_total", "B1 {}: API requests at rest", 0, LOWER),
    Row("B1.{}.at_rest.control_plane_mb", "B1 {}: RSS of the control plane (MiB)", 0, NEITHER),
    Row("B1.{}.first_start.until_quiet_s", "B1 {}: first start until at rest (s)", 2, LOWER),
    Row("B1.{}.first_start.first_call_s", "B1 {}: first start to a new policy's first call (s)", 2, LOWER),
    Row("B1.{}.first_start.cpu_s", "B1 {}: CPU of a first start (s)", 2, LOWER),
    Row("B1.{}.first_start.control_plane_cpu_s", "B1 {}: CPU of the control plane at a first start (s)", 2, LOWER),
    Row("B1.{}.first_start.requests_total", "B1 {}: API requests of a first start", 0, LOWER),
    Row("B1.{}.after_restart.rss_mb", "B1 {}: RSS at rest, after a restart (MiB)", 1, LOWER),
    Row("B1.{}.restart.peak_mb", "B1 {}: peak RSS, after a restart (MiB)", 1, LOWER),
    Row("B1.{}.after_restart.cpu_s_per_minute", "B1 {}: CPU at rest, after a restart (s per minute)", 4, LOWER),
    Row("B1.{}.restart.until_quiet_s", "B1 {}: restart until at rest (s)", 2, LOWER),
    Row("B1.{}.restart.cpu_s", "B1 {}: CPU of a restart (s)", 2, LOWER),
    Row("B1.{}.restart.requests_total", "B1 {}: API requests of a restart", 0, LOWER),
    Row("B2.{}.first_call_s", "B2 {}: start to first call (s)", 3, LOWER),
    Row("B2.{}.worst_s", "B2 {}: the slowest of these starts (s)", 3, LOWER),
    Row("B2.{}.ready_s", "B2 {}: start to ready probe (s)", 3, NEITHER),
    Row("failover.{}.stopped_s", "Failover {}: leader stopped, to first call (s)", 2, LOWER),
    Row("failover.{}.killed_s", "Failover {}: leader killed, to first call (s)", 2, LOWER),
    Row("failover.{}.standby_rss_mb", "Failover {}: RSS of a standby (MiB)", 1, LOWER),
    Row("failover.{}.requests_total", "Failover {}: API requests", 0, LOWER),
    Row("shards.{}.even_rss_mb", "Shards {}: RSS of one of two installations (MiB)", 1, LOWER),
    Row("shards.{}.odd_rss_mb", "Shards {}: RSS of the other (MiB)", 1, LOWER),
    Row("shards.{}.even_first_call_s", "Shards {}: its start to first call (s)", 2, LOWER),
    Row("shards.{}.requests_total", "Shards {}: API requests of both starts", 0, LOWER),
    Row("shards.{}.without_the_other_s", "Shards {}: first call once the other was killed (s)", 3, LOWER),
    Row("B3.{}.{}.{}.items_per_s", "B3 {}, {}, {}: entries per second", 0, HIGHER),
    Row("B3.{}.{}.{}.seconds", "B3 {}, {}, {}: seconds", 2, LOWER),
    Row("B3.{}.{}.{}.pages", "B3 {}, {}, {}: calls", 0, LOWER),
    Row("B3.{}.{}.{}.overhead_ms_per_page", "B3 {}, {}, {}: overhead per page (ms)", 3, LOWER),
    Row("B3.{}.{}.{}.gap_p99_ms", "B3 {}, {}, {}: p99 between two calls (ms)", 3, LOWER),
    Row("B3.{}.{}.{}.requests_total", "B3 {}, {}, {}: API requests", 0, LOWER),
    Row("B3.{}.{}.{}.writes", "B3 {}, {}, {}: API writes", 0, LOWER),
    Row("B3.{}.{}.{}.peak_mb", "B3 {}, {}, {}: peak RSS (MiB)", 1, LOWER),
    Row("B4.{}.{}.p50_ms", "B4 {}, {}: lateness p50 (ms)", 1, LOWER),
    Row("B4.{}.{}.p99_ms", "B4 {}, {}: lateness p99 (ms)", 1, LOWER),
    Row("B4.{}.{}.max_ms", "B4 {}, {}: lateness max (ms)", 1, LOWER),
    Row("B4.{}.{}.missed", "B4 {}, {}: policies without a call", 0, LOWER),
    Row("B4.{}.{}.early", "B4 {}, {}: calls before the minute", 0, LOWER),
    Row("B4.{}.{}.writes_per_run", "B4 {}, {}: API writes per run", 3, LOWER),
    Row("B4.{}.{}.cpu_ms_per_run", "B4 {}, {}: CPU per run (ms)", 3, LOWER),
    Row("B4.{}.{}.control_plane_cpu_ms_per_run", "B4 {}, {}: CPU of the control plane per run (ms)", 3, LOWER),
    Row("B4.{}.peak_mb", "B4 {}: peak RSS (MiB)", 1, LOWER),
    Row("B5.p50_ms", "B5 apply to first call, p50 (ms)", 2, LOWER),
    Row("B5.p99_ms", "B5 apply to first call, p99 (ms)", 2, LOWER),
    Row("B5.create_p50_ms", "B5 of which creating it, p50 (ms)", 2, NEITHER),
    Row("B6.binary_mb", "B6 binary (MB)", 2, LOWER),
    Row("B6.binary_gzip_mb", "B6 binary, gzipped (MB)", 2, LOWER),
    Row("B6.image_mb", "B6 image (MB)", 2, LOWER),
    Row("B3.{}.{}.{}.cpu_ms_per_page", "B8 {}, {}, {}: CPU per page (ms)", 3, LOWER),
    Row("B3.{}.{}.{}.cpu_us_per_entry", "B8 {}, {}, {}: CPU per entry (µs)", 2, LOWER),
    Row("B3.{}.{}.{}.control_plane_cpu_ms_per_page", "B8 {}, {}, {}: CPU of the control plane per page (ms)", 3, LOWER),
    Row("{}.pace_ms", "Machine, {}: a fixed piece of work (ms)", 2, NEITHER),
    Row("B3.patch_ms", "Machine, B3: a status patch before (ms)", 3, NEITHER),
    Row("B3.patch_ms_after", "Machine, B3: a status patch after (ms)", 3, NEITHER),
]


def spoken(part):
    """A variable part of a path as a table shows it: "policies_10000" is "10,000 policies"."""
    if match := re.fullmatch(r"(policies|entries)_(\d+)", part):
        return f"{int(match[2]):,} {match[1]}"
    if match := re.fullmatch(r"latency_(\d+)ms", part):
        return f"{match[1]} ms"
    return part


def order(parts):
    """Variable parts in the order of their numbers: a thousand comes before ten thousand."""
    return [(re.sub(r"\d+", "", part), int(re.sub(r"\D", "", part) or 0)) for part in parts]


def rows(paths):
    """The rows that these figures have, with nothing variable left in them."""
    paths, out = list(dict.fromkeys(paths)), []
    for row in PATTERNS:
        pattern = re.compile(re.escape(row.path).replace(r"\{\}", r"([^.]+)"))
        found = sorted((match.groups() for path in paths if (match := pattern.fullmatch(path))), key=order)
        out += [row._replace(path=row.path.format(*parts), name=row.name.format(*map(spoken, parts))) for parts in found]
    return out
