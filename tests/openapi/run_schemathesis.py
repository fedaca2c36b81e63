"""Runs schemathesis against a simulator of its own, and sums up in cargo's words."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOKEN = "openapi"
# Enough for every bulk call that acts. Their times are fixed, so that cursors are the same in every run.
ENTRIES = {
    "count": 10_000,
    "entry": {
        "failedAt": 1_763_647_200_000,
        "workflowUrl": "https://app.example.com/api/orders",
        "labels": ["payments", "eu"],
        "failureFunctionState": "CALLBACK_FAIL",
        "callerIp": "203.0.113.7",
        "flowControlKey": "orders",
        "flowControlValue": "parallelism=5, rate=10, period=1m",
        "failureCallback": "https://app.example.com/failed",
        "responseStatus": 502,
    },
}


def main():
    started = time.monotonic()
    # All traffic stays on this machine, whatever proxy it has for the rest.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    # The simulator ends with its input, so with this process.
    with subprocess.Popen([ROOT / "tests/sdk/simulator"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as simulator:
        line = simulator.stdout.readline()
        if not line:
            return summary(0, 1, started)
        addresses = json.loads(line)
        call("PUT", f"{addresses['admin']}/tokens/{TOKEN}", {})
        call("POST", f"{addresses['admin']}/dlqs/{TOKEN}/entries", {"generate": ENTRIES})
        # Schemathesis leaves files in the working directory.
        with tempfile.TemporaryDirectory() as directory:
            exit_code, passed, failed = check(addresses, directory)
        simulator.stdin.close()
    return summary(passed, failed, started) or exit_code


def check(addresses, directory):
    report = Path(directory, "junit.xml")
    command = [
        Path(sysconfig.get_path("scripts"), "schemathesis"),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        ROOT / "simulator/openapi.yaml",
        f"--url={addresses['api']}",
        f"--header=Authorization: Bearer {TOKEN}",
        f"--report-junit-path={report}",
    ]
    environment = {
        **os.environ,
        "DLQ_SIMULATOR_API": addresses["api"],
        "DLQ_SIMULATOR_ADMIN": addresses["admin"],
        "DLQ_SIMULATOR_TOKEN": TOKEN,
        "PYTHONPATH": str(HERE),
        # A login that the machine has for everything would take the place of the token.
        "NETRC": os.devnull,
    }
    exit_code = subprocess.run(command, cwd=directory, env=environment).returncode
    if not report.exists():
        return exit_code or 1, 0, 1
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = sum(len(case) > 0 for case in cases)
    # A warning fails the run, but no case of it.
    return exit_code, len(cases) - failed, max(failed, exit_code)


def call(method, url, body):
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method=method), timeout=10).close()


def summary(passed, failed, started):
    ok = passed > 0 and failed == 0
    print(
        f"test result: {'ok' if ok else 'FAILED'}. {passed} passed; {failed} failed; 0 ignored; 0 measured; "
        f"0 filtered out; finished in {time.monotonic() - started:.2f}s",
        flush=True,
    )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
