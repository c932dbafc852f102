"""The run that chaos disturbs, as its user would see it: a launched process and its run directory.

Used by `launch.chaos_run`.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dm2_dist.run_directory import RunDirectory
from launch import roster

_SCRIPT = Path(__file__).resolve().with_name("local.py")
_HTTP_SECONDS = 0.5
_GONE_SECONDS = 10.0
_SD_BYTES = 10_000_000


class Progress:
    """How far the training is, from `metrics.jsonl`, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._env_steps: dict[int, int] = {}

    def env_steps(self) -> int:
        """Training env steps of the slowest agent, as far as written down."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return 0
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                self._env_steps[int(row["agent"])] = int(row["env_steps"])
            except (ValueError, KeyError, TypeError):  # cut by a kill of its writer
                continue
        return min(self._env_steps.values(), default=0)


class Child:
    """One run, launched and launched again; everything in the processes' own sessions.

    directory: of the run; output: what the launcher printed; launches: how often it was started.
    """

    def __init__(self, words: Sequence[str], root: Path) -> None:
        """Prepare; nothing is started.

        Args:
            words: arguments of `dm2 local`, without `--run-dir` and `--resume`.
            root: the run directory.
        """
        self.directory = RunDirectory(root)
        self.output = root.with_name(f"{root.name}.out")
        self.launches = 0
        self._words = [*words, "--run-dir", str(root)]
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()

    def start(self) -> None:
        """Launch the run, or resume it if it has begun."""
        words = [sys.executable, str(_SCRIPT), *self._words]
        if self.directory.config.exists():
            words.append("--resume")
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._process = self._launch(words, output)
        self._sessions.add(self._process.pid)
        self.launches += 1

    def poll(self) -> int | None:
        """The launcher's exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def pid_of(self, name: str) -> int | None:
        """The pid of a running role; None unless it is a process of this run."""
        if name == "launcher":
            running = self._process is not None and self._process.poll() is None
            return self._process.pid if self._process is not None and running else None
        listed = self.listed()
        pid = None if listed is None else listed.processes.get(name)
        return pid if pid is not None and _session(pid) in self._sessions else None

    def names(self, role: str) -> list[str]:
        """Names of the running processes of a role."""
        if role == "launcher":
            return ["launcher"] if self.pid_of("launcher") else []
        listed = self.listed()
        names = [] if listed is None else listed.processes
        return [name for name in names if name.rpartition("-")[0] == role and self.pid_of(name)]

    def listed(self) -> roster.Roster | None:
        """The roster of the newest launch; None before it has written one."""
        found = roster.read(self.directory.root)
        if found is None or self._process is None or found.launcher != self._process.pid:
            return None
        return found

    def kill_launcher(self) -> None:
        """Kill -9, and wait until the launcher is gone; its children notice by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def known_to_head(self) -> set[str]:
        """Names that the head lists as present; empty when it does not answer."""
        listed = self.listed()
        if listed is None:
            return set()
        url = f"http://{listed.metrics}/sd"
        try:
            with urllib.request.urlopen(url, timeout=_HTTP_SECONDS) as response:
                groups = json.loads(response.read(_SD_BYTES))
            return {str(group["labels"]["name"]) for group in groups}
        except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
            return set()

    def summary(self) -> dict[str, Any]:
        """The run's summary; empty if there is none."""
        return self.directory.read_summary() or {}

    def last_words(self) -> str:
        """The last line that the launcher printed."""
        lines = self.output.read_text(errors="replace").split("\n") if self.output.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def end(self) -> list[int]:
        """Wait until every process of the run is gone; kill what stays.

        Returns:
            The pids of those that stayed.
        """
        if self._process is not None and self._process.poll() is None:
            self.kill_launcher()
        deadline = time.monotonic() + _GONE_SECONDS
        while (left := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            _kill(pid)
        return left

    def _launch(self, words: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _alive(self) -> list[int]:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if _session(pid) in self._sessions]


def _session(pid: int) -> int | None:
    """The session of a living process; None for one that is gone, or dead and not buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[3])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
