"""The workflows are well-formed, and give nobody more than they need: by actionlint and zizmor."""

import re
import subprocess
import sysconfig
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONLINT = ["go", "-C", str(ROOT / "hack/release-tools"), "tool", "actionlint"]
# It looks nothing up, and does not mind what it would have to.
ZIZMOR = [Path(sysconfig.get_path("scripts"), "zizmor"), "--offline", "--no-progress", "--strict-collection"]


def run(command, files):
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True)


class Workflows(unittest.TestCase):
    def changed(self, old, new):
        """The workflow of releases, with one thing changed."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, ".github/workflows/release.yml")
        path.parent.mkdir(parents=True)
        text = (ROOT / ".github/workflows/release.yml").read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))
        return [path]

    def test_actionlint_finds_nothing(self):
        result = run(ACTIONLINT, WORKFLOWS)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_actionlint_would_find_an_output_that_no_step_has(self):
        result = run(ACTIONLINT, self.changed("steps.image.outputs.digest", "steps.picture.outputs.digest"))
        self.assertIn("picture", result.stdout)
        self.assertEqual(result.returncode, 1)

    def test_what_is_published_gets_its_version_after_it_is_signed_and_attested(self):
        job = (ROOT / ".github/workflows/release.yml").read_text().rpartition("\n  push:\n")[2].split("\n  release:\n")[0]
        steps = re.split(r"\n      - ", job.split("\n    steps:\n")[1])
        at = lambda text: [number for number, step in enumerate(steps) if text in step]  # noqa: E731
        (refused,), (tagged,) = at("hack/release/absent "), at("hack/release/tag ")
        pushed = at("hack/release/push-image ") + at("hack/release/push-chart ")
        signed, attested = at("cosign sign "), at("uses: actions/attest@")
        self.assertEqual((len(pushed), len(signed), len(attested)), (2, 1, 4))
        self.assertLess(refused, min(pushed))
        self.assertLess(max(pushed), min(signed + attested))
        self.assertEqual(tagged, len(steps) - 1)
        # Nothing else there knows how to give a tag.
        for command in ["helm push", "manifest push", "docker://"]:
            self.assertNotIn(command, job)

    def test_zizmor_finds_nothing(self):
        result = run(ZIZMOR, [*WORKFLOWS, ROOT / ".github/dependabot.yml"])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_zizmor_would_find_an_action_that_can_change(self):
        result = run(ZIZMOR, self.changed("actions/attest@1e69f48acb82d1966a394da916b4c1698aa569d6", "actions/attest@v4"))
        self.assertIn("unpinned-uses", result.stdout)
        self.assertNotEqual(result.returncode, 0)

    def test_zizmor_would_find_a_job_that_may_everything(self):
        read = "    permissions:\n      contents: read\n    outputs:\n"
        result = run(ZIZMOR, self.changed(read, "    permissions: write-all\n    outputs:\n"))
        self.assertIn("excessive-permissions", result.stdout)
        self.assertNotEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()
