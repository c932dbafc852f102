from pathlib import Path
from typing import Any

import pytest

from monitoring.progress import summary_text


@pytest.fixture
def summary() -> dict[str, Any]:
    return {
        "finished": True,
        "env_steps": 1_003_520,
        "iterations": 196,
        "wall_seconds": 312.4,
        "env_steps_per_second": 3212.7,
        "win_rate": 0.9375,
        "win_rate_best": 0.96875,
        "ledger": {"produced": 120, "trained": 120, "dropped": {}, "lost": {}, "error": 0},
        "restarts": {"actor": 0, "learner": 0},
        "time_share": {"actor": {"play": 0.4, "wait_ticket": 0.6}, "learner": {"ppo": 1.0}},
        "parameters_sha256": {"agent_0": "00"},
    }


def test_it_says_what_was_reached(summary: dict[str, Any], tmp_path: Path) -> None:
    lines = summary_text(summary, str(tmp_path)).splitlines()
    assert lines[0] == ("Finished: 1,003,520 env steps in 196 iterations, 5:12 (3,213 env steps/s)")
    assert lines[1] == "  win rate  94 % at the end, 97 % at best"
    assert lines[2] == "  ledger    120 produced = 120 trained + 0 dropped + 0 lost"
    assert lines[3] == "            the books close"
    assert "  actors    wait_ticket 60 %, play 40 %" in lines
    assert "  learners  ppo 100 %" in lines
    assert "  restarts  none" in lines
    assert f"  files     {tmp_path}" in lines


def test_it_names_the_files_that_are_there(summary: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "summary.json").touch()
    (tmp_path / "checkpoints").mkdir()
    text = summary_text(summary, str(tmp_path))
    assert "summary.json" in text
    assert "checkpoints" in text
    assert "report.html" not in text


def test_drops_losses_and_restarts_are_told(summary: dict[str, Any], tmp_path: Path) -> None:
    summary["ledger"] |= {
        "produced": 130,
        "dropped": {"duplicate": 7, "stale": 0},
        "lost": {"actor_died": 3},
    }
    summary["restarts"] = {"actor": 2, "learner": 1}
    text = summary_text(summary, str(tmp_path))
    assert "130 produced = 120 trained + 7 dropped + 3 lost" in text
    assert "duplicate 7, actor_died 3" in text
    assert "stale" not in text
    assert "restarts  actor 2, learner 1" in text


def test_books_that_do_not_close_are_shouted(summary: dict[str, Any], tmp_path: Path) -> None:
    summary["ledger"] |= {"produced": 121, "error": 1}
    text = summary_text(summary, str(tmp_path))
    assert "1 UNACCOUNTED FOR" in text
    assert "the books close" not in text


def test_a_run_stopped_early_says_how_to_go_on(summary: dict[str, Any], tmp_path: Path) -> None:
    summary |= {"finished": False, "win_rate": None, "win_rate_best": None, "time_share": {}}
    text = summary_text(summary, str(tmp_path))
    assert text.startswith("Stopped early: 1,003,520 env steps")
    assert f"  go on     dm2 local --resume --run-dir {tmp_path}" in text
    assert "win rate  - at the end, - at best" in text
    assert "actors    no time spent" in text
