"""The embedded simulator and a peer side by side, taking turns on the same cores.

    python benchmarks/peers/compare.py --peer-python /path/to/peers-venv/bin/python

Every simulator runs in processes of its own, one for each core, pinned to it; while one side plays,
the other waits. Turns are short and many, so that other load on the machine meets both sides; the
ratio is the median of the ratios of neighbouring turns. README.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entrant:
    """One side of a comparison: a script, its interpreter, and how it is to play."""

    script: str
    python: str
    batch: int
    mode: str


@dataclass(frozen=True)
class Outcome:
    """What a comparison found: environment steps/s of all cores together, medians of the turns.

    Attributes:
        map_name: the map.
        cores: processes of each side.
        peer: what the project is compared with.
        ours: environment steps/s of the project.
        theirs: environment steps/s of the peer.
        ratio: median of ours over theirs, turn by turn.
        lowest: lowest ratio of a turn.
        highest: highest ratio of a turn.
        processor_ratio: the same for steps by processor time.
    """

    map_name: str
    cores: int
    peer: Entrant
    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float
    processor_ratio: float


class Side:
    """The processes of one entrant on one map, which play when they are asked to."""

    def __init__(self, entrant: Entrant, map_name: str, cores: Sequence[int]) -> None:
        """Start a process for each core and wait until all have compiled."""
        self._processes = [_start(entrant, map_name, core) for core in cores]
        self.about = [_read(process) for process in self._processes]

    def play(self, seconds: float) -> tuple[float, float]:
        """Play in all processes at once.

        Returns:
            Environment steps for a second by the clock and for a second of processor time.
        """
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        answers = [_read(process) for process in self._processes]
        processor = sum(answer["processor_seconds"] for answer in answers)
        return (
            sum(answer["env_steps"] / answer["wall_seconds"] for answer in answers),
            sum(answer["env_steps"] for answer in answers) / processor,
        )

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()


def compare(
    map_name: str, cores: Sequence[int], ours: Entrant, peer: Entrant, turns: int, seconds: float
) -> Outcome:
    """Let two simulators take turns.

    Args:
        map_name: a map that both have.
        cores: a process of each side for each of them.
        ours: the project.
        peer: what it is compared with.
        turns: turns of each side.
        seconds: length of a turn.
    """
    sides = Side(ours, map_name, cores), Side(peer, map_name, cores)
    try:
        rates = [(sides[0].play(seconds), sides[1].play(seconds)) for _ in range(turns)]
    finally:
        for side in sides:
            side.close()
    ratios = [a[0] / b[0] for a, b in rates]
    return Outcome(
        map_name=map_name,
        cores=len(cores),
        peer=peer,
        ours=statistics.median(a[0] for a, _ in rates),
        theirs=statistics.median(b[0] for _, b in rates),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        processor_ratio=statistics.median(a[1] / b[1] for a, b in rates),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Compare on every map, with every batch size of the peer; print a line for each."""
    given = _arguments().parse_args(words)
    usable = sorted(os.sched_getaffinity(0))
    ours = Entrant("skirmish.py", given.own_python, given.num_envs, "step")
    outcomes = []
    for map_name in given.maps.split(","):
        for mode in given.modes.split(","):
            for batch in map(int, given.batches.split(",")):
                peer = Entrant(given.peer, given.peer_python, batch, mode)
                for count in map(int, given.cores.split(",")):
                    outcome = compare(
                        map_name, usable[:count], ours, peer, given.turns, given.seconds
                    )
                    outcomes.append(outcome)
                    if not given.json:
                        print(_line(outcome), flush=True)
    if given.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer-python", required=True, help="interpreter that has the peer")
    parser.add_argument("--own-python", default=sys.executable, help="interpreter of the project")
    parser.add_argument("--peer", default="smax.py", choices=("smax.py", "smaclite_peer.py"))
    parser.add_argument("--maps", default="3m,5m_vs_6m", help="maps that both sides have")
    parser.add_argument("--modes", default="step,bare", help="how the peer plays; see its script")
    parser.add_argument("--batches", default="16,64,1024", help="battles of a process of the peer")
    parser.add_argument("--num-envs", type=int, default=64, help="battles of a process of ours")
    parser.add_argument("--cores", default="1", help="numbers of processes, such as 1,8")
    parser.add_argument("--turns", type=int, default=7, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    return parser


def _line(outcome: Outcome) -> str:
    peer = outcome.peer
    return (
        f"{outcome.map_name} on {outcome.cores} cores: {outcome.ours:,.0f} env steps/s, "
        f"{Path(peer.script).stem} ({peer.mode}, {peer.batch} battles) {outcome.theirs:,.0f}: "
        f"{outcome.ratio:.1f} times ({outcome.lowest:.1f} to {outcome.highest:.1f}; "
        f"{outcome.processor_ratio:.1f} by processor time)"
    )


def _start(entrant: Entrant, map_name: str, core: int) -> subprocess.Popen[str]:
    command = [entrant.python, str(HERE / entrant.script)]
    command += [map_name, str(entrant.batch), entrant.mode, str(core)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended early; what it wrote above says why")
    answer: dict[str, Any] = json.loads(line)
    return answer


if __name__ == "__main__":
    sys.exit(main())
