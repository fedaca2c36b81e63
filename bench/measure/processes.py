"""Processes that the bench starts: what they use, and their end."""

import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import time


LIBC, PR_SET_PDEATHSIG = ctypes.CDLL(None), 1


def end_with_the_bench():
    """In a child: the kernel ends it when the bench ends, also if that is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Started:
    """A process of ours, with everything below it."""

    live: "set[Started]" = set()

    def __init__(self, argv, log, env=None, cwd=None):
        self.log = open(log, "ab")
        self.at = time.time()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, **(env or {})}, cwd=cwd, preexec_fn=end_with_the_bench)
        self.pid = self.process.pid
        Started.live.add(self)

    def is_alive(self):
        return self.process.poll() is None

    def stop(self, grace=25):
        """Ends it with SIGTERM, or at once if there is no grace."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
            try:
                self.process.wait(grace or 10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        Started.live.discard(self)
        self.log.close()

    def tree(self):
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
        found, more = [], [self.pid]
        while more:
            pid = more.pop()
            found.append(pid)
            more += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self):
        """CPU seconds that it has used, from the nanosecond clock of each process."""
        total = 0.0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += time.clock_gettime(((~pid) << 3) | 2)
        return total

    def memory(self):
        """VmRSS, its peak VmHWM, and RssAnon, in MiB."""
        found = collections.Counter()
        for pid in self.tree():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
                for line in status:
                    name, _, value = line.partition(":")
                    if name in ("VmRSS", "VmHWM", "RssAnon"):
                        found[name] += int(value.split()[0]) / 1024
        return found

    def wait_quiet(self, limit, below=0.05, window=3.0):
        """Waits until it uses less than a twentieth of a core for a while; returns when that began, or None."""
        deadline, step = time.time() + limit, 0.2
        needed, calm, since = round(window / step), 0, time.time()
        before = self.cpu()
        while time.time() < deadline:
            if not self.is_alive():
                raise RuntimeError("the contestant exited; see its log")
            time.sleep(step)
            now = self.cpu()
            if now - before < below * step:
                calm += 1
                if calm >= needed:
                    return since
            else:
                calm, since = 0, time.time()
            before = now
        return None
