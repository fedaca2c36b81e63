"""Runs every test of a folder, this one when none is given, and ends with a line like cargo's."""

import pathlib
import sys
import time
import unittest


def main(folder=pathlib.Path(__file__).parent):
    started = time.monotonic()
    tests = unittest.defaultTestLoader.discover(str(folder))
    # The SDK's clients have no close, so their sockets are still open when they are collected.
    result = unittest.TextTestRunner(verbosity=2, warnings="ignore").run(tests)
    # A test fails once, however many of its parts do.
    failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    passed = result.testsRun - len(failed) - len(result.skipped)
    print(
        f"test result: {'FAILED' if failed else 'ok'}. {max(passed, 0)} passed; {len(failed)} failed; "
        f"{len(result.skipped)} ignored; 0 measured; 0 filtered out; "
        f"finished in {time.monotonic() - started:.2f}s"
    )
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
