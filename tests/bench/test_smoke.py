"""The bench's smallest phase, with the operator that is built: how many requests and calls a few policies cost."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Smoke(unittest.TestCase):
    def test_policies_cost_no_more_requests_than_they_need(self):
        with tempfile.TemporaryDirectory() as out:
            done = subprocess.run(
                [sys.executable, "-B", "-m", "measure", "run", str(ROOT / "bench/dlq-operator/bench.toml"), "--phases", "smoke",
                 "--runs", "1", "--patience", "0", "--out", out],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "bench")}, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            result = json.loads(Path(out, "dlq-operator.json").read_text())
        self.assertIn("smoke", result["runs"][0])


class Processes(unittest.TestCase):
    def test_what_the_bench_started_ends_with_it_also_when_it_is_killed(self):
        script = "import os, signal; from measure.processes import Started; " \
                 "print(Started(['sleep', '300'], os.devnull).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        killed = subprocess.run([sys.executable, "-B", "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
                                capture_output=True, text=True)
        deadline = time.monotonic() + 10
        while not is_gone(int(killed.stdout)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertTrue(is_gone(int(killed.stdout)))


def is_gone(pid):
    """Whether a process has ended. Nothing may have waited for it, and then it is a zombie."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


class Counting(unittest.TestCase):
    def test_requests_are_counted_by_verb_and_resource_over_all_codes(self):
        from measure.control_plane import requests_in

        metrics = "\n".join([
            '# TYPE apiserver_request_total counter',
            'apiserver_request_total{code="200",resource="dlqpolicies",subresource="status",verb="PATCH"} 5',
            'apiserver_request_total{code="409",resource="dlqpolicies",subresource="status",verb="PATCH"} 2',
            'apiserver_request_total{code="200",resource="leases",subresource="",verb="GET"} 9',
            'apiserver_request_total{code="200",resource="secrets",subresource="",verb="GET"} 1e+06'])
        self.assertEqual(requests_in(metrics, {"dlqpolicies", "secrets"}),
                         {("PATCH", "dlqpolicies", "status"): 7, ("GET", "secrets", ""): 1_000_000})


if __name__ == "__main__":
    unittest.main()
