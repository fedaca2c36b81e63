"""B5: from the request that creates a one-shot policy to its first call."""

import random
import time

from ..figures import quantile
from ..machine import Weather, calm_samples


def measure(run):
    samples = run.args.reactions
    with run.world("reaction") as world:
        operator = world.ready_operator()
        pauses = random.Random(5)

        def series(attempt):
            sent, answered, create = [], [], []
            with world.counting() as counted, Weather() as weather:
                for i in range(samples):
                    label = f"reaction-{attempt}-{i}"
                    world.fake.seed(1, [label])
                    body = world.body(label)
                    time.sleep(0.1 + 0.2 * pauses.random())
                    before = time.time()
                    world.create(body)
                    after = time.time()
                    call = world.fake.first_call(label, 60, operator)
                    sent.append((call - before) * 1e3)
                    answered.append((call - after) * 1e3)
                    create.append((after - before) * 1e3)
                operator.wait_quiet(20, window=1.0)
            return (sent, answered, create, dict(counted)), weather

        ((sent, answered, create, requests),), machine = calm_samples(series, 1, 4, run.args.patience)
        return {"samples": samples, "p50_ms": quantile(sent, 0.5), "p99_ms": quantile(sent, 0.99), "max_ms": max(sent),
                "after_answer_p50_ms": quantile(answered, 0.5), "create_p50_ms": quantile(create, 0.5),
                "samples_ms": [round(x, 3) for x in sent], "requests": requests, "machine": machine}
