"""The machine: what others use of it meanwhile, and how fast it is right now."""

import contextlib
import os
import platform
import subprocess
import time

from .processes import Started

CALM = 0.15  # cores that others may use while a sample is taken


class Weather:
    """How many cores other processes use meanwhile. Without it, two samples cannot be compared."""

    foreign = 0.0

    def __enter__(self):
        self.wall, self.busy, self.own = time.time(), busy_seconds(), own_seconds()
        return self

    def __exit__(self, *_):
        foreign = (busy_seconds() - self.busy) - (own_seconds() - self.own)
        self.foreign = max(0.0, foreign) / (time.time() - self.wall)


def busy_seconds():
    """Busy CPU seconds of all cores, from their idle time: busy ticks miss short bursts."""
    with open("/proc/stat") as stat:
        ticks = [int(x) / os.sysconf("SC_CLK_TCK") for x in stat.readline().split()[1:]]
    return (os.cpu_count() or 1) * time.monotonic() - ticks[3] - ticks[4] - ticks[7]


def own_seconds():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system + sum(p.cpu() for p in list(Started.live))


def wait_for_calm(patience):
    """Waits until others leave the machine alone, for so many seconds at most."""
    deadline = time.time() + patience
    while time.time() < deadline:
        with Weather() as weather:
            time.sleep(1.5)
        if weather.foreign < CALM:
            return


def calm_samples(take, wanted, most, patience):
    """Samples that were taken while others left the machine alone, or the calmest ones.

    `take` gets the number of the attempt, and returns a sample and its Weather. Without patience the first ones count."""
    got = []
    while len(got) < (most if patience else wanted) and sum(foreign < CALM for foreign, _ in got) < wanted:
        wait_for_calm(patience)
        sample, weather = take(len(got))
        got.append((weather.foreign, sample))
    kept = sorted(got, key=lambda g: g[0])[:wanted]
    return [sample for _, sample in kept], {"foreign_cores": max(foreign for foreign, _ in kept), "attempts": len(got)}


def pace():
    """Milliseconds of a fixed piece of work, the best of some: how fast a core is right now."""
    best = float("inf")
    for _ in range(5):
        since, x = time.perf_counter(), 0
        for i in range(400_000):
            x = (x * 31 + i) & 0xFFFF
        best = min(best, (time.perf_counter() - since) * 1e3)
    return best


def description(control_plane_binaries):
    """What a reader of the figures has to know of the machine."""
    model = ""
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "memory_gib": round(gib, 1)}
    for program in ("kube-apiserver", "etcd"):
        with contextlib.suppress(OSError):
            said = subprocess.run([os.path.join(control_plane_binaries, program), "--version"], capture_output=True, text=True)
            found[program] = said.stdout.splitlines()[0].strip() if said.stdout else ""
    return found
