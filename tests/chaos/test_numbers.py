"""Whole runs whose numbers overflow, or whose memory ends."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm2_dist import checkpoint
from learners import post_mortem

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "8", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "4", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "1000", "--schedule", "pipelined"),
]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


class Run:
    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.output = folder, folder.with_suffix(".out")
        command = [sys.executable, "launch/local.py", "--run-dir", str(folder), *SMALL, *words]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def log(self, name: str) -> str:
        path = self.folder / f"logs/{name}.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


def test_a_run_whose_numbers_overflow_stops_and_keeps_the_batch(
    tmp_path: Path, runs: list[Run]
) -> None:
    words = ("--ppo.learning-rate", "1e20", "--ppo.epochs", "8", "--max-env-steps", "100000")
    run = Run(tmp_path / "run", *words)
    runs.append(run)
    assert run.process.wait(timeout=120) == 1, run.said[-3000:]
    found = re.search(
        r"agent (\d), iteration (\d+): the (policy|critic) loss or its gradient was not finite in "
        r"\d gradient steps in a row; the batch is kept in (\S+?)\)?;",
        run.said.replace("\n", " "),
    )
    assert found, run.said[-3000:]
    assert "Traceback" not in run.said
    agent, iteration = int(found[1]), int(found[2])
    state, batch, kept = post_mortem.load(Path(found[4]))
    assert kept == iteration
    assert batch.num_episodes == 8
    newest = checkpoint.load_newest(tmp_path / f"run/checkpoints/agent_{agent}")
    assert newest is not None
    assert newest.facts["version"] <= iteration
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())


@pytest.mark.slow
def test_a_learner_that_runs_out_of_memory_says_so_and_changes_nothing(
    tmp_path: Path, runs: list[Run]
) -> None:
    words = ("--ppo.epochs", "20", "--max-env-steps", "3000")
    undisturbed = Run(tmp_path / "undisturbed", *words)
    runs.append(undisturbed)
    assert undisturbed.process.wait(timeout=200) == 0, undisturbed.said[-3000:]
    run = Run(tmp_path / "poor", *words)
    runs.append(run)
    deadline = time.monotonic() + 100
    while "committed version=1" not in run.log("learner-1"):
        assert run.process.poll() is None, run.said[-3000:]
        assert time.monotonic() < deadline, run.said[-3000:]
        time.sleep(0.02)
    pid = int(re.findall(r"started name=learner-1 pid=(\d+)", run.log("launcher"))[-1])
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() - 2**26
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    assert run.process.wait(timeout=200) == 0, run.said[-3000:]
    ended = re.search(r"ended name=learner-1 exit_code=(\S+) restarting=True", run.log("launcher"))
    assert ended, run.log("launcher")
    if int(ended[1]) > 0:  # else a library that cannot do without has aborted
        assert "agent 1 is out of memory" in run.log("learner-1")
    summaries = [json.loads((r.folder / "summary.json").read_text()) for r in (undisturbed, run)]
    assert summaries[0]["parameters_sha256"] == summaries[1]["parameters_sha256"]
    assert [summary["ledger"]["error"] for summary in summaries] == [0, 0]
