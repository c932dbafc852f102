"""`dm2 head`, `dm2 learner` and `dm2 actor`: one process of a run that spans several hosts.

Each needs one address, the head's. Whoever places processes on hosts starts these commands, and
starts them again when they end with another exit code than 0: start is recovery, with the same
words. Called by `launch.cli`.
"""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from dm2_dist import child, log_file, run_directory
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.log_line import Origin
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import arguments

_LOG = logging.getLogger(__name__)
_CONFIG_SECONDS = 300.0

Chosen = TypeVar("Chosen")

_Connect = Annotated[str, tyro.conf.arg(metavar="tcp://HOST:PORT")]
_Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True)
class HeadCommand:
    """Coordinate a run whose learners and actors are commands of their own."""

    listen: Annotated[str, tyro.conf.arg(aliases=["--connect"], metavar="tcp://HOST:PORT")]
    """Where to listen. The others are given the same address with --connect."""
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)
    run_dir: _Folder = None
    """Folder of the run; a run that is in it is continued. A new one under runs/ unless given."""
    metrics_port: Annotated[int | None, tyro.conf.arg(metavar="PORT")] = None
    """Port of /metrics and /sd on 127.0.0.1; 9400, or a free one if that is taken."""
    keys: _Folder = None
    """Folder of keys, needed beyond this machine; DM2_KEYS in the environment unless given."""
    plain: bool = False
    """Plain lines instead of the live view."""


@dataclass(frozen=True)
class LearnerCommand:
    """Train one agent of a run; shares the run directory with the head."""

    connect: _Connect
    """The head's address."""
    agent: Annotated[int, tyro.conf.arg(metavar="K")]
    """Agent to train, counted from 0; each has a learner of its own."""
    run_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the run, as this host sees it."""
    listen: Annotated[str, tyro.conf.arg(metavar="tcp://HOST:PORT")] = ""
    """Where to listen: on this port and on the next one; port 0 takes two free ones. Unless given,
    two free ports of the interface that leads to the head."""
    announce: Annotated[str, tyro.conf.arg(metavar="tcp://HOST:PORT")] = ""
    """Where others reach it, if that is another address: behind a port forwarding, for instance."""
    keys: _Folder = None
    """Folder of keys, needed beyond this machine; DM2_KEYS in the environment unless given."""


@dataclass(frozen=True)
class ActorCommand:
    """Play for a run; needs nothing of it but the head's address."""

    connect: _Connect
    """The head's address."""
    name: Annotated[str, tyro.conf.arg(metavar="actor-NAME")] = ""
    """Name of this actor, actor- and what no other actor has: it takes the place of an earlier one
    of its name. Made of the host's name and the process id unless given."""
    folder: _Folder = None
    """Folder for this actor's books and games; a temporary one unless given."""
    scenario: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """This host's copy of the scenario, if the run plays one."""
    keys: _Folder = None
    """Folder of keys, needed beyond this machine; DM2_KEYS in the environment unless given."""


def main(command: str, words: Sequence[str]) -> int:
    """Run one role; returns the exit code.

    Args:
        command: `head`, `learner` or `actor`.
        words: its arguments.
    """
    match command:
        case "head":
            from launch import cli

            default = HeadCommand(tyro.MISSING, cli.base_of(list(words)))
            return _guarded(head, arguments.parse(HeadCommand, "dm2 head", words, default))
        case "learner":
            return _guarded(learner, arguments.parse(LearnerCommand, "dm2 learner", words))
        case _:
            return _guarded(actor, arguments.parse(ActorCommand, "dm2 actor", words))


def _guarded(role: Callable[[Chosen], int], chosen: Chosen) -> int:
    """Turn what a role can end with into one sentence and an exit code."""
    from actors.main import HeadSilentError
    from dm2_dist.checkpoint import CheckpointError
    from dm2_dist.comms.control import HeadLostError, Rejected
    from dm2_dist.comms.keys import KeysError
    from dm2_dist.comms.security import AddressError
    from dm2_dist.demonstrations import DemonstrationsError
    from dm2_dist.envs.interface import NoGameError
    from launch.host import RunFailedError

    try:
        return role(chosen)
    except (AddressError, ConfigError, log_file.LimitsError) as error:
        return _fail(str(error), 2)
    except Rejected as error:
        return _fail(f"the head refuses this process: {error}", 1)
    except (
        *(CheckpointError, DemonstrationsError, NoGameError, HeadSilentError, HeadLostError),
        *(RunDirectoryError, RunFailedError, KeysError, ArithmeticError, OSError),
    ) as error:
        return _fail(str(error), 1)


# --- the three roles ---


def head(chosen: HeadCommand) -> int:
    """Coordinate until the run is over; 130 if it was drained early."""
    from rich.console import Console

    from dm2_dist.envs import make
    from launch import addresses, body_size, head_main, host, local_run, report, roster
    from launch.head import Head
    from launch.roster import Roster
    from monitoring.progress import ProgressView

    addresses.check_listen(chosen.listen, encrypted=_use_keys(chosen.keys, "head"))
    spec = make.describe(chosen.run.env, chosen.run.map)
    config = local_run.with_demonstrations(run_directory.pin_scenario(chosen.run), spec)
    body_size.check(config, spec)
    metrics_port = host.metrics_port(chosen.metrics_port)
    root = (chosen.run_dir or run_directory.default_root(config)).absolute()
    resume = RunDirectory(root).config.exists()
    directory, lock = run_directory.acquire(root, config, resume=resume)
    host.prepare_environment()
    incarnation = time.time_ns()
    _log_to(directory.logs / "head-0.log", Origin("head-0", incarnation))
    with lock, host.interrupts() as presses, ProgressView(Console(), plain=chosen.plain) as view:
        view.event(f"run directory {root}; `dm2 top {root}` follows from another terminal")
        told = ""

        def on_turn(head: Head) -> None:
            nonlocal told
            if head.metrics_address != told:  # for `dm2 status`
                told = head.metrics_address
                view.event(
                    f"waiting for learners and actors, which --connect {head.router.address}"
                )
                view.event(f"metrics at http://{told}/metrics, targets at /sd")
                with contextlib.suppress(OSError):
                    roster.write(root, Roster(os.getpid(), told, "", {}))
            if presses.count:
                head.drain("interrupted")
            head.done = head.done or presses.count > 1
            view.update(head.report())

        head_main.coordinate(directory, chosen.listen, metrics_port, incarnation, on_turn)
        report.write_at_end(root, lambda: presses.count > 1)
        return 130 if presses.count else 0


