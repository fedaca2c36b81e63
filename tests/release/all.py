"""Runs the tests here as those of the SDKs are run."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sdk/python"))

from run_tests import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(HERE))
