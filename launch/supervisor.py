"""Children: started, watched, restarted with back-off, stopped; only pids that it started itself.

A role that dies again and again without getting anything done is given up, with the reason. Used by
`launch.local_run`.
"""

import logging
import multiprocessing.connection
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from dm2_dist.child import HOPELESS, LAUNCHERS_SIGNALS

_LOG = logging.getLogger(__name__)
_FIRST_BACK_OFF_SECONDS = 0.2
_LONGEST_BACK_OFF_SECONDS = 3.2
"""An actor is up again within 5 seconds and a learner within 10, however often it was killed."""
_DEATHS_ALLOWED = 5
_DEATH_WINDOW_SECONDS = 600.0


def _none() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one child.

    name: for instance `actor-3`; role: `actor`, `learner` or `head`.
    target: called in the child as `target(**arguments, incarnation=...)`.
    deaths_allowed: unexpected ends within ten minutes before it is given up.
    progress: how much the child, in all its lives, has done; asked when it ends. Ends before which
        it got something done are not held against it: whoever kills a role that works does not
        use up its restarts, and a role that fails at the same thing again and again does.
    """

    name: str
    role: str
    context: BaseContext
    target: Callable[..., None]
    arguments: Mapping[str, Any]
    deaths_allowed: int = _DEATHS_ALLOWED
    progress: Callable[[], int] = _none


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: BaseProcess | None = None
    incarnation: int = 0
    deaths: deque[float] = field(default_factory=deque)
    progress: int = 0
    restart_at: float | None = None
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """One child's end.

    restarting: it will be started again; gave_up: it died too often, or would die again.
    """

    name: str
    role: str
    incarnation: int
    exit_code: int
    restarting: bool
    gave_up: bool


class Supervisor:
    """Keeps the children up until told that they may end.

    restarts: role -> number of restarts so far.
    """

    def __init__(self, restarts: Mapping[str, int]) -> None:
        self.restarts: dict[str, int] = dict(restarts)
        self._children: dict[str, _Child] = {}
        self._ending: set[str] = set()

    def start(self, spec: ChildSpec) -> None:
        """Start a child."""
        child = _Child(spec, progress=spec.progress())
        self._children[spec.name] = child
        self._launch(child)

    def end_expected(self, *roles: str) -> None:
        """From now on children of these roles may exit; none of them is restarted."""
        self._ending |= set(roles)
        for child in self._children.values():
            if child.spec.role in self._ending:
                child.restart_at = None

    def wait(self, timeout: float) -> list[Exit]:
        """Sleep until a child ends, at most `timeout` seconds; restart what is due; report ends."""
        running = {c.process.sentinel: c for c in self._children.values() if c.process is not None}
        ready = multiprocessing.connection.wait(list(running), timeout)
        exits = [self._ended(running[sentinel]) for sentinel in ready if isinstance(sentinel, int)]
        now = time.monotonic()
        for child in self._children.values():
            if child.restart_at is not None and now >= child.restart_at:
                child.restart_at = None
                self._launch(child)
        return exits

    def alive(self, role: str | None = None) -> int:
        """Children of a role (or all) that are running or about to be restarted."""
        return sum(
            1
            for child in self._children.values()
            if role in (None, child.spec.role)
            and (child.process is not None or child.restart_at is not None)
        )

    def pids(self) -> dict[str, int]:
        """Name -> pid of the running children."""
        found = {}
        for name, child in self._children.items():
            if child.process is not None and child.process.pid is not None:
                found[name] = child.process.pid
        return found

    def stop(self, patience: float) -> None:
        """See everybody off: wait for those that are leaving, kill the others.

        Args:
            patience: seconds to wait. Children may be killed at any moment; nothing depends on it.
        """
        self.end_expected(*(child.spec.role for child in self._children.values()))
        deadline = time.monotonic() + patience
        while self.alive() and time.monotonic() < deadline:
            self.wait(0.1)
        for pid in self.pids().values():
            _kill(pid)
        while self.alive():
            self.wait(0.1)

    def _launch(self, child: _Child) -> None:
        # Newer than the one before, also when the clock has been set back.
        child.incarnation = max(child.incarnation + 1, time.time_ns())
        process: BaseProcess = child.spec.context.Process(  # type: ignore[attr-defined]
            target=child.spec.target,
            name=child.spec.name,
            kwargs={**child.spec.arguments, "incarnation": child.incarnation},
            daemon=False,
        )
        # A child that starts must not die of a Ctrl-C that the launcher turns into a drain; nor may
        # the launcher miss it. The child inherits the blocked signals and lets go of them in
        # `child.begin`. The tracker of multiprocessing unblocks them when it starts, so it comes
        # first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, LAUNCHERS_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, LAUNCHERS_SIGNALS)
        child.process = process
        _LOG.info("started name=%s pid=%s", child.spec.name, process.pid)

    def _ended(self, child: _Child) -> Exit:
        process = child.process
        assert process is not None
        process.join()
        code = process.exitcode if process.exitcode is not None else -1
        process.close()
        child.process = None
        restarting, gave_up = False, False
        if child.spec.role not in self._ending and code != 0:
            gave_up = code == HOPELESS or self._too_often(child)
            restarting = not gave_up
        if restarting:
            self.restarts[child.spec.role] = self.restarts.get(child.spec.role, 0) + 1
            pause = _FIRST_BACK_OFF_SECONDS * 4.0 ** (len(child.deaths) - 1)
            child.restart_at = time.monotonic() + min(pause, _LONGEST_BACK_OFF_SECONDS)
        _LOG.info("ended name=%s exit_code=%s restarting=%s", child.spec.name, code, restarting)
        return Exit(child.spec.name, child.spec.role, child.incarnation, code, restarting, gave_up)

    def _too_often(self, child: _Child) -> bool:
        now, progress = time.monotonic(), child.spec.progress()
        if progress > child.progress:
            child.deaths.clear()
        child.progress = progress
        child.deaths.append(now)
        while now - child.deaths[0] > _DEATH_WINDOW_SECONDS:
            child.deaths.popleft()
        return len(child.deaths) > child.spec.deaths_allowed


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        _LOG.debug("already gone pid=%s", pid)
