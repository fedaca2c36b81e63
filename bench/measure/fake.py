"""The stand-in for Upstash: a process, and what the bench asks it."""

import os
import time
import urllib.parse

from .connection import Connection, wait_for

TOKEN = "bench-token"


class Fake:
    def __init__(self, spawn, folder, binary):
        port_file = os.path.join(folder, "fake.port")
        self.process = spawn([binary, "-listen", "127.0.0.1:0", "-port-file", port_file, "-tokens", TOKEN], "fake.log")
        wait_for(lambda: os.path.exists(port_file), 10, "the fake")
        with open(port_file) as file:
            port = int(file.read())
        self.url = f"http://127.0.0.1:{port}"
        self.connection = Connection(port)

    def seed(self, count, labels, **more):
        self.connection.call("POST", "/_admin/seed", {"token": TOKEN, "count": count, "labels": labels, **more})

    def latency(self, milliseconds):
        self.connection.call("POST", "/_admin/config", {"latencyMs": milliseconds})

    def reset(self, items=False):
        """Forgets the calls so far, and the entries too if asked."""
        self.connection.call("POST", "/_admin/reset", {"items": items})

    def stats(self):
        return self.connection.json("GET", "/_admin/stats")

    def calls(self):
        """Rows of arrival in ns, ns until answered, operation, status, label, cursor's position, entries acted on."""
        return self.connection.json("GET", "/_admin/calls")

    def wait(self, timeout, **condition):
        query = urllib.parse.urlencode({"timeoutMs": int(min(timeout, 600) * 1000), **condition})
        return self.connection.json("GET", "/_admin/wait?" + query)

    def first_call(self, label, timeout=120, operator=None):
        """When the first call for a label arrived, in seconds since the epoch."""
        deadline = time.time() + timeout
        while time.time() < deadline:
            got = self.wait(min(5, max(0, deadline - time.time())), label=label)
            if got["ok"]:
                return got["firstCallNs"] / 1e9
            if operator is not None and not operator.is_alive():
                raise RuntimeError("the contestant exited; see its log")
        raise RuntimeError(f"no call for {label} within {timeout} s")

    def drained(self, items, limit, operator=None):
        """Whether so many entries were acted on in time."""
        deadline = time.time() + limit
        while time.time() < deadline:
            if self.wait(min(10, max(0, deadline - time.time())), items=items)["ok"]:
                return True
            if operator is not None and not operator.is_alive():
                raise RuntimeError("the contestant exited; see its log")
        return False