def learner(chosen: LearnerCommand) -> int:
    """Learn until the head says stop; may be killed at any moment and started again."""
    from dm2_dist.comms import location
    from dm2_dist.envs import make
    from launch import addresses, host

    addresses.check_connect(chosen.connect, encrypted=_use_keys(chosen.keys, "learner"))
    listen = location.two_ports(chosen.listen or location.default_listen(chosen.connect))
    announce = location.two_ports(chosen.announce) if chosen.announce else ("", "")
    host.prepare_environment()  # before torch is imported
    directory = RunDirectory(chosen.run_dir.absolute())
    _await_config(directory)
    config = directory.read_config()
    seats = make.describe(config.env, config.map).num_agents
    if not 0 <= chosen.agent < seats:
        raise ConfigError(
            f"--agent is {chosen.agent}, but {config.map} has the agents 0 to {seats - 1}"
        )
    name = f"learner-{chosen.agent}"
    start = next_incarnation(directory.root / f"{name}.incarnation")
    _log_to(directory.logs / f"{name}.log", Origin(name, start))
    from learners import main as learner_main
    from learners.journal import DiskError

    place = learner_main.Place(chosen.connect, listen, announce)
    try:
        learner_main.learn(chosen.agent, place, directory, start)
    except DiskError as error:
        raise RunDirectoryError(str(error)) from error
    return 0


def actor(chosen: ActorCommand) -> int:
    """Play until the head drains the run; SIGTERM or Ctrl-C: deliver what is in hand and leave."""
    from actors import main as actor_main
    from dm2_dist.comms import messages
    from launch import actor_name, addresses, host

    name = chosen.name or actor_name.make(socket.gethostname(), os.getpid())
    actor_name.check(name)
    addresses.check_connect(chosen.connect, encrypted=_use_keys(chosen.keys, "actor"))
    if chosen.scenario is not None and not chosen.scenario.is_file():
        raise ConfigError(f"--scenario: there is no file {chosen.scenario}; check the path")
    host.prepare_environment()
    with contextlib.ExitStack() as stack:
        # What an actor leaves behind that was killed, the next one on this host removes.
        folder = chosen.folder or stack.enter_context(host.sockets_folder())
        folder.mkdir(parents=True, exist_ok=True)
        source = messages.Source(name=name, incarnation=next_incarnation(folder / name))
        _log_to(None, Origin(name, source.incarnation))
        actor_main.join(chosen.connect, source, folder.absolute(), chosen.scenario)
    return 0


def next_incarnation(path: Path) -> int:
    """Nanoseconds of this start, or one more than before if the clock has been set back.

    Args:
        path: where the newest is noted.

    Raises:
        OSError: it cannot be noted.
    """
    try:
        before = int(path.read_text())
    except (FileNotFoundError, ValueError):
        before = 0
    found = max(time.time_ns(), before + 1)
    run_directory.write_atomically(path, str(found).encode())
    return found


# --- what they share ---


def _use_keys(folder: Path | None, role: str) -> bool:
    """Let every socket of this process use the keys of its role, if there are any; whether so."""
    from dm2_dist.comms import endpoint, keys

    chosen = keys.folder_of(folder, os.environ)
    if chosen is not None:
        endpoint.use_keys(keys.load(chosen, keys.Role(role)))
    return chosen is not None


def _await_config(directory: RunDirectory) -> None:
    """Wait for the head to write the configuration; the order of starts does not matter."""
    if directory.config.exists():
        return
    if directory.root.exists() and not directory.root.is_dir():
        raise RunDirectoryError(f"{directory.root} is a file; name the folder of a run")
    wait = f"waiting {_CONFIG_SECONDS:.0f} s for the head to start a run in {directory.root}"
    print(f"dm2: {wait}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + _CONFIG_SECONDS
    while not directory.config.exists():
        if time.monotonic() > deadline:
            raise RunDirectoryError(
                f"{directory.root} holds no run after {_CONFIG_SECONDS:.0f} s; start the head with "
                "the same --run-dir, which both must share"
            )
        time.sleep(0.2)


def _log_to(path: Path | None, origin: Origin) -> None:
    """Log to a file of the run directory, or where there is none to the error stream."""
    if path is not None:
        child.log_to(path, origin)
    else:
        shown = log_file.console(sys.stderr, origin)
        logging.basicConfig(handlers=[shown], level=logging.INFO, force=True)
    _LOG.info("begin pid=%s", os.getpid())


def _fail(sentence: str, code: int) -> int:
    if any(isinstance(handler, logging.FileHandler) for handler in logging.root.handlers):
        _LOG.error("%s", sentence)
    print(f"dm2: {sentence}", file=sys.stderr)
    return code
