"""What CI and `make compat` run does not depend on what somebody's environment happens to say, and skips nothing."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# With each of them the tests would look at something else, or write what they are to compare.
MISLEADING = {
    "KUBEBUILDER_ASSETS": "/nowhere",
    "KUBERNETES_MINOR": "1.1",
    "TESTBED_BIN_DIR": "/nowhere",
    "UPDATE_GENERATED": "1",
    "USE_EXISTING_CLUSTER": "true",
}
REQUIRED = {f"REQUIRE_{name}": "1" for name in ["GO", "IMAGE", "NODE", "PROMETHEUS", "SDK"]}
# What `.ci/run` would install where it is not there.
PRESENT = ["cargo", "go", "node", "npm", "prometheus", "promtool", "buildah", "busybox", "curl", "gcc", "ip", "nft",
           "openssl", "pkg-config", "sysctl", "wget"]


class Environment(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def program(self, name, script):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def run_with(self, *command):
        """Runs a command in a misleading environment, and gives that of each program that it runs with `env -0`."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("REQUIRE_", "MAKE", "PROPTEST_", "SOAK_"))}
        path = f"{self.folder}:{os.environ['PATH']}"
        result = subprocess.run(
            command, cwd=ROOT, env={**others, **MISLEADING, "PATH": path}, capture_output=True, text=True
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.said = result.stdout
        seen = [log.read_text().split("\0") for log in sorted(self.folder.glob("env.*"))]
        for log in self.folder.glob("env.*"):
            log.unlink()
        return [dict(pair.partition("=")[::2] for pair in pairs if pair) for pairs in seen]

    def recorder(self, name):
        return self.program(name, f'env -0 >{self.folder}/env.$$\n')

    def test_ci_is_not_misled_and_skips_nothing(self):
        for name in PRESENT:
            self.program(name, "exit 0")
        self.recorder("make")
        environments = self.run_with(ROOT / ".ci/run")
        self.assertEqual(len(environments), 2, "check and test")
        for seen in environments:
            self.assertEqual(MISLEADING.keys() & seen.keys(), set())
            self.assertEqual({**seen, **REQUIRED}, seen)

    def test_the_tests_of_other_minors_are_not_misled_and_skip_nothing(self):
        recorder = self.recorder("recorder")
        environments = self.run_with("make", "compat", f"CARGO={recorder}", "COMPAT=1.32")
        (tests,) = [seen for seen in environments if seen.get("KUBERNETES_MINOR") == "1.32"]
        self.assertEqual(MISLEADING.keys() & tests.keys(), {"KUBERNETES_MINOR"})
        self.assertEqual({**tests, **REQUIRED}, tests)

    def test_a_soak_says_the_seed_of_its_new_random_cases_and_takes_one_to_repeat_them(self):
        seeds = set()
        for chosen in [[], [], ["SOAK_SEED=7"]]:
            recorder = self.recorder("recorder")
            environments = self.run_with("make", "soak", f"CARGO={recorder}", *chosen)
            (said,) = set(re.findall(r"make soak SOAK_SEED=(\d+)", self.said))
            (cases,) = [seen for seen in environments if "PROPTEST_CASES" in seen]
            (kills,) = [seen for seen in environments if "SOAK_KILLS" in seen]
            self.assertEqual((cases["PROPTEST_RNG_SEED"], kills["SOAK_SEED"]), (said, said))
            seeds.add(said)
        self.assertEqual(len(seeds), 3)
        self.assertIn("7", seeds)

    def test_only_what_judges_a_change_has_the_same_random_cases_every_time(self):
        for name in PRESENT:
            self.program(name, "exit 0")
        self.recorder("make")
        (soak,) = self.run_with(ROOT / ".ci/run", "soak")
        self.assertNotIn("PROPTEST_RNG_SEED", soak)
        self.assertEqual({**soak, **REQUIRED}, soak)
        for seen in self.run_with(ROOT / ".ci/run"):
            self.assertIn("PROPTEST_RNG_SEED", seen)

    def test_each_job_on_a_schedule_runs_what_people_can_run(self):
        scheduled = (ROOT / ".github/workflows/scheduled.yml").read_text()
        self.assertRegex(scheduled, r"- cron: ")
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for target in ["advisories", "compat", "mutants", "soak"]:
            self.assertIn(target, targets)
            self.assertRegex(scheduled, rf"\.ci/run {target}\n")

    def test_whatever_a_test_can_be_skipped_for_want_of_is_required(self):
        sources = [*(ROOT / "testbed/src").glob("**/*.rs"), *(ROOT / "tests").glob("*/*.rs"), ROOT / "tests/clients.sh"]
        named = set(re.findall(r"\bREQUIRE_[A-Z]+", "".join(path.read_text() for path in sources)))
        self.assertEqual(named, set(REQUIRED))


if __name__ == "__main__":
    unittest.main()
