"""A release without the network: everything that people download is there, and says what it should."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PROGRAM = f"dlq-operator-linux-{ARCHITECTURE}"
PLUGIN = f"kubectl-dlq-linux-{ARCHITECTURE}"
MISSING = [name for name in ["buildah", "dpkg-query", "strip"] if not shutil.which(name)]
# Where a crate's file was, in a binary.
SOURCE = rb"index\.crates\.io-[0-9a-f]+/([A-Za-z0-9_-]+)-([0-9]+\.[0-9]+\.[0-9]+[^/ ]*)/"
REQUIRED = os.environ.get("REQUIRE_IMAGE", "0") not in ["", "0"]


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


@unittest.skipIf(MISSING and not REQUIRED, f"needs {', '.join(MISSING)} in PATH; REQUIRE_IMAGE=1 makes it fail")
class DryRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The binary that the other tests run, which is quicker made than a release's. Its symbols are most of it.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        binaries = {"BINARY": Path(folder.name, "dlq-operator"), "PLUGIN": Path(folder.name, "kubectl-dlq")}
        # The plugin's own features differ from those of the workspace, so it is the one that is built alone.
        for binary, profile in zip(binaries.values(), ["debug", "plugin"]):
            output("strip", "-o", binary, TARGET / profile / binary.name)
        result = subprocess.run(
            ["make", "release-dry-run", *(f"{name}={binary}" for name, binary in binaries.items())], cwd=ROOT, capture_output=True, text=True
        )
        if result.returncode:
            raise AssertionError(result.stdout + result.stderr)
        cls.folder = TARGET / "release-dry-run"
        cls.version = output("hack/release/versions").strip()
        cls.bill = (cls.folder / f"{PROGRAM}.cdx.json").read_text()

    def test_it_makes_what_people_download(self):
        expected = {
            PROGRAM,
            f"{PROGRAM}.cdx.json",
            f"{PROGRAM}.licences.txt",
            f"dlq-operator-{self.version}.tgz",
            f"{PLUGIN}.tar.gz",
            f"{PLUGIN}.cdx.json",
            "dlq.yaml",
            "install.yaml",
            "kustomize.tgz",
            "docs.tgz",
            "clusterdlqconnections.yaml",
            "dlqconnections.yaml",
            "dlqpolicies.yaml",
            "notes.md",
            "SHA256SUMS",
            f"image-{ARCHITECTURE}",
            "image",
            "image.digest",
        }
        self.assertEqual({path.name for path in self.folder.iterdir()}, expected)

    def test_the_checksums_are_those_of_every_file(self):
        lines = (self.folder / "SHA256SUMS").read_text().splitlines()
        sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
        files = [path for path in self.folder.iterdir() if path.is_file()]
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        del files["SHA256SUMS"], files["notes.md"]
        self.assertEqual(sums, files)

    def test_the_index_names_the_image_of_each_architecture(self):
        layout = self.folder / "image"
        (index,) = json.loads((layout / "index.json").read_text())["manifests"]
        self.assertEqual(index["digest"], (self.folder / "image.digest").read_text().strip())
        (image,) = json.loads((self.folder / f"image-{ARCHITECTURE}/index.json").read_text())["manifests"]
        (listed,) = json.loads(blob(layout, index["digest"]))["manifests"]
        self.assertEqual(listed["platform"], {"architecture": ARCHITECTURE, "os": "linux"})
        # What is pushed is what was tested, and what the bill of materials is about.
        self.assertEqual(listed["digest"], image["digest"])
        blob(layout, image["digest"])

    def registry(self):
        """A registry on this machine, empty."""
        # Run by itself, not by go, whose end would not be the registry's.
        registry = subprocess.Popen(
            [output("hack/release/tool", "registry").strip(), "-port=0"], stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(registry.stderr.close)
        self.addCleanup(registry.wait)
        self.addCleanup(registry.kill)
        return f"localhost:{registry.stderr.readline().split()[-1]}"

    def test_image_and_chart_are_found_by_their_version_once_it_is_given_to_them(self):
        place = self.registry()
        image, chart = f"{place}/dlq-operator", f"{place}/charts/dlq-operator"
        file = self.folder / f"dlq-operator-{self.version}.tgz"
        digest = output("hack/release/push-image", self.folder, image).strip()
        self.assertEqual(digest, (self.folder / "image.digest").read_text().strip())
        pushed = {"dlq-operator": digest, "charts/dlq-operator": output("hack/release/push-chart", file, chart).strip()}

        # What can be signed now, nobody finds.
        by_digest = {name: fetch(place, name, digest) for name, digest in pushed.items()}
        for name in pushed:
            with self.assertRaises(urllib.error.HTTPError) as missing:
                fetch(place, name, self.version)
            self.assertEqual(missing.exception.code, 404)
        index = json.loads(by_digest["dlq-operator"])
        self.assertEqual(index["mediaType"], "application/vnd.oci.image.index.v1+json")
        manifest = json.loads(fetch(place, "dlq-operator", index["manifests"][0]["digest"]))
        self.assertEqual(manifest["annotations"]["org.opencontainers.image.version"], self.version)
        (layer,) = json.loads(by_digest["charts/dlq-operator"])["layers"]
        self.assertEqual(layer["digest"], f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")

        output("hack/release/absent", f"{image}:{self.version}", f"{chart}:{self.version}")
        output("hack/release/tag", self.version, *(f"{place}/{name}@{digest}" for name, digest in pushed.items()))
        self.assertEqual({name: fetch(place, name, self.version) for name in pushed}, by_digest)

    def test_a_version_that_a_registry_has_is_not_given_again(self):
        place = self.registry()
        image, chart = f"{place}/dlq-operator", f"{place}/charts/dlq-operator"
        at_image = f"{image}@{output('hack/release/push-image', self.folder, image).strip()}"
        output("hack/release/tag", "1.0.0", at_image)
        for command in [["absent", f"{chart}:1.0.0", f"{image}:1.0.0"], ["tag", "1.0.0", f"{chart}@sha256:{'0' * 64}", at_image]]:
            refused = run(ROOT / "hack/release" / command[0], *command[1:])
            self.assertEqual(refused.returncode, 1, refused.stdout)
            self.assertIn(f"{image}:1.0.0 exists already", refused.stderr)

    def test_a_registry_that_does_not_say_whether_it_has_a_version_is_not_taken_for_one_that_has_not(self):
        refused = run(ROOT / "hack/release/absent", "localhost:1/dlq-operator:1.0.0")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn("cannot tell whether localhost:1/dlq-operator:1.0.0 exists", refused.stderr)

    def test_what_cannot_be_pushed_fails(self):
        chart = self.folder / f"dlq-operator-{self.version}.tgz"
        for command in [["push-image", self.folder], ["push-chart", chart]]:
            nowhere = run(ROOT / "hack/release" / command[0], command[1], "localhost:1/dlq-operator")
            self.assertNotEqual(nowhere.returncode, 0)
            self.assertIn("localhost:1", nowhere.stderr)
            self.assertEqual(nowhere.stdout, "")

    def test_the_operator_in_the_image_starts(self):
        layout = self.folder / f"image-{ARCHITECTURE}"
        self.assertEqual(output("hack/release/starts", layout), f"dlq-operator {self.version}\n")

    def test_no_image_is_built_without_a_revision(self):
        # A checkout without git: none knows of which commit it is.
        with tempfile.TemporaryDirectory() as folder:
            without = {name: value for name, value in os.environ.items() if name != "IMAGE_REVISION"}
            without = {**without, "GIT_DIR": f"{folder}/none"}
            refused = subprocess.run(
                [ROOT / "hack/image/build", self.folder / PROGRAM, f"{folder}/image"],
                env=without, capture_output=True, text=True,
            )
            self.assertEqual(refused.returncode, 1, refused.stdout)
            self.assertIn("set IMAGE_REVISION", refused.stderr)
            self.assertFalse(Path(folder, "image").exists())

    def test_the_bill_of_materials_is_valid(self):
        validator = JsonStrictValidator(SchemaVersion.V1_5)
        self.assertIsNone(validator.validate_str(self.bill))
        broken = json.loads(self.bill)
        del broken["components"][0]["name"]
        self.assertIsNotNone(validator.validate_str(json.dumps(broken)))

    def test_the_bill_of_materials_names_the_crates_and_packages_that_are_in_the_image(self):
        bill = json.loads(self.bill)
        purls = {component["purl"].split("?")[0] for component in bill["components"]}
        crates = {purl for purl in purls if purl.startswith("pkg:cargo/")}
        # The binary says itself of which crates' files it was made.
        found = re.findall(SOURCE, (self.folder / PROGRAM).read_bytes())
        found = {f"pkg:cargo/{name.decode()}@{version.decode().replace('+', '%2B')}" for name, version in found}
        self.assertGreater(len(found), 50)
        self.assertEqual(found - crates, set())
        # In Cargo.lock, and not in the binary.
        self.assertNotIn("ring", {purl.split("/")[1].split("@")[0] for purl in crates})
        self.assertLess(len(crates), 350)

        # Whoever passes the binary on passes on what these ask for.
        licences = (self.folder / f"{PROGRAM}.licences.txt").read_text()
        named = re.findall(r"^([A-Za-z0-9_-]+) ([^ ]+) \(", licences, re.MULTILINE)
        self.assertLessEqual(crates, {f"pkg:cargo/{name}@{version.replace('+', '%2B')}" for name, version in named})

        packages = {purl for purl in purls if purl.startswith("pkg:deb/")}
        names = {purl.split("/")[2].split("@")[0] for purl in packages}
        self.assertEqual(names, {"ca-certificates", "libc6", "libgcc-s1"})
        self.assertEqual(len(purls), len(bill["components"]))
        # The program needs each of them.
        program = bill["metadata"]["component"]
        self.assertEqual((program["name"], program["version"]), ("dlq-operator", self.version))
        (needs,) = [entry["dependsOn"] for entry in bill["dependencies"] if entry["ref"] == program["bom-ref"]]
        self.assertLessEqual(packages, {need.split("?")[0] for need in needs})

    def test_the_bill_of_materials_does_not_say_where_it_was_built(self):
        self.assertNotIn(str(ROOT), self.bill)
        self.assertNotIn("file:", self.bill)

    def test_the_same_image_gives_the_same_bill_of_materials(self):
        again = output("hack/release/sbom", "dlq-operator", self.folder / f"image-{ARCHITECTURE}")
        # But for where the sources are, which a checkout does not know.
        self.assertEqual(again.replace("https://example.com/", "https://example.com/acme/"), self.bill)

    def unpacked(self):
        """The plugin's archive, as a person unpacks it."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        output("tar", "--extract", "--gzip", "--file", self.folder / f"{PLUGIN}.tar.gz", "--directory", folder.name)
        return Path(folder.name)

    def test_the_archive_of_the_plugin_holds_it_with_its_licences(self):
        folder = self.unpacked()
        self.assertEqual({path.name for path in folder.iterdir()}, {"kubectl-dlq", "LICENSE", "licences.txt"})
        self.assertEqual((folder / "LICENSE").read_text(), (ROOT / "LICENSE").read_text())
        self.assertIn("\nclap ", (folder / "licences.txt").read_text())
        self.assertEqual(output(folder / "kubectl-dlq", "version"), f"kubectl-dlq {self.version}\n")

    def test_the_bill_of_materials_of_the_plugin_names_the_crates_that_are_in_it(self):
        text = (self.folder / f"{PLUGIN}.cdx.json").read_text()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(text))
        bill = json.loads(text)
        crates = {component["purl"].split("?")[0] for component in bill["components"]}
        found = re.findall(SOURCE, (self.unpacked() / "kubectl-dlq").read_bytes())
        found = {f"pkg:cargo/{name.decode()}@{version.decode().replace('+', '%2B')}" for name, version in found}
        self.assertGreater(len(found), 40)
        self.assertEqual(found - crates, set())
        self.assertEqual((bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]),
                         ("kubectl-dlq", self.version))
        self.assertIn("https://example.com/acme/dlq-operator", text)
        self.assertNotIn(str(ROOT), text)

    def krew(self, *arguments):
        """krew, with a folder of its own that is empty."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program = output("hack/release/tool", "krew").strip()
        environment = {**os.environ, "KREW_ROOT": folder.name}
        result = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True)
        return result, Path(folder.name)

    def test_krew_installs_the_archive_by_the_manifest(self):
        result, root = self.krew(
            "install", "--manifest", self.folder / "dlq.yaml", "--archive", self.folder / f"{PLUGIN}.tar.gz"
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("kubectl dlq lint -f FILE", result.stdout + result.stderr)
        self.assertEqual(output(root / "bin/kubectl-dlq", "version"), f"kubectl-dlq {self.version}\n")

    def test_krew_refuses_another_archive_than_the_manifest_is_about(self):
        with tempfile.TemporaryDirectory() as folder:
            other = Path(folder, "other.tar.gz")
            other.write_bytes((self.folder / f"{PLUGIN}.tar.gz").read_bytes() + b"\0")
            result, _ = self.krew("install", "--manifest", self.folder / "dlq.yaml", "--archive", other)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("checksum", result.stderr)

    def test_the_working_folder_stays_as_it_was(self):
        self.assertEqual([str(path) for path in ROOT.glob("**/sbom-*.json") if "target" not in path.parts], [])

    def test_everything_names_the_place_that_it_is_released_to(self):
        image, source = "registry.example.com/acme/dlq-operator", "https://example.com/acme/dlq-operator"
        with tarfile.open(self.folder / f"dlq-operator-{self.version}.tgz") as chart:
            values = chart.extractfile("dlq-operator/values.yaml").read().decode()
        self.assertIn("registry: registry.example.com\n", values)
        self.assertIn("repository: acme/dlq-operator\n", values)
        with tarfile.open(self.folder / "kustomize.tgz") as base:
            deployment = base.extractfile("kustomize/deployment.yaml").read().decode()
        with tarfile.open(self.folder / "docs.tgz") as pages:
            pages = {name: pages.extractfile(name).read().decode() for name in ["README.md", "CHANGELOG.md", "docs/image.md"]}
        self.assertIn("oci://registry.example.com/acme/charts/dlq-operator", pages["README.md"])
        self.assertIn(f"`{image}:", pages["docs/image.md"])
        for text in [deployment, (self.folder / "install.yaml").read_text()]:
            self.assertIn(f"image: {image}:{self.version}\n", text)
        layout = self.folder / f"image-{ARCHITECTURE}"
        (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
        annotations = json.loads(blob(layout, manifest["digest"]))["annotations"]
        self.assertEqual(annotations["org.opencontainers.image.source"], source)
        self.assertIn(source, self.bill)
        self.assertNotIn("example.com/dlq-operator", self.bill)

    def test_the_checkout_still_names_nobody(self):
        self.assertIn("registry: localhost\n", (ROOT / "charts/dlq-operator/values.yaml").read_text())

    def test_the_chart_and_the_notes_are_of_this_version(self):
        with tarfile.open(self.folder / f"dlq-operator-{self.version}.tgz") as chart:
            about = chart.extractfile("dlq-operator/Chart.yaml").read().decode()
        self.assertIn(f"\nversion: {self.version}\n", about)
        for crd in (ROOT / "crds").iterdir():
            self.assertEqual((self.folder / crd.name).read_text(), crd.read_text())
        self.assertIn(f":{self.version}", (self.folder / "install.yaml").read_text())
        self.assertIn("- ", (self.folder / "notes.md").read_text())


def fetch(place, name, reference):
    """A manifest of a registry on this machine."""
    # Whatever proxy it has for the rest.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(f"http://{place}/v2/{name}/manifests/{reference}", headers={"Accept": accept})
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def blob(layout, digest):
    """A blob, which has the digest that it is called by."""
    kind, name = digest.split(":")
    content = (layout / "blobs" / kind / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == name, digest
    return content


if __name__ == "__main__":
    unittest.main()
