"""A run on this machine: head, learners and actors as children, watched until it ends.

The launcher holds the lock on the run directory, starts and restarts the children, shows the head's
reports and passes an interrupt on as an order to drain. Called by `launch.cli`.
"""

import logging
import multiprocessing
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import actors.main
import learners.process
from dm2_dist import checkpoint, child, demonstrations, run_directory
from dm2_dist.comms import codec, messages
from dm2_dist.comms.refusal import Refused
from dm2_dist.comms.sockets import Dealer
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.envs.starcraft import installation, orphan
from dm2_dist.envs.starcraft import site as sites
from dm2_dist.run_directory import RunDirectory
from launch import (
    body_size,
    head_main,
    host,
    machine,
    placement,
    production,
    report,
    roster,
    warm_context,
)
from launch.local_options import LocalOptions
from launch.placement import Wishes
from launch.record import conclude
from launch.roster import Roster, RosterError
from launch.status import death
from launch.supervisor import ChildSpec, Exit, Supervisor
from launch.tracking import Trackers
from launch.warm_context import WarmContext
from monitoring import exporter
from monitoring.progress import ProgressView

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_DRAIN_SECONDS = 120.0


def run_local(config: RunConfig, options: LocalOptions) -> int:
    """Train; returns the exit code: 0 done, 130 interrupted after a clean drain.

    Raises:
        RunFailedError, RunDirectoryError, DemonstrationsError, UnknownMapError, ScenarioError,
            ConfigError: one clear sentence each.
    """
    spec = make.describe(config.env, config.map)
    config = with_demonstrations(run_directory.pin_scenario(config), spec)
    host.check_device(config.device)
    # A run that is resumed keeps the tickets that it was started with.
    wishes = Wishes(options.actors, options.ticket_size_given or options.resume)
    largest = body_size.largest_ticket(config, spec, placement.LARGEST_TICKET)
    chosen = placement.choose(machine.inspect(), config, spec.num_agents, wishes, largest)
    body_size.check(config := chosen.config, spec)
    metrics_port = host.metrics_port(options.metrics_port)
    root = options.run_dir.absolute()
    directory, lock = run_directory.acquire(root, config, resume=options.resume)
    with lock, host.interrupts() as presses, host.sockets_folder() as folder:
        host.log_to(directory)
        try:
            roster.sweep(root)
        except RosterError as error:
            raise host.RunFailedError(str(error)) from error
        games = root / sites.FOLDER
        orphan.reap(games)  # of an earlier stretch of this run
        launcher = _Launcher(chosen.actors, config, directory, folder, metrics_port)
        with ProgressView(Console(), plain=options.plain, json=options.json) as view:
            view.event(f"run directory {root}; `dm2 top {root}` follows from another terminal")
            if config.env == "smac":
                played = installation.inspect(os.environ, config.map, config.games.version)
                view.event(f"every actor plays {played.summary}")
            chosen.tell(view.event)
            view.event(
                f"metrics at http://{exporter.announced(metrics_port)}/metrics, targets at /sd"
            )
            trackers = Trackers(root, options.trackers, view.event)
            try:
                launcher.run(view, spec.num_agents, presses)
            finally:
                launcher.close()  # whatever happened, no child outlives the run
                orphan.reap(games)  # nor does a game of a child that was killed
                for agent in range(spec.num_agents):
                    checkpoint.tidy(directory.checkpoints(agent))  # nor a draft of one
                trackers.close(lambda: presses.count > 1)
        conclude(directory, config, spec.num_agents, launcher.restarts, told=launcher.head_done)
        report.write_at_end(root, lambda: presses.count > 1)
    if launcher.failure:
        raise host.RunFailedError(launcher.failure)
    return 130 if launcher.interrupted else 0


def with_demonstrations(config: RunConfig, spec: EnvironmentSpec) -> RunConfig:
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


