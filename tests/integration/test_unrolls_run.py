"""Whole runs on unrolls of fixed length: real processes, every algorithm, and what is refused."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENTS, LENGTH, PER_TICKET, MAX_LAG, ENV_STEPS = 2, 4, 4, 2, 1280
SHORTEST_BATTLE = 17
"""Nobody can win or lose 2m_vs_1z before this step: they meet first."""
UNROLLS = [
    *("--schedule", "async", "--asynchrony.unit", "unrolls"),
    *("--asynchrony.unroll-length", str(LENGTH), "--asynchrony.max-lag", str(MAX_LAG)),
]
SMALL = [
    *("--map", "2m_vs_1z", "--seed", "3", "--actors", "2", "--plain", "--metrics-port", "0"),
    *("--collection.episodes-per-ticket", str(PER_TICKET), "--max-env-steps", str(ENV_STEPS)),
    *("--evaluation.interval-env-steps", "500", "--evaluation.episodes", "4"),
    *("--network.hidden-size", "16", "--ppo.epochs", "2"),
    *("--imitation.demonstration-episodes", "16", "--imitation.steps", "3"),
]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def dm2(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "launch.cli", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told_by(*words: object) -> str:
    done = dm2(*words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Run(NamedTuple):
    """A run that has ended, with `batch` unrolls per iteration."""

    folder: Path
    batch: int

    @property
    def iterations(self) -> int:
        return ENV_STEPS // (self.batch * LENGTH)

    @property
    def metrics(self) -> list[dict]:
        return lines(self.folder / "metrics.jsonl")


def train(folder: Path, batch: int, *words: object) -> Run:
    sizes = ("--collection.episodes-per-iteration", batch, "--imitation.episodes-per-step", 16)
    told_by("local", "--run-dir", folder, *SMALL, *UNROLLS, *sizes, *words)
    return Run(folder, batch)


@pytest.fixture(scope="module")
def ippo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "ippo", 16)


@pytest.fixture(scope="module")
def impala(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "impala", 16, "--algorithm", "impala")


@pytest.fixture(scope="module")
def imitating(ippo: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    told_by("record", ippo.folder, "--episodes", "16", "--output", folder / "demonstrations")
    words = ("--algorithm", "dm2", "--demonstrations", folder / "demonstrations")
    return train(folder / "dm2", 16, *words)


@pytest.mark.parametrize("algorithm", ["ippo", "impala", "imitating"])
def test_a_run_on_unrolls_trains_every_piece_once(
    algorithm: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(algorithm)
    summary = json.loads((run.folder / "summary.json").read_text())
    ledger = summary["ledger"]
    assert summary["finished"]
    assert (summary["iterations"], summary["env_steps"]) == (run.iterations, ENV_STEPS)
    assert ledger["trained"] == run.iterations * run.batch // PER_TICKET * AGENTS
    # Pieces beyond the end may have been played, and two actors may have shared a ticket.
    assert set(ledger["dropped"]) <= {"shutdown", "duplicate"}
    assert ledger["lost"] == {}
    assert ledger["produced"] == ledger["trained"] + sum(ledger["dropped"].values())
    assert (ledger["error"], summary["restarts"]) == (0, {"actor": 0, "learner": 0})

    told = sorted((line["agent"], line["version"]) for line in run.metrics)
    assert told == [(k, i) for k in range(AGENTS) for i in range(1, run.iterations + 1)]
    for line in run.metrics:
        assert line["env_steps"] == line["version"] * run.batch * LENGTH
        for whose in ("lag", "peer_lag"):
            assert 0 <= line[f"{whose}_mean"] <= line[f"{whose}_max"] <= MAX_LAG
        assert 0 < line["effective_sample_size"] <= 1.0001
        assert line["skipped_steps"] == 0


@pytest.mark.parametrize("algorithm", ["ippo", "impala"])
def test_only_battles_that_ended_have_a_result(
    algorithm: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(algorithm)
    # No battle is that long after one iteration, even if a single actor played all of it.
    assert run.batch // PER_TICKET * LENGTH < SHORTEST_BATTLE
    assert not any("train_win_rate" in line for line in run.metrics if line["version"] == 1)
    ended = [line for line in run.metrics if "train_win_rate" in line]
    assert ended
    assert all(0 <= line["train_win_rate"] <= 1 for line in ended)
    assert all(0 <= line["train_return_mean"] <= 20.001 for line in ended)


def test_a_discriminator_learns_from_pieces(imitating: Run) -> None:
    told = imitating.metrics
    for line in told:
        for name in ("discriminator_loss", "discriminator_accuracy", "imitation_reward_mean"):
            assert math.isfinite(line[name])
    losses = {(line["agent"], line["discriminator_loss"]) for line in told}
    assert len(losses) == len(told) >= AGENTS
    # Against 4 rows of a piece, an episode of the demonstrator lives for 17 or more. Pieces that
    # were taken for episodes would show that difference in every iteration.
    per_piece = math.log(SHORTEST_BATTLE / LENGTH)
    ratios = [line["living_time_log_ratio"] for line in told if line["version"] > 1]
    assert min(ratios) < per_piece / 2


def test_evaluations_are_whole_battles(ippo: Run) -> None:
    found = lines(ippo.folder / "evaluations.jsonl")
    assert [each["env_steps"] for each in found] == [512, 1024, ENV_STEPS]
    for each in found:
        assert each["episodes"] == 4
        assert each["length_mean"] >= SHORTEST_BATTLE


def test_the_run_can_be_looked_at_and_played_with(ippo: Run, tmp_path: Path) -> None:
    told = told_by("status", ippo.folder)
    assert "2m_vs_1z · ippo · async" in told
    assert f"iteration {ippo.iterations} · lag ≤ {MAX_LAG}" in told
    page = tmp_path / "report.html"
    told_by("report", ippo.folder, "--output", page)
    assert f"{ENV_STEPS:,}" in page.read_text()
    assert "4 greedy episodes" in told_by("evaluate", ippo.folder, "--episodes", "4")


def test_a_length_of_zero_is_refused_in_one_sentence(tmp_path: Path) -> None:
    words = ("--schedule", "async", "--asynchrony.unit", "unrolls")
    done = dm2("local", "--run-dir", tmp_path / "run", *words, "--asynchrony.unroll-length", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "dm2: asynchrony.unroll_length is 0; it must be at least 1\n"
