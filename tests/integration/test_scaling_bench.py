"""`dm2 bench scaling` measures real runs from outside."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launch import scaling_bench, scaling_run
from launch.host import RunFailedError
from launch.scaling_run import Point

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.integration


def test_a_run_with_two_sleeping_actors_is_measured_and_drained(tmp_path: Path) -> None:
    config = scaling_bench.config_of("sleep", "3m")
    point = scaling_run.measure(config, 2, 1.5, tmp_path / "run")
    assert isinstance(point, Point)
    # A step lasts 10 ms and something; nothing can be faster than that.
    assert 0 < point.env_steps_per_second < 2 / 0.010
    assert sum(point.actor_shares.values()) == pytest.approx(1.0)
    assert set(point.processor_seconds) == {"actor", "learner", "head"}
    assert 0 < point.actor_uss_megabytes < 80 < point.pss_megabytes
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["ledger"]["error"] == 0
    assert summary["ledger"]["produced"] > 0


def test_a_run_that_ends_is_one_sentence(tmp_path: Path) -> None:
    config = replace(scaling_bench.config_of("sleep", "3m"), map="nowhere")
    with pytest.raises(RunFailedError, match=r"has ended: dm2: .*nowhere"):
        scaling_run.measure(config, 1, 1.0, tmp_path / "run")


def test_what_cannot_be_measured_is_one_sentence() -> None:
    command = [sys.executable, "-m", "launch.cli", "bench", "scaling", "--actors", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--actors" in done.stderr
    assert "Traceback" not in done.stderr
