"""B2: from the start of a process to the first call for a policy that is created right after."""

import contextlib
import statistics
import threading
import time
import urllib.request

from ..machine import Weather, calm_samples


def starts(run, world):
    def start(attempt):
        label = f"start-{attempt}"
        world.fake.seed(1, [label])
        body, ready = world.body(label), []
        with Weather() as weather:
            operator = world.operator()
            world.create(body)
            url = getattr(operator, "ready_url", None)
            probe = threading.Thread(target=lambda: ready.append(seconds_until_ready(operator, url, 300)))
            if url:
                probe.start()
            took = world.fake.first_call(label, 300, operator) - operator.at
        if url:
            probe.join()
        operator.wait_quiet(300)
        operator.stop()
        return (took, ready[0] if ready else None), weather

    got, machine = calm_samples(start, run.args.starts, 3 * run.args.starts, run.args.patience)
    took, ready = [g[0] for g in got], [g[1] for g in got if g[1] is not None]
    return {"first_call_s": statistics.median(took), "worst_s": max(took), "samples_s": took,
            "ready_s": statistics.median(ready) if ready else None, "machine": machine}


def seconds_until_ready(operator, url, limit):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.time() - operator.at < limit and operator.is_alive():
        with contextlib.suppress(OSError), opener.open(url, timeout=5) as answer:
            if answer.status == 200:
                return time.time() - operator.at
        time.sleep(0.02)
    return None
