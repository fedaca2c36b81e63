"""The notes of a release are what CHANGELOG.md says of it, and nothing that people need is left out."""

import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = """\
# Changelog

What changed. Of [1.1.0] too.

## [Unreleased]

## [1.1.0] - 2026-02-01

Mind the definition.

### Added

- One thing, which takes
  two lines.
- Another.

### Fixed

- A third.

## [1.0.0] - 2026-01-01

- The first.
"""


def notes(version, changelog=CHANGELOG):
    with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
        file.write(changelog)
        file.flush()
        return subprocess.run([ROOT / "hack/release/notes", version, file.name], capture_output=True, text=True)


class Notes(unittest.TestCase):
    def refused(self, version, why, changelog=CHANGELOG):
        result = notes(version, changelog)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(why, result.stderr)
        self.assertEqual(result.stdout, "")

    def test_the_section_is_given_with_each_entry_on_one_line(self):
        result = notes("1.1.0")
        self.assertEqual(result.stderr, "")
        self.assertEqual(
            result.stdout,
            "Mind the definition.\n\n### Added\n\n- One thing, which takes two lines.\n- Another.\n\n"
            "### Fixed\n\n- A third.\n",
        )

    def test_the_last_section_ends_with_the_file(self):
        self.assertEqual(notes("1.0.0").stdout, "- The first.\n")

    def test_a_version_without_a_section_is_refused(self):
        self.refused("1.2.0", "there is no section [1.2.0]")
        # Nor is a part of another's name enough.
        self.refused("1.1", "there is no section [1.1]")
        self.refused("1.1.0-rc.1", "there is no section [1.1.0-rc.1]")

    def test_an_empty_section_is_refused(self):
        self.refused("Unreleased", "the section [Unreleased] is empty")
        empty = CHANGELOG.replace("- The first.\n", "### Added\n")
        self.refused("1.0.0", "the section [1.0.0] is empty", empty)

    def test_a_section_without_a_date_is_refused(self):
        self.refused("1.1.0", "has no date", CHANGELOG.replace(" - 2026-02-01", ""))

    def test_a_release_that_leaves_entries_under_unreleased_is_refused(self):
        left = CHANGELOG.replace("## [Unreleased]\n", "## [Unreleased]\n\n- Forgotten.\n")
        self.refused("1.1.0", "[Unreleased] is not empty", left)
        self.assertEqual(notes("Unreleased", left).stdout, "- Forgotten.\n")

    def test_a_changelog_without_unreleased_is_refused(self):
        self.refused("1.1.0", "there is no section [Unreleased]", CHANGELOG.replace("## [Unreleased]\n\n", ""))

    def test_a_version_with_two_sections_is_refused(self):
        self.refused("1.1.0", "two sections are called [1.1.0]", CHANGELOG + "\n## [1.1.0] - 2026-03-01\n\n- More.\n")

    def test_the_projects_own_changelog_can_be_released(self):
        version = subprocess.run([ROOT / "hack/release/versions"], capture_output=True, text=True).stdout.strip()
        own = ROOT / "CHANGELOG.md"
        section = version if f"## [{version}]" in own.read_text() else "Unreleased"
        result = subprocess.run([ROOT / "hack/release/notes", section], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    unittest.main()
