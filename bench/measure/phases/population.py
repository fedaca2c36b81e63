"""B1, B2, failover and shards: what so many policies cost at a first start, at rest, after a restart, when the leader changes,
and where two installations share them.

Each size has a world of its own, as a first start is one at which no policy was seen before."""

import statistics
import time

from ..machine import Weather, wait_for_calm
from ..world import NEVER, say
from .failover import failovers
from .shards import SHARDS, shards
from .starts import starts

# From here on a size is measured in the first run only: creating the policies takes minutes.
LARGE = 20_000


def measure(run, wanted):
    out = {phase: {} for phase in wanted}
    for policies in run.args.policies:
        if policies >= LARGE and run.number > 0:
            continue
        say(f"  {policies} policies")
        with run.world(f"policies-{policies}") as world:
            for phase, figures in one_size(run, world, policies, wanted).items():
                out[phase][f"policies_{policies}"] = figures
    return out


def one_size(run, world, policies, wanted):
    since = time.time()
    world.create_many(world.body(f"rest-{i:06d}", "scheduled", NEVER, shard=SHARDS[i % len(SHARDS)]) for i in range(policies))
    created = time.time() - since
    patience = 300 + policies / 50
    out = {phase: {} for phase in wanted}
    operator, first = first_start(run, world, patience)
    if "B1" in wanted:
        rest = at_rest(run, world, operator)
        out["B1"] = {"created_s": created, "first_start": first, "at_rest": rest}
    operator.stop()
    if "B2" in wanted:
        out["B2"] = starts(run, world)
    if "B1" in wanted:
        operator, again = restart(world, patience)
        out["B1"]["restart"] = again
        out["B1"]["after_restart"] = at_rest(run, world, operator)
        operator.stop()
    if "failover" in wanted:
        out["failover"] = failovers(run, world, patience)
    if "shards" in wanted:
        out["shards"] = shards(world, patience)
    return out


def first_start(run, world, patience):
    """From the start of the process until every policy was seen and it is at rest."""
    wait_for_calm(run.args.patience)
    with world.counting() as counted, Weather() as weather:
        operator = world.operator()
        called = world.first_call_of_new_policy("first-start", patience, operator)
        deadline = time.time() + patience
        while True:
            quiet = world.wait_settled(operator, counted, patience)
            have, seen = world.observed()
            if quiet is None or seen >= have or time.time() > deadline:
                break
    if seen < have:
        say(f"  only {seen} of {have} policies were observed")
    return operator, {
        "first_call_s": called - operator.at, "until_quiet_s": quiet and quiet - operator.at, "policies": have,
        "observed": seen, "peak_mb": operator.memory()["VmHWM"], "cpu_s": operator.cpu(),
        "control_plane_cpu_s": counted.cpu, "requests": dict(counted), "requests_total": counted.total(),
        "machine": {"foreign_cores": weather.foreign}}


def restart(world, patience):
    """The same where every policy was seen by a process before, as after an upgrade."""
    with world.counting() as counted:
        operator = world.operator()
        called = world.first_call_of_new_policy("restart", patience, operator)
        quiet = world.wait_settled(operator, counted, patience)
    return operator, {
        "first_call_s": called - operator.at, "until_quiet_s": quiet and quiet - operator.at,
        "peak_mb": operator.memory()["VmHWM"], "cpu_s": operator.cpu(), "control_plane_cpu_s": counted.cpu,
        "requests": dict(counted), "requests_total": counted.total()}


def at_rest(run, world, operator):
    """Memory each second, CPU and requests over a while in which nothing is due."""
    time.sleep(min(10, run.args.rest))
    with world.counting() as counted:
        cpu, since, rss = operator.cpu(), time.time(), []
        for second in range(run.args.rest):
            time.sleep(max(0, since + second + 1 - time.time()))
            rss.append(operator.memory()["VmRSS"])
        cpu, seconds = operator.cpu() - cpu, time.time() - since
    memory = operator.memory()
    return {"rss_mb": statistics.median(rss), "anonymous_mb": memory["RssAnon"], "peak_mb": memory["VmHWM"],
            "cpu_s_per_minute": cpu / seconds * 60, "control_plane_cpu_s_per_minute": counted.cpu / seconds * 60,
            "control_plane_mb": world.control_plane.memory(), "requests": dict(counted), "requests_total": counted.total()}
