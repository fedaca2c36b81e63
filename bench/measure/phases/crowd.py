"""B4: many policies that are due on the same minute, and how late each one's first call comes."""

import time

from ..figures import lateness, middle
from ..machine import Weather, calm_samples
from ..world import say

ENTRIES = 5  # of each policy, so that a run is one page


def measure(run):
    out = {}
    for policies in run.args.due:
        with run.world(f"due-{policies}") as world:
            out[f"policies_{policies}"] = one_size(run, world, policies)
    return out


def minutes(now, settle, gap, count):
    """When the policies are due, in seconds since the epoch: whole minutes, the first after they have settled."""
    first = (int(now + settle) // 60 + 1) * 60
    return [first + 60 * gap * i for i in range(count)]


def schedule(ticks):
    return ",".join(str(m) for m in sorted({tick // 60 % 60 for tick in ticks})) + " * * * *"


def one_size(run, world, policies):
    operator = world.ready_operator()
    labels = [f"due-{i:05d}" for i in range(policies)]
    latencies = [latency for latency in run.args.latencies if latency <= 20] or [0]
    # Room for a run of all of them, and for the policies to be created and seen before the first.
    gap, settle = 1 + policies // 3000, 40 + policies / 60
    # At most an hour, so that no minute comes twice.
    count = min(60 // gap, 3 * run.args.ticks * len(latencies))
    ticks = minutes(time.time(), settle, gap, count)
    due = schedule(ticks)
    world.create_many(world.body(label, "scheduled", due) for label in labels)
    operator.wait_quiet(settle)
    out = {}
    for latency in latencies:
        world.fake.latency(latency)

        def minute(_):
            tick = next((t for t in ticks if t > time.time() + 6), None)
            if tick is None:
                raise RuntimeError("creating the policies took longer than every minute on which they are due")
            say(f"  {policies} policies at {latency} ms are due in {tick - time.time():.0f} s")
            world.fake.reset(items=True)
            world.fake.seed(policies * ENTRIES, labels)
            time.sleep(max(0, tick - 5 - time.time()))
            with world.counting() as counted:
                cpu = operator.cpu()
                time.sleep(max(0, tick - 0.5 - time.time()))
                with Weather() as weather:
                    world.fake.wait(60 * gap - 25, distinctLabels=policies)
                operator.wait_quiet(max(1, tick + 60 * gap - 15 - time.time()), window=1.0)
                cpu = operator.cpu() - cpu
            late = lateness(world.fake.calls(), tick, "due-", policies)
            return {**late, "cpu_ms_per_run": cpu / policies * 1e3, "requests": dict(counted),
                    "writes_per_run": counted.writes(world.c.plural) / policies,
                    "control_plane_cpu_ms_per_run": counted.cpu / policies * 1e3}, weather

        got, machine = calm_samples(minute, run.args.ticks, 3 * run.args.ticks, run.args.patience and 1)
        out[f"latency_{latency}ms"] = {**middle(got), "missed": max(g["missed"] for g in got), "machine": machine}
    memory = operator.memory()
    operator.stop()
    return {**out, "rss_mb": memory["VmRSS"], "peak_mb": memory["VmHWM"]}
