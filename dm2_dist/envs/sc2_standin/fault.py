"""Faults on order: what goes wrong, when, and how often.

Two environment variables, read when the stand-in starts, so that whoever launches it needs to know
nothing about them. `DM2_STANDIN_FAULT` is a comma-separated list of `name` or `name=value`;
`DM2_STANDIN_FAULT_ONCE` names a file that is created when a fault strikes, and once it is there
none does: the next launch is clean. Fed by `__main__`; asked by `server`, `session` and `game`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dm2_dist.envs.sc2_standin.protocol import StandInError

FAULTS = "DM2_STANDIN_FAULT"
ONCE = "DM2_STANDIN_FAULT_ONCE"

NAMES: dict[str, str] = {
    "exit_at_start": "ends with status 1 instead of listening",
    "delay_listen": "=SECONDS listens so much later",
    "not_found": "=SECONDS answers 404 for so long",
    "stubborn": "ignores SIGTERM, and a client that leaves",
    "crash_at": "=N exits with status 139 at the N-th request",
    "hang_at": "=N never answers the N-th request",
    "close_at": "=N closes the connection at the N-th request, and lives on",
    "garbage_at": "=N answers the N-th request with bytes that are no message",
    "wrong_status_at": "=N says at the N-th request that the game has ended",
    "missing_status_at": "=N leaves the status out at the N-th request",
    "wrong_id_at": "=N answers the N-th request under another number",
    "error_at": "=N answers the N-th request with an error text",
    "already_ended_at": "=N refuses the first step from the N-th request on: game already ended",
    "stub_observation_at": "=N answers the first observation from the N-th request on with a stub",
    "wipe_out_at": "=N leaves nobody alive at the first step from the N-th request on",
    "refuse_create": "refuses to create a game",
    "refuse_join": "refuses to join a game",
    "slow_spawn": "=K lists some of the units only, for K loops after they appear",
    "shuffle_enemies": "lists the enemies in another order in every battle",
    "leak": "=MB holds so much more memory after every step",
}
"""What can go wrong. A fault that is not tied to a request strikes whenever it can."""

_WITH_VALUE = {name for name, meaning in NAMES.items() if meaning.startswith("=")}


class FaultPlan:
    """Which faults strike, and whether they still may."""

    def __init__(self, faults: Mapping[str, float], once: Path | None = None) -> None:
        """Keep the plan.

        Args:
            faults: values by name; 0 for those without one.
            once: file that is created by the first fault and forbids the next.
        """
        self._faults = dict(faults)
        self._once = once
        self._struck: set[str] = set()

    def strikes(self, name: str) -> bool:
        """Whether the fault strikes now."""
        if name not in self._faults:
            return False
        if self._once is None:
            return True
        try:
            os.close(os.open(self._once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return False
        return True

    def strikes_at(self, name: str, request: int) -> bool:
        """Whether a fault that is tied to this very request strikes."""
        return self._faults.get(name) == request and self.strikes(name)

    def strikes_from(self, name: str, request: int) -> bool:
        """Whether a fault strikes that waits for its first chance from some request on."""
        if name in self._struck or request < self._faults.get(name, request + 1):
            return False
        if not self.strikes(name):
            return False
        self._struck.add(name)
        return True

    def value(self, name: str) -> float:
        """Value of a fault that is on the list."""
        return self._faults[name]


def read(environ: Mapping[str, str]) -> FaultPlan:
    """Read the plan from the environment.

    Raises:
        StandInError: there is no such fault, or its value is missing, wrong or superfluous.
    """
    faults: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in environ.get(FAULTS, "").split(","))):
        name, given, text = entry.partition("=")
        if name not in NAMES:
            raise StandInError(f"{FAULTS} knows no fault {name!r}; it knows {', '.join(NAMES)}")
        if bool(given) != (name in _WITH_VALUE):
            usage = name + (NAMES[name] if name in _WITH_VALUE else ", without a value")
            raise StandInError(f"{FAULTS} has {entry!r}; the fault is used so: {usage}")
        faults[name] = _number(entry, text) if given else 0.0
    once = environ.get(ONCE, "")
    return FaultPlan(faults, Path(once) if once else None)


def _number(entry: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise StandInError(f"{FAULTS} has {entry!r}; its value must be a number, 0 or more")
    return value
