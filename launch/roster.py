"""Who takes part in a run, written down: names and pids, and where the sockets are.

Kept in `processes.json` of the run directory by `launch.local_run`. Whoever resumes a run ends what
its killed launcher may have left (`sweep`): a learner that was stopped in that moment would wake up
beside its successor and write over its checkpoints. `launch.chaos` finds its victims here.
"""

import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from dm2_dist.run_directory import write_atomically

_LOG = logging.getLogger(__name__)
FILE = "processes.json"
_SWEEP_SECONDS = 10.0


class RosterError(Exception):
    """Something of an earlier stretch of the run is still there; the message names it."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The processes of one stretch of a run.

    launcher: its pid.
    metrics: host and port of the head's `/status` and `/sd`.
    sockets: folder of the run's Unix sockets.
    processes: name -> pid of the children that run; a child about to be restarted is not there.
    """

    launcher: int
    metrics: str
    sockets: str
    processes: dict[str, int]


def write(root: Path, roster: Roster) -> None:
    """Replace the roster of the run in `root`."""
    write_atomically(root / FILE, json.dumps(asdict(roster), indent=2).encode())


def read(root: Path) -> Roster | None:
    """The roster of the run in `root`; None if there is none, or nothing that can be read."""
    try:
        document = json.loads((root / FILE).read_bytes())
        return Roster(
            launcher=int(document["launcher"]),
            metrics=str(document["metrics"]),
            sockets=str(document["sockets"]),
            processes={str(name): int(pid) for name, pid in document["processes"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def keeps_log(pid: int, log: Path) -> bool:
    """Whether a living process has this log open: the proof that a pid is not somebody else's."""
    try:
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_same(link, log) for link in opened)


def sweep(root: Path) -> list[str]:
    """Kill what an earlier stretch of the run in `root` left behind; call it under the run's lock.

    Returns:
        The names of those that were killed; they are gone.

    Raises:
        RosterError: one of them does not go, within ten seconds.
    """
    roster = read(root)
    left = {} if roster is None else roster.processes
    found = {
        name: pid
        for name, pid in left.items()
        if Path(name).name == name and keeps_log(pid, root / "logs" / f"{name}.log")
    }
    for name, pid in found.items():
        _LOG.warning("straggler name=%s pid=%s", name, pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        except PermissionError:
            raise _stays(root, name, pid) from None
    deadline = time.monotonic() + _SWEEP_SECONDS
    for name, pid in found.items():
        while keeps_log(pid, root / "logs" / f"{name}.log"):
            if time.monotonic() > deadline:
                raise _stays(root, name, pid)
            time.sleep(0.02)
    return sorted(found)


def _stays(root: Path, name: str, pid: int) -> RosterError:
    return RosterError(f"{name} (pid {pid}) of an earlier stretch of {root} still runs; end it")


def _same(link: Path, log: Path) -> bool:
    try:
        return link.samefile(log)
    except OSError:
        return False
