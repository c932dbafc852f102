"""The trackers of a run on this machine: which ones, and the process that feeds them.

`--trackers` chooses; TensorBoard is the default where it is installed. The process follows the run
record on its own (`monitoring.tracker_process`) and may fail, hang or be killed: the run goes on.
"""

import contextlib
import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from dm2_dist import child
from dm2_dist.config import ConfigError
from launch import host
from monitoring.tracker import NAMES

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 20.0
_DEFAULT = "tensorboard"


def chosen(word: str | None) -> tuple[str, ...]:
    """The trackers that a word names: `tensorboard,wandb`, or `none`.

    Args:
        word: None chooses TensorBoard if it is installed.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """
    if word is None:
        return (_DEFAULT,) if _installed(_DEFAULT) else ()
    if word == "none":
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in word.split(",")))
    for name in names:
        if name not in NAMES:
            raise ConfigError(
                f"--trackers names {name!r}; choose from {', '.join(NAMES)}, several with commas, "
                "or none"
            )
        if not _installed(name):
            raise ConfigError(
                f"--trackers {name} needs the package {name}; install dm2-dist with the extra "
                f"[{name}]"
            )
    return names


def _installed(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None  # a folder of that name is no package


class Trackers:
    """The process that feeds a run's trackers.

    Args:
        root: the run directory.
        names: of the trackers; without any there is no process.
        tell: takes a sentence for the user, in another thread.
    """

    def __init__(self, root: Path, names: Sequence[str], tell: Callable[[str], None]) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._tell, self._told, self._closing = tell, False, False
        self._log = root / "logs" / "tracker.err"
        if not names:
            return
        host.prepare_environment()  # where our packages are
        command = [sys.executable, "-P", "-m", "monitoring.tracker_process", str(root), *names]
        try:
            with self._log.open("wb") as errors:
                # A session of its own: Ctrl-C is for the launcher. It ends with its input.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                )
        except OSError as error:
            tell(f"no trackers: {child.explain(error)}")
            return
        assert self._process.stdout is not None
        self._news = threading.Thread(
            target=self._pass_on, args=(self._process, self._process.stdout), daemon=True
        )
        self._news.start()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return None if self._process is None else self._process.pid

    def close(self, stopped: Callable[[], bool]) -> None:
        """Let the trackers write what is left, for a while.

        Args:
            stopped: whether somebody does not want to wait any more.
        """
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._closing = True
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        waited, code = 0.0, None
        while code is None and waited < _CLOSE_SECONDS and not stopped():
            waited += 0.1
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(0.1)
        if code is None:
            self._process.kill()
            code = self._process.wait()
        self._news.join(1.0)
        if code != 0:
            _LOG.warning("trackers_ended exit_code=%s waited_seconds=%.1f", code, waited)
            if not self._told:
                self._tell(f"the trackers' files may lack the end of the run; see {self._log}")

    def _pass_on(self, process: subprocess.Popen[str], news: IO[str]) -> None:
        """Tell what the process says, and that it has died before it was asked to end."""
        with news:
            for line in news:
                self._tell(line.strip())
        if process.wait() != 0 and not self._closing:
            self._told = True
            self._tell(f"the trackers have ended, the run goes on without; see {self._log}")
