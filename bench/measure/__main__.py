"""Measure operators that work on the dead letter queue of Upstash Workflow, side by side. `bench/run` builds what this needs.

  BENCH_CONTROL_PLANE  folder with kube-apiserver, etcd and kubectl
  BENCH_BIN            folder with fake-upstash and the peers
  BENCH_WORK           folder for scratch files (a temporary one by default)
"""

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

from . import curves, report
from .contestant import Contestant
from .figures import medians
from .machine import description, pace, wait_for_calm
from .world import World, folder_in, say

# In the order in which they are measured: the quick ones first. B7 and B8 are in what these count.
PHASES = ["B6", "B5", "B3", "B4", "B2", "B1", "failover", "shards"]
# Measured in one world for each number of policies.
POPULATION = ("B1", "B2", "failover", "shards")
MODULES = {"B3": "drain", "B4": "crowd", "B5": "reaction", "B6": "size", "smoke": "smoke"}
OF_SCRIPTS = ("B3", "B6")
SETTINGS = ("policies", "entries", "latencies", "variants", "spread", "due", "drains", "ticks", "starts", "reactions",
            "failovers", "rest")


class Run:
    """One run of one contestant: each of its phases has worlds of its own."""

    def __init__(self, contestant, args, number, work):
        self.c, self.args, self.number, self.worlds = contestant, args, number, 0
        self.folder = os.path.join(work, f"{contestant.name}-{number}")

    def world(self, name):
        self.worlds += 1
        return World(self.c, os.path.join(self.folder, f"{self.worlds:02d}-{name}"))

    def measure(self, phases):
        if self.c.kind == "script":
            phases = [phase for phase in phases if phase in OF_SCRIPTS]
        figures, together = {}, tuple(phase for phase in phases if phase in POPULATION)
        for phase in phases:
            if phase in together and together.index(phase):
                continue
            wait_for_calm(self.args.patience)
            say(f"{self.c.name}: run {self.number + 1} of {self.args.runs}, {' '.join(together) if phase in together else phase}")
            before = pace()
            if phase in together:
                got = importlib.import_module(".phases.population", __package__).measure(self, together)
            else:
                got = {phase: importlib.import_module(f".phases.{MODULES[phase]}", __package__).measure(self)}
            after = pace()
            for name, measured in got.items():
                figures[name] = {**measured, "pace_ms": min(before, after)}
        return figures


def numbers(text):
    return [int(part) for part in text.split(",")]


def words(text):
    return text.split(",")


def parsed(argv):
    parser = argparse.ArgumentParser(prog="measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, in turns")
    run.add_argument("contestant", nargs="+", help="contestant files; several take turns, run by run")
    run.add_argument("--out", required=True, help="folder for the results")
    run.add_argument("--phases", type=words, default=PHASES, help="of " + ",".join(PHASES))
    run.add_argument("--runs", type=int, default=3)
    run.add_argument("--policies", type=numbers, default=[0, 1000, 10_000, 100_000], help="policies of B1, B2, failover and shards")
    run.add_argument("--entries", type=numbers, default=[50_000], help="entries of B3")
    run.add_argument("--latencies", type=numbers, default=[0, 20, 100], help="ms of each call in B3, and up to 20 in B4")
    run.add_argument("--variants", type=words, default=["cursor", "match", "parallel"], help="of B3, where a contestant has them")
    run.add_argument("--spread", choices=["even", "tail", "second"], default="even", help="how B3's entries are spread over time")
    run.add_argument("--due", type=numbers, default=[1000, 10_000], help="policies of B4")
    run.add_argument("--drains", type=int, default=5, help="drains of B3 without latency")
    run.add_argument("--ticks", type=int, default=2, help="minutes of B4 for each latency")
    run.add_argument("--starts", type=int, default=5, help="starts of B2")
    run.add_argument("--reactions", type=int, default=30, help="policies of B5, one after another")
    run.add_argument("--failovers", type=int, default=2, help="of each kind")
    run.add_argument("--rest", type=int, default=30, help="seconds of B1 at rest")
    run.add_argument("--patience", type=int, default=60,
                     help="seconds to wait before a sample until others leave the machine alone; 0: take it as it comes")
    run.add_argument("--keep", action="store_true", help="keep the scratch files")
    show = commands.add_parser("report", help="print results as Markdown")
    show.add_argument("result", nargs="+", help="results; the others are compared with the first")
    draw = commands.add_parser("curves", help="draw results over the number of policies and entries, as SVG")
    draw.add_argument("result", nargs="+")
    draw.add_argument("--out", required=True, help="folder for the pictures")
    args = parser.parse_args(argv)
    if args.command == "run":
        check(parser, args)
    return args


def check(parser, args):
    """Bounds what is asked for: a typing error must not keep a machine busy for days."""
    for phase in args.phases:
        if phase not in [*PHASES, "smoke"]:
            parser.error(f"there is no phase {phase}")
    for values, most in [(args.policies, 200_000), (args.entries, 20_000_000), (args.latencies, 1000), (args.due, 20_000),
                         ([args.runs, args.drains, args.ticks, args.starts, args.failovers], 20),
                         ([args.rest, args.patience], 3600), ([args.reactions], 1000)]:
        if not all(0 <= value <= most for value in values):
            parser.error(f"{values} is out of bounds: at most {most}")
    if unknown := set(args.variants) - {"cursor", "match", "parallel"}:
        parser.error(f"there is no variant {sorted(unknown)}")


def documents(paths):
    found = []
    for path in paths:
        with open(path) as file:
            found.append(json.load(file))
    return found


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def measure(args):
    contestants = [Contestant(path) for path in args.contestant]
    if len({c.name for c in contestants}) < len(contestants):
        sys.exit("two contestants have the same name")
    work = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_WORK"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that stops what was started
    machine, results, failed = description(folder_in("BENCH_CONTROL_PLANE")), {}, True
    os.makedirs(args.out, exist_ok=True)
    phases = [phase for phase in [*PHASES, "smoke"] if phase in args.phases]
    try:
        for number in range(args.runs):
            for contestant in contestants:
                result = results.setdefault(contestant.name, {
                    "contestant": contestant.name, "environment": machine, "date": time.strftime("%Y-%m-%d"), "runs": [],
                    "settings": {name: getattr(args, name) for name in SETTINGS}})
                result["runs"].append(Run(contestant, args, number, work).measure(phases))
                result["median"] = medians(result["runs"])
                # After each run, so that an interruption costs no more than one.
                write(os.path.join(args.out, contestant.name + ".json"), json.dumps(result, indent=1) + "\n")
        page = report.report(list(results.values()))
        write(os.path.join(args.out, "report.md"), page)
        print(page)
        failed = False
    finally:
        if failed or args.keep:
            say(f"scratch files are in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def main(argv=None):
    args = parsed(argv)
    if args.command == "run":
        measure(args)
    elif args.command == "report":
        print(report.report(documents(args.result)))
    else:
        curves.write_all(documents(args.result), args.out)


if __name__ == "__main__":
    main()
