"""Archives of both images are made with what a machine has: buildah and Rust, or Docker alone."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the script needs to find out the version.
TOOLS = ["bash", "cat", "dirname", "env", "git", "grep", "mkdir", "paste", "realpath", "sed", "sort"]
VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


class Archives(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        for tool in TOOLS:
            (self.programs / tool).symlink_to(shutil.which(tool))

    def run_with(self, *programs):
        """Runs the script where only these programs are. Each only notes its call, which this gives."""
        for name in programs:
            program = self.programs / name
            program.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.folder}/calls\n')
            program.chmod(0o755)
        environment = {"PATH": str(self.programs), "HOME": os.environ.get("HOME", "/"), "CARGO_TARGET_DIR": str(self.folder / "target")}
        self.result = subprocess.run(
            [ROOT / "hack/image/archives", self.folder / "images"], env=environment, capture_output=True, text=True
        )
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def test_docker_alone_builds_and_saves_both_images(self):
        calls = self.run_with("docker", "buildah", "dpkg-query", "make")
        self.assertEqual(self.result.returncode, 0, self.result.stderr)
        calls = [re.sub(r" --build-arg DLQ_OPERATOR_REVISION=\S*", "", call) for call in calls]
        names = [f"localhost/{program}:{VERSION}" for program in ["dlq-operator", "dlq-simulator"]]
        self.assertEqual(calls, [
            f"docker build --tag {names[0]} .",
            f"docker build --target simulator --tag {names[1]} .",
            f"docker save --output {self.folder}/images/dlq-operator.tar {names[0]}",
            f"docker save --output {self.folder}/images/dlq-simulator.tar {names[1]}",
        ])

    def test_buildah_and_rust_do_without_docker(self):
        calls = self.run_with("docker", "buildah", "cargo", "dpkg-query", "make")
        self.assertEqual(calls[0], "make --no-print-directory image")
        self.assertEqual([call for call in calls if call.startswith("docker")], [])

    def test_a_machine_with_neither_learns_both_ways(self):
        self.assertEqual(self.run_with("make"), [])
        self.assertEqual(self.result.returncode, 1)
        for way in ["Docker", "Rust", "buildah"]:
            self.assertIn(way, self.result.stderr)


if __name__ == "__main__":
    unittest.main()
