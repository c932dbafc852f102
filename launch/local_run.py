"""A run on this machine: head, learners and actors as children, watched until it ends.

The launcher holds the lock on the run directory, starts and restarts the children, shows the head's
reports and passes an interrupt on as an order to drain. Called by `launch.cli`.
"""

import logging
import multiprocessing
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import actors.main
import learners.process
from dm2_dist import demonstrations, run_directory
from dm2_dist.child import HOPELESS
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Dealer
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.envs.starcraft import installation, orphan
from dm2_dist.envs.starcraft import site as sites
from dm2_dist.run_directory import RunDirectory
from launch import head_main, host
from launch.record import RunRecord
from launch.supervisor import ChildSpec, Exit, Supervisor
from monitoring.progress import ProgressView

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_DRAIN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How, not what: nothing here changes the result of a run.

    actors: actor processes.
    run_dir: folder of the run.
    metrics_port: None takes 9400, or a free port if that is taken; 0 a free port.
    plain: plain lines even on a terminal.
    """

    actors: int
    run_dir: Path
    resume: bool
    metrics_port: int | None
    plain: bool


def run_local(config: RunConfig, options: LocalOptions) -> int:
    """Train; returns the exit code: 0 done, 130 interrupted after a clean drain.

    Raises:
        RunFailedError, RunDirectoryError, DemonstrationsError, UnknownMapError, ScenarioError,
            ConfigError: one clear sentence each.
    """
    spec = make.describe(config.env, config.map)
    config = run_directory.pin_scenario(config)
    config = _with_demonstrations(config, spec)
    _check_device(config)
    metrics_port = host.metrics_port(options.metrics_port)
    root = options.run_dir.absolute()
    directory, lock = run_directory.acquire(root, config, resume=options.resume)
    console = Console()
    with lock, host.sockets_folder() as folder:
        host.log_to(directory)
        games = root / sites.FOLDER
        orphan.reap(games)  # of an earlier stretch of this run
        launcher = _Launcher(options, directory, folder, metrics_port)
        with ProgressView(console, plain=options.plain) as view:
            view.event(f"run directory {directory.root}")
            if config.env == "smac":
                played = installation.inspect(os.environ, config.map, config.games.version)
                view.event(f"every actor plays {played.summary}")
            view.event(f"metrics at http://127.0.0.1:{metrics_port}/metrics, targets at /sd")
            try:
                launcher.run(view, spec.num_agents)
            finally:
                launcher.close()  # whatever happened, no child outlives the run
                orphan.reap(games)  # nor does a game of a child that was killed
        if not launcher.head_done:
            record = RunRecord.open(directory, config)
            record.restarts = launcher.restarts
            record.write_summary(spec.num_agents)
    if launcher.failure:
        raise host.RunFailedError(launcher.failure)
    return 130 if launcher.interrupted else 0


def _with_demonstrations(config: RunConfig, spec: EnvironmentSpec) -> RunConfig:
    """Check the demonstrations and pin them: an absolute path and the digest of what is there."""
    if not config.uses_demonstrations:
        return config
    if not config.demonstrations:
        raise ConfigError(
            "algorithm dm2 needs --demonstrations DIR; record some with `dm2 record`, "
            "or choose --algorithm ippo"
        )
    folder = Path(config.demonstrations).absolute()
    sizes = (spec.num_agents, spec.observation_size, spec.num_actions)
    demonstrations.check(folder, spec.map_name, sizes, config.imitation.demonstration_episodes)
    found = demonstrations.digest(folder)
    if config.demonstrations_sha256 not in ("", found):
        raise demonstrations.DemonstrationsError(
            f"{folder} is not what the run was started with (its digest is {found[:16]}, not "
            f"{config.demonstrations_sha256[:16]}); bring the old demonstrations back"
        )
    return replace(config, demonstrations=str(folder), demonstrations_sha256=found)


def _check_device(config: RunConfig) -> None:
    if config.device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise host.RunFailedError("device is cuda but no CUDA device is there; choose --device cpu")


class _Launcher:
    """The children of one run, and the conversation with its head.

    interrupted: somebody wants the run to end early.
    failure: why the run cannot go on; empty while it can.
    head_done: the head has written the summary and left.
    """

    def __init__(
        self,
        options: LocalOptions,
        directory: RunDirectory,
        folder: Path,
        metrics_port: int,
    ) -> None:
        self.interrupted = False
        self.failure = ""
        self.head_done = False
        self._options, self._directory, self._folder = options, directory, folder
        self._metrics_port = metrics_port
        summary = directory.read_summary() or {}
        self._supervisor = Supervisor(summary.get("restarts", {}))
        self._address = f"ipc://{folder}/head"
        self._head = Dealer(self._address, b"launcher")
        self._ending = False

    @property
    def restarts(self) -> dict[str, int]:
        """Restarts of this run so far, by role."""
        return dict(self._supervisor.restarts)

    def run(self, view: ProgressView, num_agents: int) -> None:
        """Start everybody, then show and supervise until the head has ended."""
        deadline, asked_at = float("inf"), 0.0
        with host.interrupts() as presses:
            self._start_children(num_agents)
            while not self._over and time.monotonic() < deadline and presses.count < 2:
                for ended in self._supervisor.wait(0.1):
                    self._ended(ended, view)
                if presses.count and not self.interrupted:
                    self.interrupted = True
                    view.event("interrupted: draining; once more to stop at once")
                if (self.interrupted or self.failure) and deadline == float("inf"):
                    deadline, asked_at = time.monotonic() + _DRAIN_SECONDS, 0.0
                if time.monotonic() - asked_at >= _POLL_SECONDS:
                    asked_at = time.monotonic()
                    self._command()
                self._hear(view)
            self.interrupted = presses.count > 0

    @property
    def _over(self) -> bool:
        """The head has left, or cannot be kept up."""
        return self.head_done or (bool(self.failure) and not self._supervisor.alive("head"))

    def close(self) -> None:
        """See every child off: those of an orderly end are leaving, others are not waited for."""
        self._supervisor.stop(patience=10.0 if self.head_done else 0.0)
        self._head.close()

    def _start_children(self, num_agents: int) -> None:
        """Start head, actors and learners; the actors are forked from one warm process."""
        host.prepare_environment()
        root = self._directory.root
        spawn = multiprocessing.get_context("spawn")
        arguments: dict[str, Any] = {"name": "head-0", "address": self._address, "root": root}
        arguments["metrics_port"] = self._metrics_port
        self._supervisor.start(ChildSpec("head-0", "head", spawn, head_main.run, arguments))
        forkserver = multiprocessing.get_context("forkserver")
        forkserver.set_forkserver_preload(["actors.warm"])
        for index in range(self._options.actors):
            name = f"actor-{index}"
            arguments = {"name": name, "head": self._address, "root": root}
            spec = ChildSpec(name, "actor", forkserver, actors.main.run, arguments)
            self._supervisor.start(spec)
        # Learners may use CUDA, which does not survive a fork. Imported late: it takes a second.
        from torch import multiprocessing as torch_multiprocessing

        context = torch_multiprocessing.get_context("spawn")
        for agent in range(num_agents):
            listen = tuple(f"ipc://{self._folder}/{what}-{agent}" for what in ("t", "p"))
            arguments = {"agent": agent, "head": self._address, "listen": listen, "root": root}
            name, target = f"learner-{agent}", learners.process.run
            self._supervisor.start(ChildSpec(name, "learner", context, target, arguments))

    def _ended(self, ended: Exit, view: ProgressView) -> None:
        if ended.role == "head" and ended.exit_code == 0:
            self.head_done = True
            return
        self._head.send(
            messages.Exited(
                name=ended.name, incarnation=ended.incarnation, exit_code=ended.exit_code
            )
        )
        if not ended.gave_up:
            return
        log = self._directory.logs / f"{ended.name}.log"
        what = "cannot go on" if ended.exit_code == HOPELESS else "keeps failing"
        reason = f"{ended.name} {what} ({host.last_error(log)}); see {log}"
        if ended.role == "actor" and self._supervisor.alive("actor"):
            view.event(f"{reason}; going on without it")
        else:
            self.failure = reason

    def _command(self) -> None:
        """Ask for the status, and say what the head must do; said again until it has happened."""
        name, detail = "status", ""
        if self.failure:
            name, detail = "fail", self.failure
        elif self.interrupted:
            name, detail = "drain", "interrupted"
        if self._ending and not self._supervisor.alive("actor") + self._supervisor.alive("learner"):
            name = "close"
        self._head.send(messages.Command(name=name, restarts=self.restarts, detail=detail))

    def _hear(self, view: ProgressView) -> None:
        while (frames := self._head.recv()) is not None:
            message = codec.unpack(frames.header, messages.CONTROL_KINDS)
            if isinstance(message, messages.Status):
                view.update(message.report)
                if message.report["phase"] != "run":
                    self._ending = True
                    self._supervisor.end_expected("actor", "learner")
