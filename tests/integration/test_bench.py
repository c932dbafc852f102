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
    rates = [row["value"] for row in found["rows"]]
    assert rates == [row["env_steps_per_second"] for row in speeds]
    assert {"numba", "torch", "load_average"} <= found["machine"].keys()


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


def test_inference_stands_beside_its_limit_in_the_common_envelope() -> None:
    found = figures("inference", "--preset", "quickstart")
    assert (found["what"], found["map"]) == ("inference", "3m")
    assert found["machine"]["cores"] >= 1
    assert {"torch", "numpy", "processor", "load_average"} <= found["machine"].keys()
    limited = [row for row in found["rows"] if row["limit"] is not None]
    assert limited
    for row in limited:
        assert row["limit_is"]
        assert row["ratio"] == pytest.approx(row["value"] / row["limit"])


@pytest.mark.parametrize("words", ["--actors 0", "--seconds 0", "--seconds -1"])
def test_what_no_part_can_measure_is_one_sentence(words: str) -> None:
    command = [sys.executable, "-m", "launch.cli", "bench", "pipeline", *words.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words.partition(" ")[0] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", ["transport", "learner"])
def test_parts_have_rows(part: str) -> None:
    assert all(row["value"] > 0 for row in bench(part, "--preset", "quickstart"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pipeline_stands_beside_its_halves() -> None:
    words = ("pipeline", "--preset", "quickstart", "--algorithm", "ippo", "--actors", "3")
    found = figures(*words)
    rows = {row["name"]: row for row in found["rows"]}
    halves = [rows[name]["value"] for name in rows if "alone" in name]
    assert len(halves) == 2
    for schedule in ("sync", "pipelined", "async"):
        row = rows[f"pipeline, ippo, {schedule}, 3 actors"]
        assert row["limit"] == min(halves)
        assert row["value"] > 0
    assert len(found["bottlenecks"]) == 3
