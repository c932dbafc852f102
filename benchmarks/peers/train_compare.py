"""Training speed of the project and of its peers side by side, taking turns on the same cores.

    python benchmarks/peers/train_compare.py [--json]

Each side trains five agents on 5m_vs_6m with independent PPO: layers 64 wide, 10 epochs, batches of
about 7,900 environment steps. While one side trains, the other waits. README.md says how to install
the peers, what differs between them, and how to read the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import train_ours
from trainee import Rate, Trainee, TrainingError


@dataclass(frozen=True)
class Peer:
    """A script, where its interpreter is expected, and the best settings that were found.

    Attributes:
        script: its file.
        python: interpreter of its environment, unless another one is given.
        settings: what the script is told, without the cores; its docstring names the words.
    """

    script: str
    python: str
    settings: str


PEERS = {
    "rllib": Peer("train_rllib.py", "/tmp/peers-rllib/bin/python", "2 16 1 1"),
    "torchrl": Peer("train_torchrl.py", "/tmp/peers-torchrl/bin/python", "2 32 1 1"),
    "jaxmarl": Peer("train_jaxmarl.py", "/tmp/peers-venv/bin/python", "64 1"),
}


@dataclass(frozen=True)
class Outcome:
    """One row of the table; speeds are medians of the turns, in environment steps/s.

    Attributes:
        peer: what the project is compared with.
        version: of the packages that matter.
        settings: how it was set.
        value: environment steps/s of its training, start-up and compilation excluded.
        unit: of `value` and `ours`.
        ours: the project's, in the turns before and after.
        ratio: median of ours over theirs, turn by turn.
        lowest: lowest ratio of a turn.
        highest: highest ratio of a turn.
        value_by_processor: environment steps for a second of processor time of all processes.
        ours_by_processor: the same of the project.
        processor_ratio: median of the ratios of the two.
        start_seconds: of the peer, until two iterations were trained; in none of the figures.
    """

    peer: str
    version: str
    settings: str
    value: float
    unit: str
    ours: float
    ratio: float
    lowest: float
    highest: float
    value_by_processor: float
    ours_by_processor: float
    processor_ratio: float
    start_seconds: float


def compare(peer: Peer, given: argparse.Namespace, cores: Sequence[int]) -> Outcome:
    """Let the project and a peer take turns.

    Args:
        peer: script and settings.
        given: the command line.
        cores: those that either side may use.

    Raises:
        TrainingError: a side cannot be measured.
    """
    words = [*peer.settings.split(), ",".join(map(str, cores))]
    told = train_ours.arguments(given.actors, given.episodes_per_ticket)
    theirs = Trainee(peer.python, peer.script, words, given.patience)
    turns: list[tuple[Rate, Rate]] = []
    deadline = time.monotonic() + given.peer_seconds - theirs.start_seconds
    try:
        while len(turns) < given.turns and (not turns or time.monotonic() < deadline):
            ours = train_ours.turn(
                given.own_python, told, given.seconds, given.iterations, given.patience
            )
            turns.append((ours, theirs.turn(given.seconds)))
    finally:
        theirs.close()
    ratios = [ours.by_clock / other.by_clock for ours, other in turns]
    return Outcome(
        peer=theirs.about["peer"],
        version=theirs.about["version"],
        settings=theirs.about["settings"],
        value=statistics.median(other.by_clock for _, other in turns),
        unit="env steps/s",
        ours=statistics.median(ours.by_clock for ours, _ in turns),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        value_by_processor=statistics.median(other.by_processor for _, other in turns),
        ours_by_processor=statistics.median(ours.by_processor for ours, _ in turns),
        processor_ratio=statistics.median(
            ours.by_processor / other.by_processor for ours, other in turns
        ),
        start_seconds=theirs.start_seconds,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Compare with every peer that is there; one sentence for each that is not."""
    given = _arguments().parse_args(words)
    unknown = sorted(set(given.peers.split(",")) - set(PEERS))
    if unknown:
        print(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    cores = sorted(os.sched_getaffinity(0))[: given.cores]
    os.sched_setaffinity(0, cores)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended too
    load = os.getloadavg()[0]
    outcomes: list[Outcome] = []
    skipped: dict[str, str] = {}
    for name in given.peers.split(","):
        peer = Peer(
            PEERS[name].script,
            getattr(given, f"{name}_python"),
            getattr(given, f"{name}_settings"),
        )
        try:
            outcome = compare(peer, given, cores)
        except TrainingError as error:
            skipped[name] = str(error)
            print(f"{name} is skipped: {error}", file=sys.stderr, flush=True)
            continue
        outcomes.append(outcome)
        if not given.json:
            print(_line(outcome), flush=True)
    if given.json:
        rows = [asdict(outcome) for outcome in outcomes]
        told = train_ours.arguments(given.actors, given.episodes_per_ticket)
        about = {"cores": len(cores), "load_before": load, "ours": " ".join(told)}
        print(json.dumps({**about, "rows": rows, "skipped": skipped}, indent=2))
    return 0 if outcomes else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", default=",".join(PEERS), help="which, with commas between")
    for name, peer in PEERS.items():
        parser.add_argument(f"--{name}-python", default=peer.python, metavar="PATH")
        parser.add_argument(f"--{name}-settings", default=peer.settings, metavar="WORDS")
    parser.add_argument("--own-python", default=sys.executable, help="interpreter of the project")
    parser.add_argument("--actors", type=int, default=2, help="our actors")
    parser.add_argument("--episodes-per-ticket", type=int, default=32, help="battles of our actors")
    parser.add_argument("--cores", type=int, default=2, help="cores that both sides share")
    parser.add_argument("--turns", type=int, default=3, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=10.0, help="least length of a turn")
    parser.add_argument("--iterations", type=int, default=2, help="least iterations of our turn")
    parser.add_argument(
        "--peer-seconds", type=float, default=180.0, help="no new turn begins after so long"
    )
    parser.add_argument(
        "--patience", type=float, default=120.0, help="seconds for a start or a turn, at most"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    return parser


def _line(outcome: Outcome) -> str:
    return (
        f"{outcome.peer} ({outcome.version}): {outcome.value:,.0f} env steps/s, "
        f"ours {outcome.ours:,.0f}: {outcome.ratio:.1f} times "
        f"({outcome.lowest:.1f} to {outcome.highest:.1f}; {outcome.processor_ratio:.1f} by "
        f"processor time)\n  {outcome.settings}"
    )


if __name__ == "__main__":
    sys.exit(main())
