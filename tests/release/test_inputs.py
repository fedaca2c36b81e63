"""What is downloaded to build and test is pinned by what is in it, and something proposes newer ones."""

import os
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROPOSALS = ROOT / ".github/dependabot.yml"


def files():
    """Every file of the project, relative to it, without what was built or installed."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = set(folders) - {".git", "node_modules", "target"}
        yield from (Path(folder, name).relative_to(ROOT) for name in names)


FILES = sorted(files())


def proposals():
    """The folders that newer versions are looked for in, for each ecosystem."""
    text = re.sub(r" +#.*", "", PROPOSALS.read_text())
    found = {}
    for part in text.split("- package-ecosystem: ")[1:]:
        ecosystem, _, rest = part.partition("\n")
        folders = re.findall(r"^ +- (/\S*)$|^ +directory: (/\S*)$", rest, re.MULTILINE)
        found[ecosystem] = {(many or one).strip("/") or "." for many, one in folders}
    return found


class Inputs(unittest.TestCase):
    def test_every_python_package_is_pinned_by_the_hashes_of_its_files(self):
        lists = [path for path in FILES if path.name == "requirements.txt"]
        self.assertGreaterEqual(len(lists), 4)
        for path in lists:
            entries = re.sub(r"\\\n", "", (ROOT / path).read_text()).splitlines()
            entries = [line for line in entries if line and not line.startswith("#")]
            loose = [line for line in entries if not re.fullmatch(r"[\w.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+", line)]
            self.assertEqual(loose, [], path)

    def test_pip_installs_nothing_whose_hash_it_does_not_know(self):
        installs = []
        for path in FILES:
            if path.suffix in ["", ".sh", ".yml"]:
                text = (ROOT / path).read_text(errors="replace").replace("\\\n", "")
                installs += [(str(path), line.strip()) for line in text.splitlines() if re.search(r"\bpip install\b", line)]
        self.assertGreaterEqual(len(installs), 2)
        self.assertEqual([install for install in installs if "--require-hashes" not in install[1]], [])

    def test_the_toolchain_is_one_whose_lints_do_not_change(self):
        ci = (ROOT / ".github/workflows/ci.yml").read_text()
        self.assertRegex(ci, r"(?m)^      RUSTUP_TOOLCHAIN: \d+\.\d+\.\d+$")

    def test_the_image_is_built_with_the_toolchain_that_is_tested(self):
        ci = (ROOT / ".github/workflows/ci.yml").read_text()
        (tested,) = re.findall(r"RUSTUP_TOOLCHAIN: (.+)", ci)
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        # The last one is built without --target: the operator's image.
        self.assertEqual(stages, [(f"docker.io/library/rust:{tested}-bookworm", "build"), ("build", "build-simulator"),
                                  ("scratch", "simulator"), ("scratch", "")])

    def test_both_ways_to_build_an_image_end_alike(self):
        _, *ends = re.split(r"^FROM scratch.*\n", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
        ways = [("simulator/Containerfile", "build-simulator"), ("hack/image/Containerfile", "build")]
        self.assertEqual(len(ends), len(ways))
        for (file, stage), end in zip(ways, ends):
            packed = (ROOT / file).read_text().partition("\nFROM scratch\n")[2]
            self.assertIn("USER ", packed)
            # What follows is about the next stage.
            built = end.partition("\n\n")[0].rstrip("\n") + "\n"
            self.assertEqual(built, packed.replace("COPY --chown=0:0 rootfs/", f"COPY --from={stage} --chown=0:0 /rootfs/"), file)

    def test_newer_versions_are_looked_for_wherever_some_are_pinned(self):
        pinned = {
            "cargo": {"."},
            "github-actions": {"."},
            "gomod": {str(path.parent) for path in FILES if path.name == "go.mod"},
            "npm": {str(path.parent) for path in FILES if path.name == "package-lock.json"},
            "pip": {str(path.parent) for path in FILES if path.name == "requirements.txt"},
        }
        # The Dockerfile's Rust is CI's, as a test above demands: a newer one in the Dockerfile alone would fail it.
        # What is pinned for comparison stays what it is: minors of Kubernetes, which hack/tools/compat/pin writes, the
        # oldest Helm, and the peers that the bench measures.
        compared = ("hack/tools/compat/", "hack/helm/oldest", "bench/")
        for ecosystem in ["gomod", "npm"]:
            pinned[ecosystem] = {folder for folder in pinned[ecosystem] if not folder.startswith(compared)}
        self.assertEqual({ecosystem: sorted(folders) for ecosystem, folders in proposals().items()},
                         {ecosystem: sorted(folders) for ecosystem, folders in pinned.items()})


if __name__ == "__main__":
    unittest.main()
