"""A release is of one version, whoever names it."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ["README.md", "docs/install.md", "examples/simulator/simulator.yaml", "plugin/krew.yaml"]
FILES = ["Cargo.toml", "Cargo.lock", "charts/dlq-operator/Chart.yaml", *COPIED]


def versions(project, *tag):
    environment = {**os.environ, "PROJECT": str(project)}
    return subprocess.run([ROOT / "hack/release/versions", *tag], env=environment, capture_output=True, text=True)


class Versions(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Path(folder.name)
        for file in FILES:
            (self.project / file).parent.mkdir(parents=True, exist_ok=True)
            # As before a tag.
            text = re.sub("not released yet", "released", (ROOT / file).read_text(), flags=re.IGNORECASE)
            (self.project / file).write_text(text)
        self.version = versions(ROOT).stdout.strip()

    def change(self, file, old, new):
        path = self.project / file
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1))

    def refused(self, why, *tag):
        result = versions(self.project, *tag)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(why, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_what_agrees_gives_the_version(self):
        self.assertRegex(self.version, r"^\d+\.\d+\.\d+")
        for tag in [(), (f"v{self.version}",)]:
            result = versions(self.project, *tag)
            self.assertEqual((result.stdout, result.stderr), (f"{self.version}\n", ""))

    def test_a_tag_of_another_version_is_refused(self):
        self.refused("the tag says 99.0.0", "v99.0.0")

    def test_a_tag_is_refused_while_a_page_says_that_there_is_no_release(self):
        with (self.project / "README.md").open("a") as page:
            page.write("From the registry (not released yet):\n")
        self.assertEqual(versions(self.project).returncode, 0)
        self.refused('these pages say "not released yet":\nREADME.md', f"v{self.version}")

    def test_a_krew_manifest_of_another_version_is_refused(self):
        self.change("plugin/krew.yaml", f"/download/v{self.version}/", "/download/v99.0.0/")
        self.refused("plugin/krew.yaml says")

    def test_a_chart_of_another_version_is_refused(self):
        self.change("charts/dlq-operator/Chart.yaml", f"\nversion: {self.version}", "\nversion: 99.0.0")
        self.refused("version of the chart says 99.0.0")

    def test_a_chart_for_another_operator_is_refused(self):
        self.change("charts/dlq-operator/Chart.yaml", f'\nappVersion: "{self.version}"', '\nappVersion: "99.0.0"')
        self.refused("appVersion of the chart says 99.0.0")

    def test_an_image_of_another_version_in_what_people_copy_is_refused(self):
        for file in COPIED:
            for image in sorted(set(re.findall(rf"(\S+[:]|newTag: ){re.escape(self.version)}", (self.project / file).read_text()))):
                with self.subTest(file=file, image=image):
                    before = (self.project / file).read_text()
                    self.change(file, f"{image}{self.version}", f"{image}99.0.0")
                    self.refused(f"an image in {file} says")
                    (self.project / file).write_text(before)

    def test_what_people_copy_has_a_version(self):
        self.change("examples/simulator/simulator.yaml", f":{self.version}", ":latest")
        self.refused("an image in examples/simulator/simulator.yaml says nothing")

    def test_a_lock_file_of_another_version_is_refused(self):
        name = '\nname = "dlq-operator"\nversion = '
        self.change("Cargo.lock", f'{name}"{self.version}"', f'{name}"99.0.0"')
        self.refused("Cargo.lock of dlq-operator says 99.0.0")


if __name__ == "__main__":
    unittest.main()
