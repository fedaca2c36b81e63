"""Reduces the bill of materials of a binary, which comes as this program's input, to what is in it, and adds the packages of
its image.

The argument is a folder with what `cargo tree` lists in crates and, where there is an image, its etc/os-release and
var/lib/dpkg/status.d.
"""

import json
import pathlib
import sys
from urllib.parse import quote


def fields(text):
    """What a text of `key=value` or `Key: value` lines says; lines that go on another are passed over."""
    pairs = (line.partition("=" if "=" in line.split(":")[0] else ":") for line in text.splitlines() if line[:1] != " ")
    return {key: value.strip().strip('"') for key, _, value in pairs}


def package(text, system):
    about = fields(text)
    name, version, architecture = about["Package"], about["Version"], about["Architecture"]
    distro = f"{system['ID']}-{system['VERSION_ID']}"
    purl = f"pkg:deb/{system['ID']}/{name}@{quote(version, safe='')}?arch={architecture}&distro={distro}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "description": about["Description"],
        "supplier": {"name": about["Maintainer"]},
        "purl": purl,
    }


def keep_compiled(bill, crates):
    """Drops crates that only a feature would bring for which nobody asks: those are in Cargo.lock, not in the binary."""
    bill["components"] = [entry for entry in bill["components"] if (entry["name"], "v" + entry["version"]) in crates]
    kept = {entry["bom-ref"] for entry in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    bill["dependencies"] = [entry for entry in bill["dependencies"] if entry["ref"] in kept]
    for entry in bill["dependencies"]:
        if "dependsOn" in entry:
            entry["dependsOn"] = [ref for ref in entry["dependsOn"] if ref in kept]


def join_libraries(bill):
    """Takes the project's own libraries for parts of the program: what they need, the program needs."""
    own = {entry["bom-ref"] for entry in bill["components"] if entry["bom-ref"].startswith("path+file:")}
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    program = bill["metadata"]["component"]["bom-ref"]
    reached, left = {program}, [program]
    while left:
        refs = set(needs.get(left.pop(), [])) - reached
        reached |= refs
        left += sorted(refs & own)
    bill["components"] = [entry for entry in bill["components"] if entry["bom-ref"] not in own]
    bill["dependencies"] = [entry for entry in bill["dependencies"] if entry["ref"] not in own]
    (depends,) = [entry for entry in bill["dependencies"] if entry["ref"] == program]
    depends["dependsOn"] = sorted(reached - own - {program})


def packages_of(root):
    if not (root / "etc/os-release").exists():
        return []
    system = fields((root / "etc/os-release").read_text())
    texts = (path.read_text() for path in sorted((root / "var/lib/dpkg/status.d").iterdir()))
    return [package(text, system) for text in texts]


def main():
    root = pathlib.Path(sys.argv[1])
    packages = packages_of(root)

    # Where it was built is nobody's business, and would make it another one on every machine.
    text = sys.stdin.read()
    bill = json.loads(text.replace(f"path+file://{pathlib.Path.cwd()}#", "").replace("?download_url=file://.", ""))
    keep_compiled(bill, {tuple(line.split()[:2]) for line in (root / "crates").read_text().splitlines()})
    join_libraries(bill)
    bill["components"] += packages
    program = bill["metadata"]["component"]["bom-ref"]
    (depends,) = [entry for entry in bill["dependencies"] if entry["ref"] == program]
    depends.setdefault("dependsOn", []).extend(entry["bom-ref"] for entry in packages)
    bill["dependencies"] += [{"ref": entry["bom-ref"]} for entry in packages]
    json.dump(bill, sys.stdout, indent=2)
    print()


main()
