"""A run on a user's own battle, from the file to the page that shows what was learned."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from dm2_dist import log_line

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--plain", "--metrics-port", "0", "--actors", "2", "--network.hidden-size", "8"),
    *("--collection.episodes-per-iteration", "4", "--collection.episodes-per-ticket", "2"),
    *("--imitation.episodes-per-step", "2", "--evaluation.episodes", "2"),
    *("--evaluation.interval-env-steps", "1000", "--ppo.epochs", "2"),
]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "launch.cli", *map(str, words)]


def run(*words: object) -> str:
    done = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


DUEL = """
name = "duel"
episode_limit = 60
terrain = "lane"
allies = [{ unit = "stalker", count = 2, point = [9.0, 16.0] }]
enemies = [{ unit = "zealot", count = 2, point = [23.0, 16.0] }]
order = { kind = "attack_move", points = [[9.0, 16.0]] }
"""


def iterations(folder: Path) -> int:
    """Iterations committed so far by the last learner that was started."""
    log = (folder / "logs" / "learner-1.log").read_text()
    return int(re.findall(r"committed version=(\d+)", log)[-1])


def test_a_run_goes_on_with_its_own_copy_of_the_scenario(tmp_path: Path) -> None:
    scenario, folder = tmp_path / "mine.toml", tmp_path / "run"
    scenario.write_text(DUEL)
    local = ("local", "--run-dir", folder, *SMALL)
    run(*local, "--map", scenario, "--max-env-steps", "100")
    before = json.loads((folder / "summary.json").read_text())["iterations"]
    scenario.unlink()
    with subprocess.Popen(
        command(*local, "--resume", "--max-env-steps", "10000000"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as resumed:
        try:
            deadline = time.monotonic() + 120
            while iterations(folder) <= before:
                assert resumed.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            head = log_line.text(folder / "logs" / "head-0.log")
            address = re.findall(r"metrics address=(\S+)", head)[-1]
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
                assert 'map="duel"' in response.read().decode()
            resumed.send_signal(signal.SIGINT)
            assert resumed.wait(120) == 130
        finally:
            resumed.kill()


def test_a_scenario_is_trained_on_evaluated_and_shown(tmp_path: Path) -> None:
    scenario, folder = ROOT / "examples" / "scenarios" / "patrol.toml", tmp_path / "run"
    run("local", "--run-dir", folder, *SMALL, "--map", scenario, "--max-env-steps", "300")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["finished"] is True
    assert summary["env_steps"] >= 300
    assert len(summary["parameters_sha256"]) == 9
    assert (folder / "scenario.toml").read_bytes() == scenario.read_bytes()

    replays = tmp_path / "replays"
    kept = ("--replays", replays, "--replays-kept", "2")
    assert run("evaluate", folder, "--episodes", "3", *kept).startswith("patrol, version ")
    first, _ = sorted(replays.iterdir())
    page = tmp_path / "battle.html"
    assert f"wrote {page}: patrol, " in run("replay", first, "--output", page)
    assert page.read_text().startswith("<!doctype html>")
