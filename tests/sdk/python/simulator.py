"""One simulator process for the whole test run, and DLQs in it that no two tests share."""

import atexit
import itertools
import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from qstash import AsyncQStash, QStash

# Everything here is on this machine, whatever proxy the environment names.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


def _start():
    process = subprocess.Popen(
        [pathlib.Path(__file__).parent.parent / "simulator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def stop():
        process.stdin.close()
        process.wait()
        process.stdout.close()

    atexit.register(stop)
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the simulator ended before it said where it listens")
    return json.loads(line)


_addresses = _start()
_numbers = itertools.count(1)


def in_order(dlq_ids):
    """IDs from the oldest failure to the newest, as a simulator lists them that was started with this order."""
    return dlq_ids[::-1] if os.environ.get("DLQ_SIMULATOR_ORDER") == "newestFirst" else dlq_ids


def _call_admin(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(_addresses["admin"] + path, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
    return json.loads(text) if text else None


class Dlq:
    """A DLQ with a token of its own."""

    def __init__(self):
        self.name = f"dlq-{next(_numbers)}"
        self.token = f"token-of-{self.name}"
        self.add_token(self.token)

    def add_token(self, token, read_only=False):
        _call_admin("PUT", f"/tokens/{token}", {"dlq": self.name, "readOnly": read_only})
        return token

    def client(self, token=None, retry=False):
        return QStash(token or self.token, base_url=_addresses["api"], retry=retry).dlq

    def async_client(self, token=None, retry=False):
        return AsyncQStash(token or self.token, base_url=_addresses["api"], retry=retry).dlq

    def seed(self, *entries):
        return _call_admin("POST", f"/dlqs/{self.name}/entries", {"entries": entries})["dlqIds"]

    def generate(self, count, **entry):
        seed = {"generate": {"count": count, "entry": entry}}
        return _call_admin("POST", f"/dlqs/{self.name}/entries", seed)["dlqIds"]

    def fault(self, fault, **conditions):
        rule = {"dlq": self.name, "fault": fault, **conditions}
        _call_admin("POST", "/faults", {"rules": [rule]})

    def ledger(self):
        return _call_admin("GET", f"/dlqs/{self.name}/ledger")

    def calls(self):
        """Every call so far: method, path, and the query as pairs."""
        return [
            (call["method"], call["path"], urllib.parse.parse_qsl(call["query"], keep_blank_values=True))
            for call in self.ledger()["calls"]
        ]

    def fates(self):
        """The IDs that met each fate, such as `{"inDlq": ["a"], "deleted": ["b"]}`."""
        by_fate = {}
        for entry in self.ledger()["entries"]:
            by_fate.setdefault(entry["fate"], []).append(entry["dlqId"])
        return by_fate
