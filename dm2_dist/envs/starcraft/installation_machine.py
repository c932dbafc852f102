"""The checks of the machine: does it have the memory, processors, ports and files for the actors.

`Needs` says what one actor takes; the figures are guesses on the safe side, until `dm2 doctor` has
played an episode and measured its game.
"""

import errno
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from dm2_dist.envs.starcraft.installation_finding import Finding, fault, ok, warning

GAME_MEGABYTES = 1000
"""What one StarCraft II is thought to take where none was measured: hundreds of MB, growing."""
WORKER_MEGABYTES = 70
"""SMAC and PySC2 in their worker: 44 MB before the first battle, and room for large maps."""
ACTOR_MEGABYTES = 60
"""An actor with its parameters and its episodes."""
LEARNERS_MEGABYTES = 2000
"""Head and learners of a team of three to ten agents."""
_CGROUP = Path("/sys/fs/cgroup")
GAME_PORTS = range(21_000, 32_000)
"""Where games listen: below the ports that systems take for outgoing connections."""
_FILES_PER_ACTOR = 16
_FILES_ALWAYS = 256


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run asks of the machine.

    Attributes:
        actors: actor processes.
        games: whether each has a StarCraft II of its own.
        game_megabytes: memory of one game.
        measured: whether that figure was measured here.
    """

    actors: int
    games: bool
    game_megabytes: int = GAME_MEGABYTES
    measured: bool = False

    @property
    def actor_megabytes(self) -> int:
        """Memory of an actor with all that belongs to it."""
        return ACTOR_MEGABYTES + self.games * (WORKER_MEGABYTES + self.game_megabytes)


def findings(needs: Needs, folder: Path) -> list[Finding]:
    """Check the machine for a number of actors.

    Args:
        needs: what the run asks.
        folder: where runs would be kept.
    """
    return [
        memory(needs, available_megabytes()),
        processors(needs, len(os.sched_getaffinity(0))),
        ports(needs.actors if needs.games else 1, GAME_PORTS if needs.games else None),
        open_files(needs, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        disk("disk", folder),
        disk("temporary", Path(tempfile.gettempdir())),
        shared_memory(Path("/dev/shm")),
    ]


def available_megabytes(group: Path = _CGROUP) -> int:
    """Memory that may still be taken, by the machine and by the limit of this container."""
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            left = int((group / limit).read_text()) - int((group / used).read_text())
        except (OSError, ValueError):
            continue  # no such group, or its limit is `max`
        free = min(free, max(0, left))
    return free // 2**20


def memory(needs: Needs, available: int) -> Finding:
    """Memory of all actors against what is left, in megabytes."""
    needed = LEARNERS_MEGABYTES + needs.actors * needs.actor_megabytes
    source = "measured" if needs.measured else "a guess"
    each = f", {needs.game_megabytes:,} MB a game ({source})" if needs.games else ""
    found = f"{needed:,} MB for {needs.actors} actors{each}; {available:,} MB are free"
    most = max(0, available - LEARNERS_MEGABYTES) // needs.actor_megabytes
    mend = f"use --actors {most}" if most else "use a machine with more memory"
    if needed > available:
        return fault("memory", found, mend)
    if needed > 0.8 * available:
        return warning("memory", found, f"leave room for growth: {mend} or fewer")
    return ok("memory", found)


def processors(needs: Needs, usable: int) -> Finding:
    """Actors against processors; an actor and its game keep one busy, by turns."""
    found = f"{usable} for {needs.actors} actors"
    most = usable * (2 if needs.games else 16)
    if needs.actors <= most:
        return ok("processors", found)
    return warning("processors", found, f"more than {most} actors wait for each other: use fewer")


def ports(actors: int, candidates: Iterable[int] | None = None) -> Finding:
    """Whether as many ports of 127.0.0.1 as there are games can be listened on at once.

    Args:
        actors: ports needed.
        candidates: ports to try; whichever the system gives unless given.
    """
    tried = [0] * actors if candidates is None else candidates
    held = 0
    with ExitStack() as sockets:
        for port in tried:
            probe = sockets.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
                held += 1
            except OSError as error:
                if error.errno == errno.EMFILE:
                    return ok("ports", f"{held} free; more could not be tried")
            if held == actors:
                return ok("ports", f"{_enough(actors)} on 127.0.0.1")
    return fault(
        "ports",
        f"{held} of {actors} needed are free on 127.0.0.1",
        "end the programs that hold them (`ss -tlnp` lists them), or use fewer actors",
    )


def _enough(actors: int) -> str:
    return f"{actors} needed {'are' if actors > 1 else 'is'} free"


def open_files(needs: Needs, limit: int) -> Finding:
    """The limit on open files of a process: the head holds a connection to every actor."""
    needed = _FILES_ALWAYS + _FILES_PER_ACTOR * needs.actors
    if limit == resource.RLIM_INFINITY or limit >= needed:
        told = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
        return ok("open files", f"{told} for each process")
    return fault(
        "open files",
        f"{limit:,} for each process; about {needed:,} are needed",
        f"run `ulimit -n {needed}` first, or raise it in limits.conf",
    )


def disk(check: str, folder: Path) -> Finding:
    """Room where runs, logs and the games' temporary files go."""
    place = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    free = shutil.disk_usage(place).free // 2**20
    found = f"{free:,} MB free in {place}"
    if not os.access(place, os.W_OK):
        return fault(check, f"{place} cannot be written to", "choose a folder of your own")
    if free < 500:
        return fault(check, found, "make room: a run needs 500 MB for checkpoints and logs")
    if free < 5000:
        return warning(check, found, "long runs keep checkpoints and logs: have 5 GB")
    return ok(check, found)


def shared_memory(place: Path) -> Finding:
    """Containers give /dev/shm 64 MB, on which PyTorch's processes choke."""
    if not place.is_dir():
        return warning("shared memory", f"{place} is missing", "mount a tmpfs there")
    total = shutil.disk_usage(place).total // 2**20
    if total < 256:
        return warning(
            "shared memory", f"{place} has {total:,} MB", "start the container with --shm-size=1g"
        )
    return ok("shared memory", f"{place} has {total:,} MB")
