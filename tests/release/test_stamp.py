"""A release names its own registry and forge, and a checkout names nobody's."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ghcr.io/acme/dlq-operator", "ghcr.io/acme/charts", "https://github.com/acme/dlq-operator"]
VALUES = "charts/dlq-operator/values.yaml"
KREW = "plugin/krew.yaml"


def run(*command):
    return subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)


class Stamp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Path(folder.name, "project")
        for name in ["charts", "dist", "docs"]:
            shutil.copytree(ROOT / name, self.project / name)
        for name in ["Cargo.toml", "README.md", "CHANGELOG.md"]:
            shutil.copy(ROOT / name, self.project)
        (self.project / "plugin").mkdir()
        shutil.copy(ROOT / KREW, self.project / KREW)
        self.version = run("hack/release/versions").stdout.strip()

    def stamp(self, *names):
        return run("hack/release/stamp", self.project, *names)

    def refused(self, why, *names):
        result = self.stamp(*names)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(why, result.stderr)

    def read(self, file):
        return (self.project / file).read_text()

    def test_a_stamped_copy_installs_the_image_of_the_owner(self):
        result = self.stamp(*NAMES)
        self.assertEqual(result.returncode, 0, result.stderr)
        rendered = run(
            "hack/release/helm", "template", "dlq-operator", self.project / "charts/dlq-operator",
            "--set", "prometheusRule.enabled=true,grafanaDashboard.enabled=true",
        )
        self.assertEqual(rendered.returncode, 0, rendered.stderr)
        image = f"image: ghcr.io/acme/dlq-operator:{self.version}"
        for text in [rendered.stdout.replace('"', ""), self.read("dist/install.yaml"),
                     self.read("dist/kustomize/deployment.yaml"), self.read("charts/dlq-operator/Chart.yaml")]:
            self.assertEqual(text.count(image), 1)
        krew = self.read(KREW)
        self.assertIn("  homepage: https://github.com/acme/dlq-operator\n", krew)
        release = f"https://github.com/acme/dlq-operator/releases/download/v{self.version}"
        self.assertEqual(krew.count(f"uri: {release}/kubectl-dlq-"), 4)
        # Links lead to the pages of this version.
        pages = f"https://github.com/acme/dlq-operator/blob/v{self.version}/docs"
        self.assertIn(f"runbook_url: {pages}/runbooks/DlqOperatorDown.md\n", rendered.stdout)
        self.assertIn(f'"url": "{pages}/runbooks/README.md"', rendered.stdout)
        readme = self.read("charts/dlq-operator/README.md")
        self.assertIn("helm install dlq-operator oci://ghcr.io/acme/charts/dlq-operator ", readme)
        self.assertIn(f"]({pages}/install.md)", readme)

    def test_the_pages_of_a_release_name_the_owner_and_lead_to_files_that_are_there(self):
        self.stamp(*NAMES)
        for page in ["README.md", "docs/install.md", "docs/gitops/flux.md"]:
            self.assertIn("oci://ghcr.io/acme/charts/dlq-operator", self.read(page))
        self.assertIn("repoURL: ghcr.io/acme/charts\n", self.read("docs/gitops/argocd.md"))
        verify = self.read("docs/image.md")
        self.assertIn("`ghcr.io/acme/dlq-operator:VERSION@sha256:", verify)
        self.assertIn(r"'^https://github\.com/acme/dlq-operator/\.github/workflows/release\.yml@", verify)
        self.assertEqual(set(re.findall(r"--repo (\S+)", verify)), {"acme/dlq-operator"})
        place = f"https://github.com/acme/dlq-operator/blob/v{self.version}"
        self.assertIn(f"]({place}/LICENSE)", self.read("README.md"))
        self.assertIn(f"]({place}/charts/dlq-operator/README.md)", self.read("docs/install.md"))
        for page in [self.project / "README.md", *self.project.glob("docs/**/*.md")]:
            for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
                self.assertTrue("://" in link or (page.parent / link).exists(), f"{page}: {link}")

    def test_no_placeholder_is_left(self):
        self.stamp(*NAMES)
        self.assertEqual(self.stamp().returncode, 0)
        everywhere = ["REGISTRY/OWNER", "OWNER/NAME"]
        # Pages tell of these.
        installed = ["localhost/dlq-operator", "registry: localhost", "example.com/dlq-operator"]
        for path in [path for path in self.project.rglob("*") if path.is_file()]:
            page = path.relative_to(self.project).parts[0] in ["README.md", "CHANGELOG.md", "docs"]
            for text in everywhere + installed * (not page):
                self.assertNotIn(text, path.read_text(), path)

    def test_a_page_with_a_placeholder_that_is_not_stamped_is_refused(self):
        (self.project / "docs/new.md").write_text("oci://REGISTRY/OWNER/charts/dlq-operator\n")
        self.refused("docs/new.md: REGISTRY/OWNER", *NAMES)

    def test_a_new_file_with_a_placeholder_is_refused(self):
        (self.project / "dist/job.yaml").write_text("image: localhost/dlq-operator:1\n# https://example.com/dlq-operator/x\n")
        self.refused("dist/job.yaml: localhost/dlq-operator\ndist/job.yaml: https://example.com/dlq-operator\n", *NAMES)

    def test_a_placeholder_that_is_not_there_is_refused(self):
        values = self.project / VALUES
        values.write_text(values.read_text().replace("registry: localhost", "registry: quay.io"))
        self.refused(f"{VALUES} has no registry: localhost to replace", *NAMES)

    def test_a_place_that_nobody_else_reaches_is_refused(self):
        for number, place in [(0, "localhost/acme/dlq-operator"), (0, "ghcr.io"), (0, "ghcr.io/Acme/dlq-operator"),
                              (1, "localhost:5000/charts"), (2, "http://github.com/acme/dlq-operator"),
                              (2, "https://github.com")]:
            names = [*NAMES]
            names[number] = place
            self.refused(place, *names)

    def test_an_unstamped_release_is_refused(self):
        self.refused(f"{VALUES}: registry: localhost")
        self.refused("README.md: REGISTRY/OWNER")
        self.refused("docs/install.md: ](../charts/dlq-operator/README.md")
        with tempfile.TemporaryDirectory() as folder:
            for command in [["portable", self.version, folder], ["platform", "/bin/true", folder]]:
                result = run(ROOT / "hack/release" / command[0], *command[1:])
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn("error: no release may name a place that is not its own", result.stderr)
            self.assertEqual([path.name for path in Path(folder).glob("*.tgz")], [])

    def test_the_workflow_stamps_whatever_it_ships_with_the_names_that_it_pushes_to(self):
        workflow = (ROOT / ".github/workflows/release.yml").read_text()
        # Of macOS, whose bash knows no other way to write a name in lower case.
        lower = """"$(tr '[:upper:]' '[:lower:]' <<<"$%s")\""""
        stamps = {'"${IMAGE,,}" "${CHARTS,,}"': ["platform target/", "portable ", "krew "],
                  f"{lower % 'IMAGE'} {lower % 'CHARTS'}": ["plugin target/"]}
        for names, scripts in stamps.items():
            for ships in scripts:
                before = workflow.split(f"hack/release/{ships}")[0].rpartition("actions/checkout@")[2]
                self.assertIn(f'hack/release/stamp . {names} "$SOURCE"', before)
        for pushes in ['push-image artifacts "${IMAGE,,}"', '.tgz" "${CHARTS,,}/dlq-operator"']:
            self.assertIn(pushes, workflow)

    def test_no_file_names_a_registry_or_a_forge_of_ours(self):
        files = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
        self.assertGreater(len(files), 300)
        ours = re.compile(rb"(ghcr\.io|github\.com|githubusercontent\.com|quay\.io|docker\.io)/dlq-operator")
        found = [file for file in files if (ROOT / file).is_file() and ours.search((ROOT / file).read_bytes())]
        self.assertEqual(found, [])


if __name__ == "__main__":
    unittest.main()
