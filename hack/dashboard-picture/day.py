"""Prints one simulated day of the operator's metrics in the OpenMetrics text format, the same at every run.

Five policies on two replicas. Upstash fails from 09:20 to 10:10, throttles from 14:00 to 15:00, and at 12:00 an upgrade
replaces the leader.
"""

import random

START = 1793577600  # 2026-11-02 00:00 UTC
STEP, DAY = 60, 86400
OUTAGE, THROTTLE, UPGRADE = (33600, 36600), (50400, 54000), 43200
POLICIES = {
    "payments/resume-payments": ("resume", "*/15 * * * *", 900, 60),
    "payments/restart-checkout": ("restart", "@hourly", 3600, 400),
    "shop/resume-orders": ("resume", "*/5 * * * *", 300, 25),
    "shop/delete-old": ("delete", "0 3 * * *", 86400, 9000),
    "ops/resume-once": ("resume", "", 0, 1200),
}
BUCKETS = {
    "dlq_operator_run_duration_seconds": [1, 5, 15, 60, 300, 900, 3600],
    "dlq_operator_upstash_request_duration_seconds": [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    "dlq_operator_reconcile_duration_seconds": [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10],
    "dlq_operator_schedule_lateness_seconds": [0.1, 0.25, 0.5, 1, 2.5, 5, 30, 300],
}

dice = random.Random(7)
kinds, samples = {}, {}


def write(kind, name, labels, now, value):
    family = name.removesuffix("_total") if kind == "counter" else name
    kinds[family] = kind
    key = (name, tuple(labels.items()))
    samples.setdefault(family, {}).setdefault(key, []).append((START + now, value))


class Replica:
    """The counts of one process."""

    def __init__(self, pod, version):
        self.target = {"job": "dlq-operator", "instance": pod}
        self.version, self.counts, self.sums = version, {}, {}

    def add(self, name, amount=1, /, **labels):
        key = (name, tuple(labels.items()))
        self.counts[key] = self.counts.get(key, 0) + amount

    def observe(self, name, value, /, **labels):
        key = (name, tuple(labels.items()))
        total, values = self.sums.setdefault(key, [0.0, [0] * (len(BUCKETS[name]) + 1)])
        self.sums[key][0] = total + value
        for i, bound in enumerate([*BUCKETS[name], float("inf")]):
            values[i] += value <= bound

    def scrape(self, now, leads, policies):
        for (name, labels), value in self.counts.items():
            write("counter", name, {**self.target, **dict(labels)}, now, value)
        for (name, labels), (total, values) in self.sums.items():
            labels = {**self.target, **dict(labels)}
            for bound, count in zip([*BUCKETS[name], "+Inf"], values):
                write("histogram", name, {"__suffix__": "_bucket", **labels, "le": str(bound)}, now, count)
            write("histogram", name, {"__suffix__": "_count", **labels}, now, values[-1])
            write("histogram", name, {"__suffix__": "_sum", **labels}, now, round(total, 3))

        def gauge(name, value, /, **labels):
            write("gauge", name, {**self.target, **labels}, now, value)

        gauge("dlq_operator_build_info", 1, version=self.version, revision="1a2b3c4")
        gauge("dlq_operator_leader", int(leads))
        gauge("dlq_operator_clock_offset_seconds", round(0.2 + dice.random() / 20, 3) if leads else 0)
        gauge("process_resident_memory_bytes", 21e6 + 4e6 * leads + dice.randrange(1_000_000))
        gauge("process_open_fds", 18 + 6 * leads + dice.randrange(3))
        self.add("process_cpu_seconds_total", STEP * (0.004 + 0.02 * leads * dice.random()))
        for policy in policies:
            policy.show(gauge, now)


class Policy:
    """One policy, as its status has it."""

    def __init__(self, key, action, schedule, interval, entries):
        self.namespace, self.name = key.split("/")
        self.action, self.schedule, self.interval, self.entries = action, schedule, interval, entries
        self.at = {86400: 10800, 0: 25200}.get(interval, 0)
        self.until = self.failures = self.left = 0
        self.last = self.success = START - (interval or DAY)
        self.limit = 6 if self.name == "resume-orders" else None

    def is_open(self):
        return self.limit is not None and self.failures >= self.limit

    def work(self, now, leader):
        own = {"namespace": self.namespace, "name": self.name}
        trial = self.is_open() and now == 39000
        if now == self.at or trial:
            if self.interval:
                self.at = now + self.interval
            if not self.is_open() or trial:
                self.start, self.left, self.until = now, self.amount(now), now + STEP
                self.trigger = "Manual" if trial else "Schedule" if self.schedule else "Spec"
                if self.trigger == "Schedule":
                    leader.observe("dlq_operator_schedule_lateness_seconds", dice.expovariate(4))
        if not self.until:
            return
        broken, throttled = OUTAGE[0] <= now < OUTAGE[1], THROTTLE[0] <= now < THROTTLE[1]
        pages = min(dice.randint(8, 14), -(-self.left // 50) or 1)
        for _ in range(pages):
            code = dice.choice(["503", "503", "error"]) if broken else "429" if throttled and dice.random() < 0.4 else "200"
            operation = f"{self.action}_many"
            leader.add("dlq_operator_upstash_requests_total", operation=operation, code=code)
            took = dice.lognormvariate(-2.2, 0.5) * (12 if broken else 1)
            leader.observe("dlq_operator_upstash_request_duration_seconds", took, operation=operation)
            if code == "200":
                done = min(50, self.left)
                self.left -= done
                leader.add("dlq_operator_entries_processed_total", done, **own, action=self.action)
            elif code == "429":
                leader.add("dlq_operator_rate_limited_seconds_total", dice.uniform(3, 9))
            elif code == "error" and dice.random() < 0.1:
                leader.add("dlq_operator_uncertain_pages_total", **own)
        result = "Failed" if broken and now >= self.start + 180 else "Succeeded" if not broken and not self.left else None
        if result:
            took = now - self.start + dice.uniform(1, 50)
            self.failures = 0 if result == "Succeeded" else self.failures + 1
            self.last, self.until = START + self.start, 0
            self.success = START + now if result == "Succeeded" else self.success
            leader.add("dlq_operator_runs_total", **own, action=self.action, trigger=self.trigger, result=result)
            leader.observe("dlq_operator_run_duration_seconds", took, action=self.action, result=result)
            if self.interval and self.at <= now:
                self.at = now - now % self.interval + self.interval

    def amount(self, now):
        backlog = 3 if OUTAGE[1] <= now < OUTAGE[1] + 4000 else 1
        return int(self.entries * backlog * dice.uniform(0.2, 1.2)) if dice.random() < 0.8 else 0

    def show(self, gauge, now):
        own = {"namespace": self.namespace, "name": self.name}
        gauge("dlq_operator_policy_info", 1, **own, action=self.action, schedule=self.schedule)
        gauge("dlq_operator_run_active", int(bool(self.until)), **own)
        gauge("dlq_operator_last_run_timestamp_seconds", self.last, **own)
        gauge("dlq_operator_last_success_timestamp_seconds", self.success, **own)
        gauge("dlq_operator_consecutive_failures", self.failures, **own)
        gauge("dlq_operator_circuit_open", int(self.is_open()), **own)
        if self.interval and not self.is_open():
            gauge("dlq_operator_next_run_timestamp_seconds", START + self.at, **own)
        truths = {"Ready": not self.is_open(), "Running": bool(self.until), "LastRunSucceeded": not self.failures}
        for kind, truth in truths.items():
            for status in ("True", "False", "Unknown"):
                gauge("dlq_operator_policy_condition", int(status == str(truth)), **own, type=kind, status=status)


def begin(replica, policies):
    """What a process counts from zero."""
    for policy in policies:
        own = {"namespace": policy.namespace, "name": policy.name}
        replica.add("dlq_operator_entries_processed_total", 0, **own, action=policy.action)
        for name in ("uncertain_pages", "missed_schedules"):
            replica.add(f"dlq_operator_{name}_total", 0, **own)
        for result in ("Succeeded", "Failed"):
            trigger = "Schedule" if policy.schedule else "Spec"
            replica.add("dlq_operator_runs_total", 0, **own, action=policy.action, trigger=trigger, result=result)
    replica.add("dlq_operator_rate_limited_seconds_total", 0)
    for result in ("success", "error"):
        replica.add("dlq_operator_reconcile_total", 0, result=result)
    for reason in ("UpstreamUnavailable", "Persist"):
        replica.add("dlq_operator_reconcile_errors_total", 0, reason=reason)
    for result in ("success", "conflict"):
        replica.add("dlq_operator_status_writes_total", 0, result=result)
    return replica


def simulate():
    policies = [Policy(key, *rest) for key, rest in POLICIES.items()]
    replicas = [begin(Replica(f"dlq-operator-{i}", "0.1.0"), policies) for i in range(2)]
    for now in range(0, DAY, STEP):
        if now == UPGRADE:
            replicas = [begin(Replica(f"dlq-operator-{i}", "0.2.0"), policies) for i in range(2, 4)]
            replicas[0].add("dlq_operator_missed_schedules_total", namespace="shop", name="resume-orders")
        leader = replicas[0]
        for policy in policies:
            policy.work(now, leader)
        for _ in range(dice.randint(4, 9)):
            leader.add("dlq_operator_reconcile_total", result="success")
            leader.observe("dlq_operator_reconcile_duration_seconds", dice.lognormvariate(-4, 0.6))
        leader.add("dlq_operator_status_writes_total", dice.randint(2, 6), result="success")
        if dice.random() < 0.04:
            leader.add("dlq_operator_reconcile_total", result="error")
            leader.add("dlq_operator_reconcile_errors_total", reason="Persist")
            leader.add("dlq_operator_status_writes_total", result="conflict")
        for replica in replicas:
            replica.scrape(now, replica is leader, policies)


def quoted(value):
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


simulate()
for family, series in samples.items():
    print(f"# TYPE {family} {kinds[family]}")
    for (name, labels), points in series.items():
        labels = dict(labels)
        name += labels.pop("__suffix__", "")
        text = ",".join(f"{key}={quoted(value)}" for key, value in labels.items())
        for at, value in points:
            print(f"{name}{{{text}}} {value} {at}")
print("# EOF")
