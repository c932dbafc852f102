"""Where a process's wall-clock goes, from its start on, phase by phase.

What is under way counts already, so the phases sum to the age of the process at every moment. Held
by `monitoring.metrics`, moved on by the actor's and the learner's loops.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

START = "start"
"""From the process's start until its loop begins."""
OTHER = "other"
"""What no other phase names."""


class TimeBudget:
    """Seconds by phase; one thread moves it on, any thread may read it."""

    def __init__(
        self,
        phases: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        age: float | None = None,
    ) -> None:
        """Begin in the phase `start`.

        Args:
            phases: what there is to enter; `start` and `other` come with it.
            clock: monotonic seconds.
            age: seconds since the process started; asked of the system unless given.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._totals = dict.fromkeys([START, *phases, OTHER], 0.0)
        self._phase = START
        self._since = clock() - (process_age() if age is None else age)

    def enter(self, phase: str) -> None:
        """From now on the process does this."""
        assert phase in self._totals, f"{phase!r} is no phase of this process"
        with self._lock:
            now = self._clock()
            self._totals[self._phase] += max(now - self._since, 0.0)
            self._phase, self._since = phase, now

    def totals(self) -> dict[str, float]:
        """Seconds by phase; none ever falls, and their sum is the age of the process."""
        with self._lock:
            totals = dict(self._totals)
            totals[self._phase] += max(self._clock() - self._since, 0.0)
            return totals

    def named(self) -> dict[str, float]:
        """The same without `start` and `other`: the shares of the work itself."""
        return {name: s for name, s in self.totals().items() if name not in (START, OTHER)}


def process_age() -> float:
    """Seconds since this process was started or forked; 0 where the system does not tell."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
