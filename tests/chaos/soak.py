"""Watches what processes take over time: memory and descriptors, sampled from `/proc`."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

MEGABYTES_PER_HOUR = 20.0
"""What a role may grow by after the warm-up: a leak of a batch per iteration is far more."""
_WARM_UP_SECONDS = 300.0
_SAMPLE_SECONDS = 5.0
_KILL_SECONDS = 130.0
"""Fewer than five kills of a role in ten minutes: it is not given up."""


class Sample(NamedTuple):
    """One look at a process: seconds since the start, resident megabytes, open descriptors."""

    seconds: float
    megabytes: float
    descriptors: int


def look(pid: int, seconds: float) -> Sample:
    """One sample of a living process."""
    text = Path(f"/proc/{pid}/status").read_text()
    resident = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert resident is not None, f"process {pid} has ended"
    return Sample(seconds, int(resident[1]) / 1024, len(os.listdir(f"/proc/{pid}/fd")))


def watch(
    pids: Mapping[str, int], seconds: float, disturb: Callable[[], None]
) -> dict[str, list[Sample]]:
    """Samples of these processes by name, from the end of the warm-up on; all must live on.

    Args:
        pids: whom to watch.
        seconds: for how long.
        disturb: called every couple of minutes.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in pids}
    started = time.monotonic()
    disturbed = started
    while (now := time.monotonic()) - started < seconds:
        if now - started >= min(_WARM_UP_SECONDS, seconds / 4):
            for name, pid in pids.items():
                samples[name].append(look(pid, now - started))
        if now - disturbed >= _KILL_SECONDS:
            disturbed = now
            disturb()
        time.sleep(_SAMPLE_SECONDS)
    return samples


def kill(*pids: int) -> None:
    """Kill -9; whoever is gone already is between two lives."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def growth(samples: Sequence[Sample]) -> float:
    """Megabytes per hour: the slope of a straight line through the samples."""
    seconds = np.array([sample.seconds for sample in samples])
    megabytes = np.array([sample.megabytes for sample in samples])
    return float(np.polyfit(seconds, megabytes, 1)[0] * 3600)


def table(samples: Mapping[str, Sequence[Sample]]) -> str:
    """The figures for people: one line per process."""
    lines = ["process      MB first  MB last  MB/hour  descriptors"]
    for name, seen in samples.items():
        first, last = seen[0], seen[-1]
        lines.append(
            f"{name:12} {first.megabytes:8.1f} {last.megabytes:8.1f} {growth(seen):+8.1f}"
            f"  {first.descriptors} -> {last.descriptors}"
        )
    return "\n".join(lines)
