"""One disturbed run: the plan is carried out while it trains, and what comes back is timed.

Fed by `launch.chaos_plan`; drives `launch.chaos_child` with `launch.chaos_faults`; the events go to
`launch.chaos_report`.
"""

import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dm2_dist.run_directory import RunDirectoryError
from launch import chaos_faults
from launch.chaos_child import Child, Progress
from launch.chaos_faults import Lasting
from launch.chaos_plan import Fault

_TICK_SECONDS = 0.05
_LOOK_SECONDS = 0.2
_VICTIM_SECONDS = 20.0
"""How long a fault that is due waits for somebody whom it can happen to."""


@dataclass(slots=True)
class Event:
    """What became of one fault.

    seconds: since the run was started. target: a name such as `learner-1`; empty if there was none.
    hit: whether it happened. back_seconds: until a killed role took part again; None until then.
    note: why it missed, or what else there is to say.
    """

    seconds: float
    fault: Fault
    target: str = ""
    hit: bool = False
    back_seconds: float | None = None
    note: str = ""


@dataclass(slots=True)
class _Absent:
    """A killed process whose successor is waited for."""

    event: Event
    pid: int
    since: float


class Tormentor:
    """Carries out a plan on a run; call `run` once.

    events: what was done, in order. failure: why the run was given up; empty if it ended by itself.
    """

    def __init__(
        self,
        child: Child,
        plan: Sequence[Fault],
        seed: int,
        patience: float,
        tell: Callable[[Event], None],
    ) -> None:
        """Prepare.

        Args:
            child: the run, not started yet.
            plan: in the order in which it is carried out.
            seed: of the garbage.
            patience: seconds without progress after which the run is given up.
            tell: called once for each event, when it is complete.
        """
        self.events: list[Event] = []
        self.failure = ""
        self._child, self._patience, self._tell = child, patience, tell
        self._plan = deque(plan)
        self._draw = random.Random(f"dm2 garbage {seed}")
        self._progress = Progress(child.directory.metrics)
        self._lasting: list[tuple[float, Lasting]] = []
        self._absent: list[_Absent] = []
        self._due: tuple[Fault, float] | None = None
        self._started = self._looked = self._moved = 0.0
        self._env_steps = -1
        self._target_env_steps = 0

    def run(self) -> int:
        """Start the run, disturb it, wait for its end; returns its exit code."""
        self._started = self._moved = time.monotonic()
        self._child.start()
        try:
            while (code := self._child.poll()) is None and not self.failure:
                self._step(time.monotonic())
                time.sleep(_TICK_SECONDS)
        finally:
            for _, lasting in self._lasting:
                lasting.close()
        for absent in self._absent:
            absent.event.note = "the run ended before it was back"
            self._tell(absent.event)
        for fault in self._plan:
            self._note(Event(self._elapsed(), fault, note="the run had ended"))
        return 1 if code is None else code

    def _step(self, now: float) -> None:
        self._resume_lasting(now)
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._look_for_absent(now)
        steps = self._progress.env_steps()
        if steps != self._env_steps:
            self._env_steps, self._moved = steps, now
        elif now - self._moved > self._patience:
            self.failure = f"no progress for {self._patience:.0f} s at {steps} env steps"
        self._inflict(now)

    def _inflict(self, now: float) -> None:
        """Do what is due: a fault waits for its place in the training, then for its delay."""
        while self._plan:
            fault = self._plan[0]
            if self._due is None or self._due[0] is not fault:
                if self._env_steps < fault.at * self._whole() or not self._env_steps:
                    return
                self._due = (fault, now + fault.delay)
            if now < self._due[1]:
                return
            somebody = self._child.names(fault.role)
            if not somebody and now < self._due[1] + _VICTIM_SECONDS:
                return
            self._plan.popleft()
            self._do(fault, fault.victim(somebody))

    def _whole(self) -> int:
        if not self._target_env_steps:
            try:
                self._target_env_steps = self._child.directory.read_config().max_env_steps
            except RunDirectoryError:
                return 2**62  # it has not begun
        return self._target_env_steps

    def _do(self, fault: Fault, target: str | None) -> None:
        event = Event(self._elapsed(), fault, target or "")
        pid = None if target is None else self._child.pid_of(target)
        if target is None or pid is None:
            event.note = f"no {fault.role} was running"
        elif fault.kind == "kill":
            self._kill(event, pid)
            return
        else:
            self._begin(event, pid)
        self._note(event)

    def _kill(self, event: Event, pid: int) -> None:
        since = time.monotonic()
        if event.target == "launcher":
            for absent in self._absent:
                absent.event.note = "the launcher was killed before it was back"
                self._tell(absent.event)
            self._absent = []
            self._child.kill_launcher()
            self._child.start()
        else:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                event.note = "it had just gone"
                self._note(event)
                return
        event.hit = True
        self.events.append(event)
        self._absent.append(_Absent(event, pid, since))

    def _begin(self, event: Event, pid: int) -> None:
        fault = event.fault
        sockets = self._sockets_of(event.target)
        match fault.kind:
            case "stop":
                lasting = chaos_faults.stop(pid, fault.seconds)
            case "slow":
                lasting = chaos_faults.slow(pid, fault.seconds)
            case "partition":
                lasting = chaos_faults.partition(pid, sockets, fault.seconds)
            case _:
                run_id = self._child.directory.root.name
                lasting = chaos_faults.garble(sockets, run_id, self._draw, fault.seconds)
        event.note = f"for {fault.seconds:.1f} s"
        event.hit = self._advance(lasting, event)

    def _advance(self, lasting: Lasting, event: Event | None = None) -> bool:
        """Let a fault go on until it wants to wait; False if it is over, or could not begin."""
        try:
            self._lasting.append((time.monotonic() + next(lasting), lasting))
        except StopIteration:
            return False
        except OSError as error:
            if event is not None:
                event.note = f"not possible here: {error.strerror}"
            return False
        return True

    def _resume_lasting(self, now: float) -> None:
        waiting, self._lasting = self._lasting, []
        for until, lasting in waiting:
            if now < until:
                self._lasting.append((until, lasting))
            else:
                self._advance(lasting)

    def _look_for_absent(self, now: float) -> None:
        if not self._absent:
            return
        known, still = self._child.known_to_head(), []
        for absent in self._absent:
            if self._is_back(absent, known):
                absent.event.back_seconds = now - absent.since
                self._tell(absent.event)
            else:
                still.append(absent)
        self._absent = still

    def _is_back(self, absent: _Absent, known: set[str]) -> bool:
        """A successor is there and the head knows it; for a launcher, all that it started."""
        if absent.event.target != "launcher":
            pid = self._child.pid_of(absent.event.target)
            return pid not in (None, absent.pid) and absent.event.target in known
        listed = self._child.listed()
        return listed is not None and bool(known) and known >= set(listed.processes)

    def _sockets_of(self, name: str) -> list[Path]:
        """Where a role listens; nowhere for an actor."""
        listed = self._child.listed()
        if listed is None:
            return []
        role, _, index = name.rpartition("-")
        names = {"head": ["head"], "learner": [f"t-{index}", f"p-{index}"]}.get(role, [])
        return [Path(listed.sockets) / socket for socket in names]

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._tell(event)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
