"""The learner process: wires the networks, the journal and the sockets of one agent together."""

import os
from pathlib import Path

import safetensors.torch
import torch

from dm2_dist import checkpoint, child, demonstrations
from dm2_dist import ticket as tickets
from dm2_dist.checkpoint import CheckpointError
from dm2_dist.comms import messages
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.sockets import close_context
from dm2_dist.config import RunConfig
from dm2_dist.demonstrations import DemonstrationsError
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory
from learners import loop
from learners.independent import IndependentLearner, NonFiniteError
from learners.intake import Intake
from learners.journal import STATE_FILE, Journal
from learners.publisher import Versions
from monitoring.exporter import Exporter
from monitoring.metrics import LearnerMetrics

_EXTRA_VERSIONS = 2
"""Versions kept beyond what restarted peers ask for, so that a damaged commit can be repaired."""


def run(agent: int, head: str, listen: tuple[str, str], root: Path, incarnation: int) -> None:
    """Learn until the head says stop.

    Args:
        agent: k, the seat this learner trains.
        head: the head's address.
        listen: addresses for trajectories and for parameters.
        root: the run directory.
        incarnation: fencing token of this start.
    """
    directory = RunDirectory(root)
    logger = child.begin(f"learner-{agent}", directory.logs)
    try:
        config = directory.read_config()
        torch.set_num_threads(config.learner_threads)
        torch.use_deterministic_algorithms(True)
        _run(config, agent, head, listen, directory, incarnation)
    except (CheckpointError, DemonstrationsError, NonFiniteError) as error:
        logger.error("%s", error)
        raise SystemExit(child.HOPELESS) from None
    except BaseException:
        logger.exception("learner failed")
        raise SystemExit(1) from None


def _run(
    config: RunConfig,
    agent: int,
    head: str,
    listen: tuple[str, str],
    directory: RunDirectory,
    incarnation: int,
) -> None:
    spec = make.describe(config.env, config.map)
    demonstrated = None
    if config.uses_demonstrations:
        demonstrated = demonstrations.read_agent(
            Path(config.demonstrations), agent, config.imitation.demonstration_episodes
        )
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
            trajectory_address=intake.addresses[0],
            parameter_address=intake.addresses[1],
        )

    source = messages.Source(name=f"learner-{agent}", incarnation=incarnation)
    link, run_id = HeadLink(head, source, hello), directory.root.name
    intake = Intake(config, spec, run_id, journal, link, listen, metrics)
    if journal.newest is None:
        intake.outbox.post(loop.outcome(learner, 0, 0, {}))
    else:
        metrics.resumed(journal.version)
    env_steps = journal.newest.env_steps if journal.newest is not None else 0
    intake.start()
    loop.train(learner, intake, env_steps)
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
    retained = 2 * tickets.lag_of(config.schedule) + 2 + _EXTRA_VERSIONS
    journal = Journal(folder, Versions(agent, folder, retained))
    commit = checkpoint.load_newest(folder)
    if commit is not None:
        learner.load(safetensors.torch.load(commit.files[STATE_FILE]))
        journal.restore(commit)
    return journal


def device_of(config: RunConfig, agent: int) -> torch.device:
    """The device that learner k computes on: GPUs are dealt out in turn."""
    if config.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", agent % torch.cuda.device_count())
