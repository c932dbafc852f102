"""`dm2 status` and `dm2 top`: how a run goes or went, from its directory or its head's address.

A run directory tells where the head's metrics are (`launch.roster`); whether the run is still on is
found out by asking there. What is over is shown from the files (`launch.past_run`). Called by
`launch.cli`.
"""

import http.client
import json
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from dm2_dist.run_directory import RunDirectory
from launch import arguments, past_run, roster
from monitoring import progress
from monitoring.progress import ProgressView

_ASK_SECONDS = 5.0
"""For one answer of the head."""
_AGAIN_SECONDS = 5.0
_RESTART_SECONDS = 15.0
"""A head whose launcher lives is back by then, also on a busy machine."""
_PAUSE_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_ANSWER_BYTES = 16_000_000
_ADDRESS = re.compile(r"(?:http://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})(?:/.*)?")
_FIELDS = {
    *("run_directory", "map", "algorithm", "schedule", "preset", "seed", "state", "wall_seconds"),
    *("env_steps", "max_env_steps", "env_steps_per_second", "seconds_left", "iterations", "lag"),
    *("win_rate", "win_rate_best", "return_mean", "demonstrators", "evaluations", "actors"),
    *("learners", "ledger", "restarts", "silent", "events"),
}

_Run = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|HOST:PORT")]


class WatchError(Exception):
    """There is nothing to be shown; the message says why and what to do."""


class _SilentError(Exception):
    """Nobody answers; the message says what happened instead."""


@dataclass(frozen=True)
class StatusCommand:
    """Print how a run goes, or what it came to."""

    run: _Run
    """The run directory; or host and port of the head's metrics, such as 127.0.0.1:9400."""
    plain: bool = False
    """Plain lines instead of the panel."""
    json: bool = False
    """One JSON object; docs/watching.md describes its fields."""


@dataclass(frozen=True)
class TopCommand:
    """Follow a run until it ends or you press Ctrl-C; the run itself goes on."""

    run: _Run
    """The run directory; or host and port of the head's metrics, such as 127.0.0.1:9400."""
    plain: bool = False
    """Plain lines instead of the live view."""
    json: bool = False
    """JSON lines instead of the live view; docs/watching.md describes their fields."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where reports of a run come from.

    address: host and port of the head's metrics, where only that is known; else None.
    directory: of the run, which tells the address; None if only the address is known.
    """

    address: tuple[str, int] | None
    directory: RunDirectory | None


def status(words: Sequence[str]) -> int:
    """`dm2 status RUN`: one report; returns the exit code.

    Raises:
        WatchError, RunDirectoryError: one clear sentence.
    """
    chosen = arguments.parse(StatusCommand, "dm2 status", words)
    report = _patiently(_source(chosen.run))
    progress.show_once(report, Console(), plain=chosen.plain, json=chosen.json)
    return 0


def top(words: Sequence[str]) -> int:
    """`dm2 top RUN`: report after report, until the run is over or Ctrl-C; returns the exit code.

    Raises:
        WatchError, RunDirectoryError: one clear sentence.
    """
    chosen = arguments.parse(TopCommand, "dm2 top", words)
    source = _source(chosen.run)
    report = _patiently(source)
    # A shell that starts a command in the background makes it deaf to Ctrl-C; here it is the end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ProgressView(Console(), plain=chosen.plain, json=chosen.json) as view:
            view.update(report)
            while report["phase"] != "over":
                time.sleep(_PAUSE_SECONDS)
                report = _patiently(source, view.event)
                view.update(report)
    except KeyboardInterrupt:
        return 0
    return 0


def _source(name: str) -> _Source:
    """A run directory if there is one of that name, else an address.

    Raises:
        WatchError: it is neither.
    """
    root = Path(name)
    if root.is_dir():
        return _Source(None, RunDirectory(root))
    if name.startswith("tcp://"):
        raise WatchError(
            f"{name} is where learners and actors connect; name the run directory, or the head's "
            "metrics, such as http://HOST:9400"
        )
    address = _address(name)
    if address is None:
        raise WatchError(
            f"{name} is neither a run directory nor an address; name a folder such as "
            "runs/NAME, or the head's metrics, such as http://127.0.0.1:9400"
        )
    return _Source(address, None)


def _address(text: str) -> tuple[str, int] | None:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[2]) >= 2**16:
        return None
    return found[1].strip("[]"), int(found[2])


def _patiently(source: _Source, tell: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The newest report; a head that does not answer is asked again while it may come back.

    Args:
        source: where to ask.
        tell: called once with a sentence if there is no answer at once.

    Raises:
        WatchError, RunDirectoryError: there is none.
    """
    patience = _AGAIN_SECONDS if source.directory is None else _RESTART_SECONDS
    deadline, told = time.monotonic() + patience, False
    while True:
        try:
            return _newest(source)
        except _SilentError as silence:
            if time.monotonic() >= deadline:
                raise WatchError(f"{silence}; {_mend(source)}") from silence
            if tell is not None and not told:
                tell(f"{silence}; asking again for {patience:.0f} s")
                told = True
            time.sleep(_RETRY_SECONDS)


def _mend(source: _Source) -> str:
    if source.directory is None:
        return "if the run is over, or its port another, name the run directory instead"
    if _told_address(source.directory) is None:
        return "name the address of its head's metrics instead, such as http://HOST:9400"
    return f"the run is not over: see {source.directory.logs / 'head-0.log'}"


def _told_address(directory: RunDirectory) -> tuple[str, int] | None:
    """What the run has written down; another one after it was resumed."""
    listed = roster.read(directory.root)
    return _address(listed.metrics) if listed is not None else None


def _newest(source: _Source) -> dict[str, Any]:
    """What the head says, or the files if nobody coordinates the run.

    Raises:
        _SilentError: there should be a head, and it does not answer.
        WatchError, RunDirectoryError: there is nothing to be shown.
    """
    directory = source.directory
    if directory is None:
        assert source.address is not None, "a source has one of the two"
        return _ask(source.address)
    try:
        address = _told_address(directory)
        if address is None:
            raise _SilentError(f"{directory.root} does not say where its metrics are")
        found = _ask(address)
        if not _same(found["run_directory"], directory.root):
            raise _SilentError(f"another run has taken the port {address[1]}")
    except (_SilentError, WatchError):
        if _in_use(directory.root):
            raise
        return past_run.report(directory)
    return found


def _same(reported: str, root: Path) -> bool:
    return Path(reported).resolve() == root.resolve()


def _in_use(root: Path) -> bool:
    """Whether a process on this machine holds the run's lock; looks, and does not touch it."""
    try:
        inode = (root / "run.lock").stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return False
    return re.search(rf"FLOCK .*:{inode} ", locks) is not None


def _ask(address: tuple[str, int]) -> dict[str, Any]:
    """The head's newest report.

    Raises:
        _SilentError: nobody answers in time.
        WatchError: whoever answers is no head of ours.
    """
    name = f"http://{address[0]}:{address[1]}"
    connection = http.client.HTTPConnection(*address, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = answer.read(_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _SilentError(f"no head answers at {name} ({what})") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise WatchError(
            f"{name} is not the head of a run: it has no /status; the head's metrics are at the "
            "address that `dm2 local` and `dm2 head` print when they start"
        )
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        report = None
    if report == {}:
        raise _SilentError(f"the head at {name} has just started")
    if not isinstance(report, dict) or not report.keys() >= _FIELDS:
        raise WatchError(
            f"{name} is not the head of a run, or one of another version of dm2-dist; "
            "use the version that runs there"
        )
    return report
