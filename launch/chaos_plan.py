"""What chaos will do to a run: a pure function of a seed. Carried out by `launch.chaos_run`.

Faults are placed by the progress of the training, not by the clock, so that a plan fits a run on a
fast and on a slow machine; each waits a moment more, so that it does not always hit the beginning
of an iteration.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "stop", "slow", "partition", "garble"]
Role = Literal["actor", "learner", "head", "launcher"]

KILLED: tuple[tuple[Role, float], ...] = (
    ("actor", 0.45),
    ("learner", 0.3),
    ("head", 0.15),
    ("launcher", 0.1),
)
"""Who is killed, and how often."""
LASTING: tuple[tuple[Kind, tuple[Role, ...]], ...] = (
    ("stop", ("actor", "learner", "head")),
    ("slow", ("actor", "learner", "head")),
    ("partition", ("learner", "head")),
    ("garble", ("learner", "head")),
)
"""The other faults, and whom they happen to."""
_FIRST, _LAST = 0.01, 0.9
_LONGEST_DELAY_SECONDS = 1.5
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 4.0
_SILENT_SECONDS = 12.0
"""Longer than the head waits for an actor, and than a connection does without a heartbeat."""
_SILENT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do to a run.

    choice: 0 to 1; picks one of the running processes of the role.
    at: fraction of the training env steps after which it is due; delay: seconds after that.
    seconds: how long it lasts; 0 for a kill.
    """

    kind: Kind
    role: Role
    choice: float
    at: float
    delay: float
    seconds: float

    def victim(self, names: Sequence[str]) -> str | None:
        """The name it hits, of those that run in this role; None if there is none."""
        ordered = sorted(names)
        return ordered[int(self.choice * len(ordered))] if ordered else None


def make(seed: int, kills: int, others: int) -> tuple[Fault, ...]:
    """The plan of a seed, in the order in which it is carried out.

    Args:
        seed: any whole number.
        kills: how many kills; from four on each role is among them.
        others: how many stops, slowdowns, partitions and bursts of garbage; from four on each kind
            is among them.
    """
    draw = random.Random(f"dm2 chaos {seed}")
    roles = [role for role, _ in KILLED][:kills]
    weights = [weight for _, weight in KILLED]
    roles += draw.choices([role for role, _ in KILLED], weights, k=kills - len(roles))
    kinds = [LASTING[index % len(LASTING)] for index in range(others)]
    faults = [_fault(draw, "kill", role) for role in roles]
    faults += [_fault(draw, kind, draw.choice(whom)) for kind, whom in kinds]
    return tuple(sorted(faults, key=lambda fault: (fault.at, fault.delay)))


def _fault(draw: random.Random, kind: Kind, role: Role) -> Fault:
    seconds = 0.0
    if kind != "kill":
        seconds = draw.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)
        if kind in {"stop", "partition"} and draw.random() < _SILENT_SHARE:
            seconds = _SILENT_SECONDS
    return Fault(
        kind=kind,
        role=role,
        choice=draw.random(),
        at=draw.uniform(_FIRST, _LAST),
        delay=draw.uniform(0.0, _LONGEST_DELAY_SECONDS),
        seconds=seconds,
    )
