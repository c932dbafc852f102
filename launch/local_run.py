"""A run on this machine: head, learners and actors as children, watched until it ends.

The launcher holds the lock on the run directory, starts and restarts the children, shows the head's reports
and passes an interrupt on as an order to drain. Called by `launch.cli`.
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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

import actors.main
import learners.process
from dm2_dist import demonstrations, run_directory
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Dealer, Poller
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory
from launch import head_main
from launch.supervisor import ChildSpec, Exit, Supervisor
from monitoring.progress import ProgressView

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_DRAIN_SECONDS = 120.0
METRICS_PORT = 9400
"""Where `monitoring/prometheus.yml` looks for the head."""


class RunFailed(Exception):
    """The run could not go on; the message says why and where to look."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How, not what: nothing here changes the result of a run.

    actors: actor processes.
    run_dir: None takes a new folder under `runs/`.
    metrics_port: None takes 9400, or a free port if that is taken; 0 a free port.
    plain: plain lines even on a terminal.
    """

    actors: int
    run_dir: Path | None
    resume: bool
    metrics_port: int | None
    plain: bool


def run_local(config: RunConfig, options: LocalOptions) -> int:
    """Train; returns the exit code: 0 done, 130 interrupted after a clean drain.

    Raises:
        RunFailed, RunDirectoryError, DemonstrationsError, UnknownMapError: one clear sentence each.
    """
    spec = make.describe(config.env, config.map)
    if config.uses_demonstrations:
        sizes = (spec.num_agents, spec.observation_size, spec.num_actions)
        wanted = config.imitation.demonstration_episodes
        demonstrations.check(Path(config.demonstrations), config.map, sizes, wanted)
    root = options.run_dir or run_directory.default_root(config)
    directory, lock = run_directory.acquire(root.absolute(), config, resume=options.resume)
    metrics_port = _metrics_port(options.metrics_port)
    console = Console()
    with lock, _sockets_folder() as folder:
        _log_to(directory)
        launcher = _Launcher(config, options, directory, folder, metrics_port)
        with ProgressView(console, plain=options.plain) as view:
            view.event(f"run directory {directory.root}")
            view.event(f"metrics at http://127.0.0.1:{metrics_port}/metrics, targets at /sd")
            launcher.start(spec.num_agents)
            launcher.watch(view)
    if launcher.failure:
        raise RunFailed(launcher.failure)
    return 130 if launcher.interrupted else 0


class _Launcher:
    """The children of one run, and the conversation with its head."""

    def __init__(
        self,
        config: RunConfig,
        options: LocalOptions,
        directory: RunDirectory,
        folder: Path,
        metrics_port: int,
    ) -> None:
        self.interrupted = False
        self.failure = ""
        self._options, self._directory, self._folder = options, directory, folder
        self._metrics_port = metrics_port
        summary = directory.read_summary() or {}
        self._supervisor = Supervisor(summary.get("restarts", {}))
        self._head = Dealer(f"ipc://{folder}/head", b"launcher")
        self._poller = Poller()
        self._poller.add(self._head)
        self._report: dict[str, Any] | None = None
        self._head_done = False

    def start(self, num_agents: int) -> None:
        """Start head, learners and actors; the actors are forked from one warm process."""
        head, root = f"ipc://{self._folder}/head", self._directory.root
        _prepare_environment()
        # The learners may use CUDA, which cannot be forked; the head is as light as spawning is slow.
        forkserver = multiprocessing.get_context("forkserver")
        forkserver.set_forkserver_preload(["actors.warm"])
        spawn = multiprocessing.get_context("spawn")
        arguments = {"address": head, "root": root, "metrics_port": self._metrics_port}
        self._start("head-0", "head", spawn, head_main.run, arguments | {"name": "head-0"})
        for index in range(self._options.actors):
            name = f"actor-{index}"
            arguments = {"name": name, "head": head, "root": root}
            self._start(name, "actor", forkserver, actors.main.run, arguments)
        from torch import multiprocessing as torch_multiprocessing

        for agent in range(num_agents):
            listen = tuple(f"ipc://{self._folder}/{what}-{agent}" for what in ("t", "p"))
            arguments = {"agent": agent, "head": head, "listen": listen, "root": root}
            context = torch_multiprocessing.get_context("spawn")
            self._start(f"learner-{agent}", "learner", context, learners.process.run, arguments)

    def watch(self, view: ProgressView) -> None:
        """Show and supervise until the head has ended, then see everybody off."""
        deadline = float("inf")
        asked_at = 0.0
        with _interrupts() as presses:
            while not self._head_done and time.monotonic() < deadline:
                for ended in self._supervisor.wait(0.1):
                    self._ended(ended)
                if presses.count == 1 and not self.interrupted:
                    self.interrupted = True
                    deadline = time.monotonic() + _DRAIN_SECONDS
                    view.event("interrupted: draining; once more to stop at once")
                    self._command("drain", "interrupted")
                if presses.count > 1:
                    self.failure = "stopped at once; continue with --resume"
                    break
                if time.monotonic() - asked_at >= _POLL_SECONDS:
                    asked_at = time.monotonic()
                    self._command("fail" if self.failure else "status", self.failure)
                self._hear(view)
        self._supervisor.stop(patience=5.0)
        self._head.close()

    def _start(self, *child: Any) -> None:
        self._supervisor.start(ChildSpec(*child))

    def _ended(self, ended: Exit) -> None:
        if ended.role == "head" and ended.exit_code == 0:
            self._head_done = True
            return
        self._head.send(
            messages.Exited(
                name=ended.name, incarnation=ended.incarnation, exit_code=ended.exit_code
            )
        )
        if ended.gave_up:
            log = self._directory.logs / f"{ended.name}.log"
            self.failure = f"{ended.name} keeps failing ({_last_error(log)}); see {log}"
            if ended.role == "head":
                self._head_done = True

    def _command(self, name: str, detail: str) -> None:
        self._head.send(
            messages.Command(name=name, restarts=dict(self._supervisor.restarts), detail=detail)
        )

    def _hear(self, view: ProgressView) -> None:
        while (frames := self._head.recv()) is not None:
            message = codec.unpack(frames.header, messages.CONTROL_KINDS)
            if isinstance(message, messages.Status):
                self._report = message.report
                view.update(message.report)
                if message.report["phase"] != "run":
                    self._supervisor.end_expected()


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
    """The port to give the head; the default one gives way to a free one, an explicit one does not."""
    for port in (METRICS_PORT if wanted is None else wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if wanted is None:
                    continue
                raise RunFailed(
                    f"--metrics-port {port} cannot be used ({error.strerror}); "
                    "choose another, or 0 for any free one"
                ) from error
            return int(probe.getsockname()[1])
    raise RunFailed("no free port for the metrics on 127.0.0.1")


def _prepare_environment() -> None:
    """What children inherit: one thread per process for arithmetic, and where our packages are."""
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
