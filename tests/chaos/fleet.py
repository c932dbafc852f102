"""The roles of a run as commands of their own over TCP, started and signalled one by one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dm2_dist import log_line

ROOT = Path(__file__).resolve().parents[2]
MAP = "2m_vs_1z"
AGENTS = 2
CONFIGURATION = [
    *("--map", MAP, "--seed", "5", "--plain", "--metrics-port", "0"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "1000"),
]
PATIENCE_SECONDS = 100.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "launch.cli", *words]


def local(folder: Path, *words: str) -> dict:
    """The summary of an undisturbed run over ipc."""
    done = subprocess.run(
        command("local", "--run-dir", str(folder), "--actors", "2", *CONFIGURATION, *words),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "summary.json").read_text())


class Fleet:
    """The processes of one run; only they are ever signalled.

    common: words that every role is given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.common: tuple[str, ...] = ()
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *words: str, prefix: tuple[str, ...] = ()) -> None:
        """Start a role, or start it again; `prefix` runs it in another namespace."""
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, *command(*words, *self.common)], cwd=ROOT, stdout=log, stderr=log
            )

    def head(self, *words: str, listen: str = "tcp://127.0.0.1:0") -> None:
        run = ("--run-dir", str(self.run))
        self.start("head", "head", "--listen", listen, *run, *CONFIGURATION, *words)

    def learner(self, agent: int, head: str, *words: str) -> None:
        place = ("--connect", head, "--agent", str(agent), "--run-dir", str(self.run))
        self.start(f"learner-{agent}", "learner", *place, *words)

    def actor(self, name: str, head: str, *words: str, prefix: tuple[str, ...] = ()) -> None:
        place = ("--connect", head, "--name", name)
        self.start(name, "actor", *place, *words, prefix=prefix)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def ask(self, name: str, number: int = signal.SIGTERM) -> None:
        self.processes[name].send_signal(number)

    def wait(self, name: str) -> int:
        return self.processes[name].wait(PATIENCE_SECONDS)

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    # --- what there is to see ---

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def head_address(self) -> str | None:
        return self._newest("head-0", r"listening address=(\S+)")

    def learner_address(self, agent: int, what: str) -> str | None:
        """what: `trajectories` or `parameters`."""
        return self._newest(f"learner-{agent}", rf"listening .*{what}=(\S+)")

    def version(self) -> int:
        """Iterations committed by the slowest learner."""
        found = [self._newest(f"learner-{k}", r"committed version=(\d+)") for k in range(AGENTS)]
        return min(int(version or -1) for version in found)

    def announced(self) -> dict[str, dict]:
        """What the head wrote down of actors on other hosts, by name; the newest incarnation."""
        path = self.run / "ledger/announced.json"
        return {e["name"]: e for e in json.loads(path.read_text())} if path.exists() else {}

    @property
    def summary(self) -> dict:
        return json.loads((self.run / "summary.json").read_text())

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            ended = [name for name, process in self.processes.items() if process.poll()]
            assert not ended, f"waiting until {what}, {ended} failed\n{self.story()}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.story()}"
            time.sleep(0.02)

    def story(self) -> str:
        """The last lines of everybody, for whoever reads a failure."""
        logs = [*self.folder.glob("*.out"), *(self.run / "logs").glob("*.log")]
        return "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in sorted(logs))

    def leftovers(self) -> list[str]:
        """Processes of ours that are still there."""
        return [name for name, p in self.processes.items() if Path(f"/proc/{p.pid}").exists()]

    def _newest(self, log: str, pattern: str) -> str | None:
        path = self.run / "logs" / f"{log}.log"
        found = re.findall(pattern, log_line.text(path))
        return found[-1] if found else None


def books_close(summary: dict) -> bool:
    ledger = summary["ledger"]
    accounted = ledger["trained"] + sum(ledger["dropped"].values()) + sum(ledger["lost"].values())
    return ledger["error"] == 0 and ledger["produced"] == accounted > 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
