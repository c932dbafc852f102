"""A run on this machine: head, learners and actors as children, watched until it ends.

The launcher holds the lock on the run directory, starts and restarts the children, shows the head's
reports and passes an interrupt on as an order to drain. Called by `launch.cli`.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

import actors.main
import learners.process
from dm2_dist import demonstrations, run_directory
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Dealer
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.run_directory import RunDirectory
from launch import head_main
from launch.record import RunRecord
from launch.supervisor import ChildSpec, Exit, Supervisor
from monitoring.progress import ProgressView

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_DRAIN_SECONDS = 120.0
METRICS_PORT = 9400
"""Where `monitoring/prometheus.yml` looks for the head."""


class RunFailedError(Exception):
    """The run could not go on; the message says why and where to look."""


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
        RunFailedError, RunDirectoryError, DemonstrationsError, UnknownMapError: one clear sentence
            each.
    """
    spec = make.describe(config.env, config.map)
    config = _with_demonstrations(config, spec)
    _check_device(config)
    metrics_port = _metrics_port(options.metrics_port)
    root = options.run_dir.absolute()
    directory, lock = run_directory.acquire(root, config, resume=options.resume)
    console = Console()
    with lock, _sockets_folder() as folder:
        _log_to(directory)
        launcher = _Launcher(options, directory, folder, metrics_port)
        with ProgressView(console, plain=options.plain) as view:
            view.event(f"run directory {directory.root}")
            view.event(f"metrics at http://127.0.0.1:{metrics_port}/metrics, targets at /sd")
            try:
                launcher.run(view, spec.num_agents)
            finally:
                launcher.close()  # whatever happened, no child outlives the run
        if not launcher.head_done:
            record = RunRecord.open(directory, config)
            record.restarts = launcher.restarts
            record.write_summary(spec.num_agents)
    if launcher.failure:
        raise RunFailedError(launcher.failure)
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
    demonstrations.check(folder, config.map, sizes, config.imitation.demonstration_episodes)
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
        raise RunFailedError("device is cuda but no CUDA device is there; choose --device cpu")


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
        with _interrupts() as presses:
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
        _prepare_environment()
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
        reason = f"{ended.name} keeps failing ({_last_error(log)}); see {log}"
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


@dataclass(slots=True)
class _Presses:
    count: int = 0


@contextmanager
def _interrupts() -> Iterator[_Presses]:
    """Count Ctrl-C and SIGTERM instead of dying of them."""
    presses = _Presses()

    def note(_signal: int, _frame: FrameType | None) -> None:
        presses.count += 1

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _sockets_folder() -> Iterator[Path]:
    """A short-named private folder: a socket's path may have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dm2-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _metrics_port(wanted: int | None) -> int:
    """The port for the head; the default gives way to a free one, an explicit one does not."""
    for port in (METRICS_PORT if wanted is None else wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if wanted is None:
                    continue
                raise RunFailedError(
                    f"--metrics-port {port} cannot be used ({error.strerror}); "
                    "choose another, or 0 for any free one"
                ) from error
            return int(probe.getsockname()[1])
    raise RunFailedError("no free port for the metrics on 127.0.0.1")


def _prepare_environment() -> None:
    """What children inherit: one thread per process for arithmetic, and where our packages are."""
    # CUDA's matrix products repeat bit for bit only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Large tensors are made anew in every step; kept by the allocator, their pages stay mapped.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    here = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    if here not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, known]))


def _log_to(directory: RunDirectory) -> None:
    logging.basicConfig(
        filename=directory.logs / "launcher.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )


def _last_error(log: Path) -> str:
    """The last line of a child's log: the exception it died of."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"no log at {log}"
