"""Runs on unrolls of fixed length whose processes are killed: the books close, the lag holds."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENTS, LENGTH, PER_ITERATION, MAX_LAG = 2, 10, 8, 2
UNROLLS = [
    *("--map", "2m_vs_1z", "--seed", "9", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--schedule", "async", "--asynchrony.unit", "unrolls"),
    *("--asynchrony.unroll-length", str(LENGTH), "--asynchrony.max-lag", str(MAX_LAG)),
    *("--collection.episodes-per-iteration", str(PER_ITERATION)),
    *("--imitation.episodes-per-step", "8", "--network.hidden-size", "16"),
    *("--evaluation.interval-env-steps", "1000000", "--evaluation.episodes", "1"),
]
SLOW_ACTORS = ["--env", "sleep", "--ppo.epochs", "2"]
"""10 ms per step: an actor is all but always in the middle of an unroll."""
SLOW_LEARNERS = ["--collection.episodes-per-ticket", "2", "--ppo.epochs", "100"]
"""A learner is all but always in the middle of an update."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


class Run:
    """One launched run; only its own processes are ever signalled."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.output = folder, folder.with_suffix(".out")
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "launch/local.py", "--run-dir", str(folder), *UNROLLS, *words],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> int:
        return self.process.wait(timeout=200)

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def version(self) -> int:
        """Iterations committed so far by the slowest learner."""
        found = [
            re.findall(r"committed version=(\d+)", self.log(f"learner-{k}")) for k in range(AGENTS)
        ]
        return min(int(versions[-1]) if versions else 0 for versions in found)

    def kill(self, name: str) -> None:
        pid = re.findall(rf"started name={name} pid=(\d+)", self.log("launcher"))[-1]
        os.kill(int(pid), signal.SIGKILL)

    def until(self, version: int) -> None:
        deadline = time.monotonic() + 120
        while self.version() < version:
            assert self.process.poll() is None, self.output.read_text()[-2000:]
            assert time.monotonic() < deadline, self.output.read_text()[-2000:]
            time.sleep(0.02)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*words: str) -> Run:
        runs.append(Run(tmp_path / "run", *words))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()


def check(run: Run, iterations: int, per_ticket: int) -> None:
    """The run came to its end, each ticket was trained once by each agent, none was too old."""
    assert run.wait() == 0, run.output.read_text()[-2000:]
    summary = run.summary
    ledger = summary["ledger"]
    assert summary["finished"]
    assert (summary["iterations"], ledger["error"]) == (iterations, 0)
    assert summary["env_steps"] == iterations * PER_ITERATION * LENGTH
    assert ledger["trained"] == iterations * PER_ITERATION // per_ticket * AGENTS
    assert set(ledger["dropped"]) <= {"shutdown", "duplicate"}
    assert set(ledger["lost"]) <= {"actor_died"}
    others = sum(ledger["dropped"].values()) + sum(ledger["lost"].values())
    assert ledger["produced"] == ledger["trained"] + others
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["version"] == iterations
    places = [(line["agent"], line["version"]) for line in lines]
    assert len(set(places)) == len(places)
    for line in lines:
        assert line["env_steps"] == line["version"] * PER_ITERATION * LENGTH
        assert max(line["lag_max"], line["peer_lag_max"]) <= MAX_LAG


def test_actors_die_in_the_middle_of_an_unroll(launch: Callable[..., Run]) -> None:
    iterations = 12
    run = launch(*SLOW_ACTORS, "--max-env-steps", str(iterations * PER_ITERATION * LENGTH))
    for version, name in ((2, "actor-0"), (4, "actor-1"), (6, "actor-0")):
        run.until(version)
        run.kill(name)
    check(run, iterations, per_ticket=1)
    assert run.summary["restarts"] == {"actor": 3, "learner": 0}


def test_everybody_else_dies_and_then_all_of_the_run(launch: Callable[..., Run]) -> None:
    iterations = 16
    words = (*SLOW_LEARNERS, "--max-env-steps", str(iterations * PER_ITERATION * LENGTH))
    run = launch(*words)
    for version, name in ((2, "learner-1"), (4, "head-0"), (6, "learner-0")):
        run.until(version)
        run.kill(name)
    run.until(8)
    assert run.log("launcher").count("exit_code=-9") == 3
    run.process.kill()
    run.process.wait()
    resumed = launch(*words, "--resume")
    check(resumed, iterations, per_ticket=2)
    share = resumed.summary["time_share"]["learner"]
    assert share["ppo"] > 0.5, "a learner was mostly not in the middle of an update"
