"""Runs the tests here as those of the SDKs are run."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests/sdk/python"), str(ROOT / "bench")]

from run_tests import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(HERE))
