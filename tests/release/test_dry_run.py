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
import urllib.request
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PROGRAM = f"dlq-operator-linux-{ARCHITECTURE}"
MISSING = [name for name in ["buildah", "dpkg-query", "strip"] if not shutil.which(name)]
REQUIRED = os.environ.get("REQUIRE_IMAGE", "0") not in ["", "0"]


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@unittest.skipIf(MISSING and not REQUIRED, f"needs {', '.join(MISSING)} in PATH; REQUIRE_IMAGE=1 makes it fail")
class DryRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The binary that the other tests run, which is quicker made than a release's. Its symbols are most of it.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        binary = Path(folder.name, "dlq-operator")
        output("strip", "-o", binary, TARGET / "debug/dlq-operator")
        result = subprocess.run(
            ["make", "release-dry-run", f"BINARY={binary}"], cwd=ROOT, capture_output=True, text=True
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
            "install.yaml",
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

    def test_image_and_chart_can_be_pushed_to_a_registry(self):
        # Built, not run, by go: its end would not be the registry's.
        binary = TARGET / "tools/bin/registry"
        output("go", "-C", "hack/release-tools", "build", "-o", binary, "github.com/google/go-containerregistry/cmd/registry")
        with subprocess.Popen([binary, "-port=0"], stderr=subprocess.PIPE, text=True) as registry:
            self.addCleanup(registry.kill)
            place = f"localhost:{registry.stderr.readline().split()[-1]}"
            # That it speaks no TLS is the only thing that differs from where the workflow pushes to.
            pushed = subprocess.run(
                [
                    ROOT / "hack/release/index", self.folder,
                    f"docker://{place}/dlq-operator:{self.version}", "--tls-verify=false",
                ],
                capture_output=True, text=True,
            )
            self.assertEqual(pushed.returncode, 0, pushed.stderr)
            self.assertEqual(pushed.stdout, (self.folder / "image.digest").read_text())
            index = json.loads(fetch(place, "dlq-operator", self.version))
            self.assertEqual(index["mediaType"], "application/vnd.oci.image.index.v1+json")
            image = json.loads(fetch(place, "dlq-operator", index["manifests"][0]["digest"]))
            self.assertEqual(image["annotations"]["org.opencontainers.image.version"], self.version)

            chart = self.folder / f"dlq-operator-{self.version}.tgz"
            said = subprocess.run(
                [ROOT / "hack/release/helm", "push", chart, f"oci://{place}/charts", "--plain-http"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            ).stdout
            # What the workflow reads out of Helm's words.
            digest = re.search(r"^Digest: *(sha256:[0-9a-f]{64})$", said, re.MULTILINE)
            self.assertIsNotNone(digest, said)
            manifest = json.loads(fetch(place, "charts/dlq-operator", self.version))
            self.assertEqual(manifest["layers"][0]["digest"], f"sha256:{hashlib.sha256(chart.read_bytes()).hexdigest()}")
            registry.kill()

    def test_what_cannot_be_pushed_fails(self):
        nowhere = subprocess.run(
            [ROOT / "hack/release/index", self.folder, "docker://localhost:1/dlq-operator:1"],
            capture_output=True, text=True,
        )
        self.assertNotEqual(nowhere.returncode, 0)
        self.assertIn("localhost:1", nowhere.stderr)
        self.assertEqual(nowhere.stdout, "")

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
        source = rb"index\.crates\.io-[0-9a-f]+/([A-Za-z0-9_-]+)-([0-9]+\.[0-9]+\.[0-9]+[^/ ]*)/"
        found = re.findall(source, (self.folder / PROGRAM).read_bytes())
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
        self.assertEqual(output("hack/release/sbom", self.folder / f"image-{ARCHITECTURE}"), self.bill)

    def test_the_working_folder_stays_as_it_was(self):
        self.assertEqual([str(path) for path in ROOT.glob("**/sbom-*.json") if "target" not in path.parts], [])

    def test_the_chart_and_the_notes_are_of_this_version(self):
        with tarfile.open(self.folder / f"dlq-operator-{self.version}.tgz") as chart:
            about = chart.extractfile("dlq-operator/Chart.yaml").read().decode()
        self.assertIn(f"\nversion: {self.version}\n", about)
        self.assertEqual((self.folder / "dlqpolicies.yaml").read_text(), (ROOT / "crds/dlqpolicies.yaml").read_text())
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
