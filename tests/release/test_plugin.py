"""The kubectl plugin is small enough to download, krew takes its manifest, and code scanning what lint prints."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PLATFORMS = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"]
MOST_BYTES = 12 * 1000 * 1000


def run(*command, **environment):
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )


class Size(unittest.TestCase):
    def test_the_binary_of_a_release_is_small(self):
        built = run("cargo", "build", "--profile", "plugin", "--locked", "--package", "kubectl-dlq", CARGO_TARGET_DIR=str(TARGET))
        self.assertEqual(built.returncode, 0, built.stderr)
        self.assertLessEqual((TARGET / "plugin/kubectl-dlq").stat().st_size, MOST_BYTES)

    def test_a_release_refuses_a_larger_one(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = Path(folder, "kubectl-dlq")
            with binary.open("wb") as file:
                file.truncate(MOST_BYTES + 1)
            refused = run("hack/release/plugin", binary, folder, RELEASE="1")
            self.assertEqual(refused.returncode, 1)
            self.assertIn(f"has {MOST_BYTES + 1} bytes, more than the {MOST_BYTES} that the plugin may have", refused.stderr)


class Sarif(unittest.TestCase):
    def test_what_lint_prints_for_code_scanning_is_valid(self):
        # As OASIS publishes it; it allows no field that it does not know.
        schema = json.loads((ROOT / "tests/data/sarif-schema-2.1.0.json").read_text())
        validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
        printed = run(TARGET / "debug/kubectl-dlq", "lint", "-f", "examples", "-o", "sarif")
        self.assertEqual(printed.returncode, 0, printed.stderr)
        log = json.loads(printed.stdout)
        self.assertGreater(len(log["runs"][0]["results"]), 2)
        self.assertEqual([error.message for error in validator.iter_errors(log)], [])
        log["runs"][0]["results"][0]["severity"] = "high"
        self.assertNotEqual(list(validator.iter_errors(log)), [])


class Krew(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def archives(self, *platforms):
        for platform in platforms:
            (self.folder / f"kubectl-dlq-{platform}.tar.gz").write_text(platform)

    def valid(self):
        program = run("hack/release/tool", "validate-krew-manifest").stdout.strip()
        return run(program, "-manifest", self.folder / "dlq.yaml", "-skip-install")

    def test_krew_takes_the_manifest_of_a_release(self):
        self.archives(*PLATFORMS)
        written = run("hack/release/krew", self.folder)
        self.assertEqual(written.returncode, 0, written.stderr)
        result = self.valid()
        self.assertEqual(result.returncode, 0, result.stderr)
        text = (self.folder / "dlq.yaml").read_text()
        self.assertEqual(text.count("      sha256: "), len(PLATFORMS))
        self.assertNotIn("sum-of-", text)

    def test_krew_would_find_what_is_wrong_with_it(self):
        self.archives(*PLATFORMS)
        run("hack/release/krew", self.folder)
        manifest = self.folder / "dlq.yaml"
        text = manifest.read_text()
        for old, new, why in [
            ("os: darwin, arch: arm64", "os: darwin, arch: amd64", "overlapping selectors"),
            ("      bin: kubectl-dlq\n", "", "`bin` has to be set"),
            ("version: v", "version: ", "failed to parse plugin version"),
        ]:
            manifest.write_text(text.replace(old, new, 1))
            result = self.valid()
            self.assertNotEqual(result.returncode, 0, old)
            self.assertIn(why, result.stderr)

    def test_a_release_without_one_of_the_archives_is_refused(self):
        self.archives(*PLATFORMS[1:])
        refused = run("hack/release/krew", self.folder)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("kubectl-dlq-linux-amd64.tar.gz is not there", refused.stderr)
        # One machine has only its own.
        self.assertEqual(run("hack/release/krew", self.folder, "--partial").returncode, 0)
        self.assertNotIn("linux-amd64", (self.folder / "dlq.yaml").read_text())

    def test_the_workflow_builds_every_platform_that_the_manifest_names(self):
        workflow = (ROOT / ".github/workflows/release.yml").read_text()
        manifest = (ROOT / "plugin/krew.yaml").read_text()
        for platform in PLATFORMS:
            system, architecture = platform.split("-")
            self.assertIn(f"{{ system: {system}, architecture: {architecture}, runner: ", workflow)
            self.assertIn(f"sha256: sum-of-kubectl-dlq-{platform}.tar.gz\n", manifest)


if __name__ == "__main__":
    unittest.main()