class _Launcher:
    """The children of one run, and the conversation with its head.

    interrupted: somebody wants the run to end early.
    failure: why the run cannot go on; empty while it can.
    head_done: the head has written the summary and left.
    """

    def __init__(
        self,
        num_actors: int,
        config: RunConfig,
        directory: RunDirectory,
        folder: Path,
        metrics_port: int,
    ) -> None:
        self.interrupted = False
        self.failure = ""
        self.head_done = False
        self._num_actors, self._config, self._folder = num_actors, config, folder
        self._directory = directory
        self._metrics_port = metrics_port
        self._supervisor = Supervisor((directory.read_summary() or {}).get("restarts", {}))
        self._address = f"ipc://{folder}/head"
        self._head = Dealer(self._address, b"launcher")
        self._ending = False
        self._report: dict[str, Any] = {}  # the head's newest
        self._listed: dict[str, int] = {}
        self._last_words: set[str] = set()  # said at the end, hence not also as events

    @property
    def restarts(self) -> dict[str, int]:
        """Restarts of this run so far, by role."""
        return dict(self._supervisor.restarts)

    def run(self, view: ProgressView, num_agents: int, presses: host.Presses) -> None:
        """Start everybody, then show and supervise until the head has ended."""
        deadline, asked_at = float("inf"), 0.0
        self._start_children(num_agents)
        self._list_processes()
        while not self._over and time.monotonic() < deadline and presses.count < 2:
            for ended in self._supervisor.wait(0.1):
                self._ended(ended, view)
            self._list_processes()
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
        self._list_processes()
        self._head.close()

    def _list_processes(self) -> None:
        """Keep the roster up to date, for whoever resumes after this launcher was killed."""
        processes = self._supervisor.pids()
        if processes == self._listed:
            return
        self._listed, metrics = processes, exporter.announced(self._metrics_port)
        listed = Roster(os.getpid(), metrics, str(self._folder), processes)
        try:
            roster.write(self._directory.root, listed)
        except OSError as error:  # the run goes on; who resumes it may have to wait for stragglers
            _LOG.warning("roster not written: %s", child.explain(error))

    def _start_children(self, num_agents: int) -> None:
        """Start head, actors and learners; the actors are forked from one warm process."""
        host.prepare_environment()
        root, on_cpu = self._directory.root, self._config.device == "cpu"
        if on_cpu:
            warm_context.begin()
        spawn = multiprocessing.get_context("spawn")
        arguments: dict[str, Any] = {"name": "head-0", "address": self._address, "root": root}
        arguments["metrics_port"] = self._metrics_port
        spec = ChildSpec(
            "head-0", "head", spawn, head_main.run, arguments, progress=self._progress_of_run
        )
        self._supervisor.start(spec)
        forkserver = multiprocessing.get_context("forkserver")
        forkserver.set_forkserver_preload(["actors.warm"])
        for index in range(self._num_actors):
            name = f"actor-{index}"
            arguments = {"name": name, "head": self._address, "root": root}
            produced = partial(production.produced, self._directory, name)
            spec = ChildSpec(
                name, "actor", forkserver, actors.main.run, arguments, progress=produced
            )
            self._supervisor.start(spec)
        # CUDA does not survive a fork.
        context = WarmContext() if on_cpu else spawn
        for agent in range(num_agents):
            listen = tuple(f"ipc://{self._folder}/{what}-{agent}" for what in ("t", "p"))
            arguments = {"agent": agent, "head": self._address, "listen": listen, "root": root}
            name, target = f"learner-{agent}", learners.process.run
            progress = partial(self._version_of, agent)
            spec = ChildSpec(name, "learner", context, target, arguments, progress=progress)
            self._supervisor.start(spec)

    def _progress_of_run(self) -> int:
        """What a head is there for: iterations and evaluations, as far as it has said."""
        return int(self._report.get("iterations", 0)) + len(self._report.get("evaluations", ()))

    def _version_of(self, agent: int) -> int:
        """The newest version of a learner, as far as the head has said."""
        rows = self._report.get("learners", ())
        return max((int(row["version"]) for row in rows if row["agent"] == agent), default=0)

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
        what = "cannot go on" if ended.exit_code == child.HOPELESS else "keeps failing"
        reason = f"{ended.name} {what} ({host.last_error(log)}); see {log}"
        if ended.role == "actor" and self._supervisor.alive("actor"):
            view.event(f"{reason}; going on without it")
        else:
            self.failure = reason
            self._last_words |= {reason, death(ended.name, ended.exit_code, log.parent)}

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
            try:
                message = codec.unpack(frames.header, messages.CONTROL_KINDS)
            except Refused as refusal:
                _LOG.warning("refused from=head reason=%s", refusal)
                continue
            if isinstance(message, messages.Status):
                self._report = message.report
                told = [t for t in message.report["events"] if t not in self._last_words]
                view.update({**message.report, "events": told})
                if message.report["phase"] != "run":
                    self._ending = True
                    self._supervisor.end_expected("actor", "learner")
