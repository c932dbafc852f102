"""Whole runs on a real file system that is full, out of inodes, read-only or gone.

The run directory is a small tmpfs in a mount namespace of its own, which ends with its processes.
Where namespaces are not allowed these tests are skipped; the same errors are injected one by one in
`tests/unit/learners/test_commit_crashes.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "8", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "4", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "1000"),
    *("--ppo.epochs", "5", "--schedule", "pipelined"),
]
UNSHARE = ["unshare", "--mount", "--map-root-user", "--propagation", "private"]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


def allowed() -> bool:
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_namespace = pytest.mark.skipif(not allowed(), reason="no mount namespaces here")


class Run:
    """A run on a file system of its own, reached from outside through its launcher."""

    def __init__(self, folder: Path, options: str, *words: str, before: str = "true") -> None:
        folder.mkdir(exist_ok=True)
        self.output = folder.with_suffix(".out")
        command = [sys.executable, "launch/local.py", "--run-dir", str(folder / "run")]
        script = 'mount -t tmpfs -o "$1" none "$2" && (cd "$2"; eval "$3"); shift 3 && exec "$@"'
        setup = ["sh", "-c", script, "sh", options, str(folder), before]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*UNSHARE, *setup, *command, *SMALL, *words],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.folder = Path(f"/proc/{self.process.pid}/root{folder}")

    @property
    def said(self) -> str:
        return self.output.read_text()

    def inside(self, *command: str) -> None:
        """Run a command in the namespace of the run."""
        pid = str(self.process.pid)
        enter = ["nsenter", "--target", pid, "--user", "--mount", "--preserve-credentials"]
        subprocess.run([*enter, *command], check=True, capture_output=True)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.said[-3000:]
            assert time.monotonic() < deadline, self.said[-3000:]
            time.sleep(0.02)

    def versions(self, agent: int = 0) -> list[str]:
        checkpoints = self.folder / f"run/checkpoints/agent_{agent}"
        return sorted(path.name for path in checkpoints.glob("commit-*"))

    def fill(self) -> None:
        """Leave not one byte."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def keep_alive(self) -> dict:
        """Wait for the end while the files can still be reached."""
        summary = self.folder / "run/summary.json"
        self.until(summary.exists)
        found = json.loads(summary.read_text())
        self.process.wait(timeout=60)
        return found


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(name: str, *words: str, before: str = "true") -> Run:
        runs.append(Run(tmp_path / name, *words, before=before))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


@needs_namespace
@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_changes_nothing(launch: Callable[..., Run]) -> None:
    words = ("--max-env-steps", "3000")
    undisturbed = launch("undisturbed", "size=64m", *words).keep_alive()
    run = launch("full", "size=64m", *words)
    run.until(lambda: len(run.versions()) >= 2)
    run.fill()
    run.until(lambda: "degraded, waiting: " in run.said and "No space left" in run.said)
    (run.folder / "ballast").unlink()
    summary = run.keep_alive()
    assert run.process.returncode == 0, run.said[-3000:]
    assert "takes commits again" in run.said
    assert "Traceback" not in run.said
    assert summary["parameters_sha256"] == undisturbed["parameters_sha256"]
    assert summary["restarts"]["learner"] == 0
    ledger = summary["ledger"]
    assert ledger["error"] == 0
    assert ledger["produced"] == ledger["trained"] + sum(ledger["dropped"].values())


@needs_namespace
@pytest.mark.slow
def test_a_folder_that_becomes_read_only_ends_the_run_in_one_sentence(
    launch: Callable[..., Run],
) -> None:
    run = launch("readonly", "size=64m", "--max-env-steps", "10000000")
    run.until(lambda: len(run.versions()) >= 2)
    checkpoints = str(run.folder / "run/checkpoints/agent_1").partition("/root")[2]
    run.inside("mount", "-t", "tmpfs", "-o", "ro", "none", checkpoints)
    assert run.process.wait(timeout=60) == 1, run.said[-3000:]
    assert "learner-1 cannot go on" in run.said
    assert "Read-only file system; mount it writable" in run.said
    assert "Traceback" not in run.said


@needs_namespace
@pytest.mark.slow
def test_a_run_directory_that_vanishes_ends_the_run_in_one_sentence(
    launch: Callable[..., Run],
) -> None:
    run = launch("gone", "size=64m", "--max-env-steps", "10000000")
    run.until(lambda: len(run.versions()) >= 2)
    run.inside("mv", *(str(run.folder / name).partition("/root")[2] for name in ("run", "away")))
    assert run.process.wait(timeout=60) == 1, run.said[-3000:]
    assert "No such file or directory; bring the run directory back" in run.said
    assert "Traceback" not in run.said


@needs_namespace
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("size=64m,nr_inodes=6", "No inodes left on device; delete some files"),
        ("size=8k", "No space left on device; free some space"),
        ("size=64m,ro", "cannot be written (Read-only file system)"),
    ],
)
def test_a_run_that_cannot_begin_says_why(
    launch: Callable[..., Run], options: str, sentence: str
) -> None:
    run = launch("none", options, "--max-env-steps", "1000", before="head -c 99999 /dev/zero > x")
    assert run.process.wait(timeout=60) == 1, run.said[-3000:]
    assert sentence in run.said
    assert "Traceback" not in run.said
