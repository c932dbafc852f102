"""Throw wrong messages at every door until there were enough of them or an hour has passed.

    python tests/fuzz/run.py [--inputs N] [--seconds S] [--seed N] [--target NAME ...]

Every input is one of the numbers 0, 1, 2, ... of a seed, so a finding is made again from its line.
Nothing may be raised, no input may take longer than two seconds, none may allocate more than the
limit; one in a hundred is measured with tracemalloc, all run under a limit of address space.
`guided.py` is the same for bytes that coverage chooses, where atheris is installed.
"""

import argparse
import faulthandler
import gc
import logging
import random
import resource
import sys
import tempfile
import time
import traceback
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import psutil
from targets import TARGETS, Target

from dm2_dist.comms.sockets import close_context

MEBIBYTE = 2**20
ADDRESS_SPACE = 1024 * MEBIBYTE
"""What the process may take beyond what it has at the start."""
PEAK = 40 * MEBIBYTE
"""What one input may allocate: the decoder reserves room for the items that 256 KiB announce."""
SECONDS = 2.0
GROWTH = 64 * MEBIBYTE
"""What a door may keep of all inputs together."""
MEASURED = 100
PORTION = 5000
WEIGHTS = {"counter file": 0.02, "head": 0.15}
"""Shares of the inputs: these two write files."""
KEPT_FINDINGS = 20


@dataclass(slots=True)
class Tally:
    """What a door went through."""

    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    peak: int = 0
    growth: int = 0
    findings: int = 0


def main() -> int:
    """Run; 1 if anything was found."""
    arguments = parse()
    logging.disable(logging.CRITICAL)
    faulthandler.enable()
    process = psutil.Process()
    limit = process.memory_info().vms + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    tallies = {name: Tally() for name in arguments.target}
    end = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory(prefix="dm2-fuzz-") as folder:
        targets = {name: TARGETS[name](Path(folder)) for name in arguments.target}
        weights = [WEIGHTS.get(name, 1.0) for name in targets]
        wanted = {
            name: round(arguments.inputs * weight / sum(weights))
            for name, weight in zip(targets, weights, strict=True)
        }
        while time.monotonic() < end and any(tallies[n].inputs < wanted[n] for n in targets):
            for name, target in targets.items():
                count = min(PORTION, wanted[name] - tallies[name].inputs)
                before = process.memory_info().rss
                portion(name, target, tallies[name], count, arguments.seed)
                gc.collect()
                # The first portion fills caches and pools.
                if tallies[name].inputs > PORTION:
                    tallies[name].growth += process.memory_info().rss - before
        for target in targets.values():
            target.close()
    close_context()
    return report(tallies)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    return parser.parse_args()


def portion(name: str, target: Target, tally: Tally, count: int, seed: int) -> None:
    """Feed the next inputs of a door."""
    started = time.monotonic()
    for number in range(tally.inputs, tally.inputs + max(count, 0)):
        measured = number % MEASURED == 0
        if measured:
            tracemalloc.start()
        before = time.perf_counter()
        faulthandler.dump_traceback_later(30 * SECONDS, exit=True)
        try:
            target.feed(random.Random(f"{seed}/{number}"))
        except Exception:
            found(name, number, seed, tally, traceback.format_exc())
        took = time.perf_counter() - before
        if measured:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            tally.peak = max(tally.peak, peak)
            if peak > PEAK:
                found(name, number, seed, tally, f"allocated {peak / MEBIBYTE:.0f} MiB")
        else:
            tally.slowest = max(tally.slowest, took)
        if took > SECONDS:
            found(name, number, seed, tally, f"took {took:.1f} s")
    faulthandler.cancel_dump_traceback_later()
    if count > 0:
        target.check()
        tally.inputs += count
        tally.seconds += time.monotonic() - started


def found(name: str, number: int, seed: int, tally: Tally, what: str) -> None:
    """Print a finding with what makes it again."""
    tally.findings += 1
    if tally.findings <= KEPT_FINDINGS:
        print(f"FINDING target={name!r} seed={seed} number={number}\n{what}", flush=True)


def report(tallies: dict[str, Tally]) -> int:
    """Print the table; 1 if anything was found."""
    print(f"{'door':<14}{'inputs':>10}{'seconds':>9}{'slowest ms':>12}{'peak MiB':>10}"
          f"{'kept MiB':>10}{'findings':>10}")  # fmt: skip
    for name, tally in tallies.items():
        if tally.growth > GROWTH:
            tally.findings += 1
        print(f"{name:<14}{tally.inputs:>10}{tally.seconds:>9.1f}{tally.slowest * 1e3:>12.1f}"
              f"{tally.peak / MEBIBYTE:>10.2f}{tally.growth / MEBIBYTE:>10.1f}"
              f"{tally.findings:>10}")  # fmt: skip
    inputs = sum(tally.inputs for tally in tallies.values())
    findings = sum(tally.findings for tally in tallies.values())
    print(f"{inputs} inputs, {findings} findings")
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
