"""`dm2 bench` prints what it measured beside its limit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.integration


def bench(*words: str) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", "bench", *words, "--json", "--seconds", "0.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["rows"]


def test_the_simulator_is_measured_alone() -> None:
    rows = bench("simulator")
    assert [row["name"] for row in rows] == ["simulator, 1 battles", "simulator, 64 battles"]
    assert all(row["value"] > 0 and row["unit"] == "env steps/s" for row in rows)


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
