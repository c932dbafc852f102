"""`dm2 bench` prints what it measured beside its limit."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.integration


def bench(*words: str) -> list[dict]:
    return figures(*words)["rows"]


def figures(*words: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", "bench", *words, "--json", "--seconds", "0.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_simulator_is_measured_on_one_core_and_on_all() -> None:
    found = figures("simulator", "--maps", "3m,8m", "--num-envs", "4", "--no-parts")
    cores = sorted({1, found["machine"]["cores"]})
    plays = ("random", "heuristic")
    expected = [(n, name, play) for n in cores for name in ("3m", "8m") for play in plays]
    speeds = found["speeds"]
    assert [(row["cores"], row["map_name"], row["play"]) for row in speeds] == expected
    for row in speeds:
        assert 0 < row["lowest"] <= row["env_steps_per_second"] <= row["highest"]
        assert row["per_processor_second"] > 0
    assert found["steps"] == []


@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="no clock")
def test_the_time_of_a_simulator_step_is_shared_out() -> None:
    words = ("--maps", "3m", "--play", "heuristic", "--cores", "1", "--num-envs", "4")
    (step,) = figures("simulator", *words)["steps"]
    assert (step["map_name"], step["play"]) == ("3m", "heuristic")
    assert sum(step["shares"].values()) == pytest.approx(1.0)
    assert step["microseconds"] > 0


def test_what_the_simulator_bench_cannot_measure_is_one_sentence() -> None:
    command = [sys.executable, "-m", "launch.cli", "bench", "simulator", "--maps", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--maps" in done.stderr
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_inference_stands_beside_its_matrix_products() -> None:
    for row in bench("inference"):
        assert row["ratio"] == pytest.approx(row["value"] / row["limit"])
        assert 0 < row["ratio"] < 1.5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pipeline_stands_beside_its_halves() -> None:
    rows = {row["name"]: row for row in bench("pipeline", "--preset", "quickstart")}
    halves = [rows[name]["value"] for name in rows if "alone" in name]
    assert len(halves) == 2
    for schedule in ("sync", "pipelined"):
        row = rows[f"pipeline, {schedule}, 8 actors"]
        assert row["limit"] == min(halves)
        assert row["value"] > 0
