"""The smallest phase: it asserts how many requests and calls a few policies cost, and no time.

It is for CI, where machines differ in pace and share their cores."""

import time

from ..world import NEVER, say
from .drain import STATUSES, VARIANTS
from .starts import seconds_until_ready

FEW, MORE, ENTRIES = 10, 30, 500
# Of each start: two lists, the watch, the Secret; of each of the two kinds of connections, a list and a watch.
CONSTANT = 5 + 2 * 2
# Policies that changed during the list and are read individually.
READS = 2
# Calls that a drain with several cursors, or by listing, may need beside one for each page.
SPARE = 16


class Expectations:
    """What does not hold is collected, so that one run tells all of it."""

    def __init__(self):
        self.broken = []

    def at_most(self, what, found, most):
        if found > most:
            self.broken.append(f"{what}: {found}, more than {most}")

    def equal(self, what, found, expected):
        if found != expected:
            self.broken.append(f"{what}: {found} and not {expected}")


def measure(run):
    expect = Expectations()
    with run.world("smoke") as world:
        counts = starts(world, expect)
        drains(world, run.args.variants, expect)
    if expect.broken:
        raise SystemExit("counts that are not as expected:\n  " + "\n  ".join(expect.broken))
    return counts


def starts(world, expect):
    """A first start costs a write and an event for each new policy; a known policy costs no request.

    The cache holds a summary of each policy, and what is decided rests on the policy itself: a list shows them page by page."""
    add(world, 0, FEW)
    first = started(world)
    expect_start(expect, "a first start", first, 0, FEW, world.c.plural)
    add(world, FEW, MORE)
    expect_start(expect, "a start with more policies", started(world), FEW, MORE, world.c.plural)
    again = started(world)
    expect_start(expect, "a restart", again, FEW + MORE, 0, world.c.plural)
    return {"first_start": {"requests": dict(first)}, "restart": {"requests": dict(again)}}


def expect_start(expect, what, counted, known, new, plural):
    say(f"  {what} with {known} known policies and {new} new ones: {dict(counted)}")
    expect.equal(f"{what}: writes of statuses", counted.writes(plural), new)
    expect.at_most(f"{what}: events", counted.get("POST events", 0), new)
    expect.at_most(f"{what}: reads of policies", counted.get(f"GET {plural}", 0), READS)
    expect.at_most(f"{what}: requests", counted.total(), 2 * new + CONSTANT + READS)


def add(world, first, count):
    world.create_many(world.body(f"rest-{i:06d}", "scheduled", NEVER) for i in range(first, first + count))


def started(world):
    """The requests from the start of a process to its end, once it has seen every policy and asks for nothing more."""
    with world.counting() as counted:
        operator = world.operator()
        settle(world, operator, counted)
        operator.stop()
        ended(counted)
    return counted


def settle(world, operator, counted):
    """Waits until an operator is ready, has seen every policy, and the counts of its requests stay the same."""
    if seconds_until_ready(operator, operator.ready_url, 60) is None:
        raise RuntimeError("the operator does not become ready; see its log")

    def state():
        have, seen = world.observed()
        return (have - seen, dict(counted.read()))
    unseen, _ = stays(state, lambda now: now[0] == 0)
    if unseen:
        raise RuntimeError(f"the operator did not see {unseen} policies")


def stays(state, is_right=lambda _: True, seconds=1.5, limit=60):
    """What a state is once it is right and has not changed for a while, or after the limit."""
    deadline, since, now = time.time() + limit, time.time(), state()
    while time.time() < deadline and not (is_right(now) and time.time() - since > seconds):
        time.sleep(0.1)
        before, now = now, state()
        if now != before:
            since = time.time()
    return now


def ended(counted, limit=10):
    """Waits until the API server counts the watches, which it does when they end."""
    deadline = time.time() + limit
    while time.time() < deadline and not any(key.startswith("WATCH ") for key in counted.read()):
        time.sleep(0.1)


def drains(world, variants, expect):
    """A drain costs a call for each page, and few writes however many pages there are."""
    operator = world.operator()
    with world.counting() as counted:
        settle(world, operator, counted)
    for variant in variants:
        if not world.accepts(VARIANTS[variant]):
            continue
        world.fake.reset(items=True)
        world.fake.seed(ENTRIES, [variant], responseStatuses=STATUSES)
        with world.counting() as counted:
            world.create(world.body(variant, VARIANTS[variant]))
            if not world.fake.drained(ENTRIES, 60, operator):
                raise RuntimeError(f"the drain by {variant} did not end")
            stays(lambda: (dict(counted.read()), world.fake.stats()["calls"]))
        by_operation = world.fake.stats()["byOp"]
        say(f"  {ENTRIES} entries by {variant}: calls {by_operation}, requests {dict(counted)}")
        expect.equal(f"{variant}: entries acted on", world.fake.stats()["items"], ENTRIES)
        if variant == "cursor":
            expect.equal("cursor: calls", by_operation, {"resume": ENTRIES // 50})
        else:
            expect.at_most(f"{variant}: actions", by_operation.get("resume", 0), ENTRIES // 50 + SPARE)
            expect.at_most(f"{variant}: lists", by_operation.get("list", 0), ENTRIES // 100 + SPARE)
        expect.at_most(f"{variant}: requests to the API server", counted.total(), 6)
    operator.stop()
