"""The learner process: wires the networks, the journal and the sockets of one agent together."""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import filelock
import safetensors.torch
import torch

from dm2_dist import checkpoint, child, demonstrations
from dm2_dist.checkpoint import CheckpointError
from dm2_dist.comms import location, messages
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.sockets import close_context
from dm2_dist.config import RunConfig
from dm2_dist.demonstrations import DemonstrationsError
from dm2_dist.envs import make
from dm2_dist.functional import preparation
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from learners import loop
from learners.finiteness import NonFiniteError
from learners.independent import IndependentLearner
from learners.intake import Intake
from learners.journal import STATE_FILE, DiskError, Journal
from learners.post_mortem import PostMortems
from learners.publisher import Versions
from monitoring.exporter import Exporter
from monitoring.metrics import LearnerMetrics

_LOG = logging.getLogger(__name__)
_SEAT_SECONDS = 10.0
_EXTRA_VERSIONS = 2
"""Versions kept beyond what restarted peers ask for, so that a damaged commit can be repaired."""

_HOPELESS = (CheckpointError, DemonstrationsError, DiskError, NonFiniteError, RunDirectoryError)
"""What a restart would only meet again; each message is one clear sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a learner is.

    head: the head's address.
    listen: addresses for trajectories and for parameters.
    announce: what others are told instead, see `location.announced`; "" for what is listened on.
    """

    head: str
    listen: tuple[str, str]
    announce: tuple[str, str] = ("", "")


def run(agent: int, head: str, listen: tuple[str, str], root: Path, incarnation: int) -> None:
    """Learn as a child of the launcher, until the head says stop.

    Args:
        agent: k, the seat this learner trains.
        head: the head's address.
        listen: addresses for trajectories and for parameters.
        root: the run directory.
        incarnation: fencing token of this start.
    """
    directory = RunDirectory(root)
    logger = child.begin(f"learner-{agent}", directory.logs, incarnation)
    try:
        learn(agent, Place(head, listen), directory, incarnation)
    except _HOPELESS as error:
        logger.error("%s", error)
        if isinstance(error, DiskError):
            child.tell(str(error))  # the log is on the same disk
        raise SystemExit(child.HOPELESS) from None
    except BaseException as error:
        logger.exception("learner failed")
        if out_of_memory(error):
            logger.error(
                "agent %s is out of memory (%s); lower collection.episodes_per_iteration, raise "
                "ppo.minibatches, or give the process more memory",
                agent,
                " ".join(str(error).split())[:200] or "no allocation is possible",
            )
        raise SystemExit(1) from None


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: Python's, NumPy's, torch's or safetensors'."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in ("DefaultCPUAllocator", "PyObject pointer is null"))


def learn(agent: int, place: Place, directory: RunDirectory, incarnation: int) -> None:
    """Learn until the head says stop; the seat must not be taken by another process.

    Raises:
        RunDirectoryError: there is no such run, or another learner writes this agent's checkpoints.
        CheckpointError, DemonstrationsError, DiskError, NonFiniteError: one clear sentence each.
        Rejected: the head refuses this learner.
        AddressError: an address cannot be used.
    """
    config = directory.read_config()
    torch.set_num_threads(config.learner_threads)
    torch.set_deterministic_debug_mode("error")
    with _seat(directory, agent):
        _run(config, agent, place, directory, incarnation)


def _seat(directory: RunDirectory, agent: int) -> AbstractContextManager[object]:
    """Take agent k's checkpoints for this process; a killed predecessor no longer has them."""
    path = directory.root / f"learner-{agent}.lock"
    try:
        return filelock.FileLock(path, timeout=_SEAT_SECONDS).acquire()
    except filelock.Timeout:
        raise RunDirectoryError(
            f"another learner of agent {agent} is at work in {directory.root}; stop it first"
        ) from None


def _run(
    config: RunConfig, agent: int, place: Place, directory: RunDirectory, incarnation: int
) -> None:
    spec = make.describe(config.env, config.map)
    demonstrated = None
    if config.uses_demonstrations:
        demonstrated = demonstrations.read_agent(
            Path(config.demonstrations), agent, config.imitation.demonstration_episodes
        )
    if config.device == "cpu":
        preparation.compile_kernels()
    learner = IndependentLearner(config, spec, agent, device_of(config, agent), demonstrated)
    journal = _open_journal(config, agent, directory, learner)
    metrics = LearnerMetrics(directory.root.name, agent)
    exporter = Exporter(metrics.registry)

    def hello(source: messages.Source) -> messages.Hello:
        return messages.Hello(
            protocol=messages.PROTOCOL,
            source=source,
            role="learner",
            pid=os.getpid(),
            metrics_address=exporter.address,
            trajectory_address=trajectories,
            parameter_address=parameters,
        )

    source = messages.Source(name=f"learner-{agent}", incarnation=incarnation)
    link, run_id = HeadLink(place.head, source, hello), directory.root.name
    intake = Intake(config, spec, run_id, journal, link, place.listen, metrics)
    trajectories, parameters = map(location.announced, intake.addresses, place.announce)
    _LOG.info("listening trajectories=%s parameters=%s", *intake.addresses)
    newest = journal.newest
    if newest is None:
        newest = loop.outcome(learner, 0, 0, {})
        intake.outbox.post(newest)
    else:
        metrics.resumed(newest.version)
    intake.start()
    post_mortems = PostMortems(directory.root / "post_mortem", agent)
    loop.train(learner, intake, newest, post_mortems, metrics.nonfinite)
    intake.join()
    close_context()
    exporter.close()
    if intake.failure is not None:
        raise intake.failure


def _open_journal(
    config: RunConfig, agent: int, directory: RunDirectory, learner: IndependentLearner
) -> Journal:
    """Start is recovery: go on from the newest commit, if there is one."""
    folder = directory.checkpoints(agent)
    retained = 2 * config.max_lag + 2 + _EXTRA_VERSIONS
    journal = Journal(folder, Versions(agent, folder, retained))
    journal.degraded = _tell_changes()
    commit = checkpoint.load_newest(folder)
    if commit is not None:
        try:
            learner.load(safetensors.torch.load(commit.files[STATE_FILE]))
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}; start a new run") from error
        journal.restore(commit)
    return journal


def _tell_changes() -> Callable[[str], None]:
    """Say on the terminal when a disk is full and when it is not; the log is on that disk."""
    full = False

    def degraded(reason: str) -> None:
        nonlocal full
        if bool(reason) != full:
            full = bool(reason)
            child.tell(f"degraded, waiting: {reason}" if full else "the disk takes commits again")

    return degraded


def device_of(config: RunConfig, agent: int) -> torch.device:
    """The device that learner k computes on: GPUs are dealt out in turn."""
    if config.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", agent % torch.cuda.device_count())
