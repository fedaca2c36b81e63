"""B3: one policy drains a long queue."""

import os
import subprocess
import threading
import time

from ..contestant import dig
from ..fake import TOKEN
from ..figures import drained, middle
from ..machine import Weather, calm_samples
from ..world import say

# The kind of policy of each variant.
VARIANTS = {"cursor": "oneshot", "match": "match", "parallel": "parallel"}
# All are selected by `match`, and none by a rule that a contestant might have for other classes.
STATUSES = [500, 503]
# From here on a queue is drained in the first run only.
LARGE = 500_000


def measure(run):
    out = {}
    with run.world("drain") as world:
        is_operator = run.c.kind == "operator"
        if is_operator:
            out["patch_ms"] = world.patch_latency()
        for variant in run.args.variants:
            if not (world.accepts(VARIANTS[variant]) if is_operator else variant in run.c.conf.get("variants", ["cursor"])):
                continue
            for entries in run.args.entries:
                if entries < LARGE or run.number == 0:
                    out.setdefault(variant, {})[f"entries_{entries}"] = one_size(run, world, variant, entries)
        if is_operator:
            out["patch_ms_after"] = world.patch_latency()
    return out


def one_size(run, world, variant, entries):
    # A process of its own, so that its peak is that of this drain.
    operator = world.ready_operator() if run.c.kind == "operator" else None
    out = {}
    for latency in run.args.latencies:
        world.fake.latency(latency)
        # Without latency the figures depend on the machine's pace, so more samples are taken.
        times = run.args.drains if latency == 0 and entries < LARGE else 1

        def drain(attempt):
            label = f"{variant}-{entries}-{latency}-{attempt}"
            say(f"  {label}")
            world.fake.reset(items=True)
            world.fake.seed(entries, [label], spread=run.args.spread, responseStatuses=STATUSES)
            limit = 300 + entries / 50 * (latency + 10) / 1000 * 2
            if operator is None:
                return by_script(run, world, variant, label, entries, limit)
            return by_operator(world, operator, variant, label, entries, limit)

        got, machine = calm_samples(drain, times, 3 * times, run.args.patience)
        out[f"latency_{latency}ms"] = {**middle(got), "machine": machine}
    world.fake.latency(0)
    if operator is not None:
        operator.stop()
    return out


def by_operator(world, operator, variant, label, entries, limit):
    with world.counting() as counted:
        cpu = operator.cpu()
        with Weather() as weather:
            world.create(world.body(label, VARIANTS[variant]))
            world.fake.first_call(label, 60, operator)
            if not world.fake.drained(entries, limit, operator):
                say("  the drain did not end in time")
        processed = status_of(world, label, entries)
        operator.wait_quiet(20, window=1.0)
        cpu = operator.cpu() - cpu
    out = drained([call for call in world.fake.calls() if call[4] == label], entries)
    writes = counted.writes(world.c.plural)
    out.update(status_processed=processed, requests=dict(counted), requests_total=counted.total(), writes=writes,
               writes_per_page=writes / out["pages"], cpu_ms_per_page=cpu / out["pages"] * 1e3,
               cpu_us_per_entry=cpu / entries * 1e6, control_plane_cpu_ms_per_page=counted.cpu / out["pages"] * 1e3,
               rss_mb=operator.memory()["VmRSS"], peak_mb=operator.memory()["VmHWM"])
    return out, weather


def status_of(world, label, entries):
    """The count that the policy's status ends with: it may be written after the last call."""
    processed = None
    for _ in range(100):
        processed = dig(world.get_policy(label), world.c.processed)
        if isinstance(processed, int) and processed >= entries:
            break
        time.sleep(0.1)
    return processed


def by_script(run, world, variant, label, entries, limit):
    variables = {"BASE_URL": world.fake.url, "TOKEN": TOKEN, "LABEL": label, "VARIANT": variant}
    since = time.time()
    with Weather() as weather, open(os.path.join(world.folder, "contestant.log"), "ab") as log:
        process = subprocess.Popen(run.c.argv(variables), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run.c.folder,
                                   env={**os.environ, **run.c.environment(variables)})
        timer = threading.Timer(limit, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the script exited with {process.returncode}; see its log")
    calls = world.fake.calls()
    out, cpu = drained(calls, entries), usage.ru_utime + usage.ru_stime
    out.update(peak_mb=usage.ru_maxrss / 1024, cpu_ms_per_page=cpu / out["pages"] * 1e3, cpu_us_per_entry=cpu / entries * 1e6,
               start_to_first_call_s=min(call[0] for call in calls) / 1e9 - since)
    return out, weather
