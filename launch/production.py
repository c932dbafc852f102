"""How much an actor has produced, from its counter files. Used by `launch.local_run`."""

import logging

from dm2_dist.comms import counter_file
from dm2_dist.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)


def produced(directory: RunDirectory, name: str) -> int:
    """Trajectories that an actor produced in all its lives; unreadable files count nothing."""
    total = 0
    for path in directory.ledger.glob(f"{name}@*.cnt"):
        try:
            total += sum(counter_file.read_counters(path).produced)
        except (OSError, ValueError):
            _LOG.exception("unreadable counters path=%s", path)
    return total
