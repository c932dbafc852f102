"""`dm2 chaos` on whole runs: real processes, killed, stopped, cut off and fed garbage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import roster

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--map", "3m", "--seed", "7", "--actors", "2"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "2000", "--ppo.epochs", "60"),
]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


def chaos(folder, *words, launched, patience=200):
    """Run `dm2 chaos`; gives its exit code, its rounds and what it said on stderr."""
    command = [sys.executable, "-m", "launch.cli", "chaos", "--json", "--run-dir", str(folder)]
    command += [*words, "--patience-seconds", "60", "--", "local", *launched]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        told, said = process.communicate(timeout=patience)
    finally:
        if process.poll() is None:
            process.terminate()  # it ends what it has started
            process.communicate()
    return process.returncode, json.loads(told)["rounds"] if told else [], said


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """A run long enough for faults to hit on an idle machine, and its twin."""
    folder = tmp_path_factory.mktemp("chaos")
    launched = [*SMALL, "--max-env-steps", "8000", "--schedule", "pipelined"]
    return folder, chaos(folder, "--kills", "4", "--others", "4", launched=launched)


def test_a_disturbed_run_keeps_its_promises(disturbed):
    _, (code, (verdict,), said) = disturbed
    assert (code, said, verdict["problems"]) == (0, "", [])
    assert sum(verdict["kills"].values()) >= 2
    assert verdict["hashes"] == "equal"
    assert verdict["ledger"]["error"] == 0


def test_every_kill_is_in_the_log_of_the_run(disturbed):
    folder, (_, (verdict,), _) = disturbed
    log = (folder / "seed-0/logs/launcher.log").read_text()
    children = sum(count for role, count in verdict["kills"].items() if role != "launcher")
    ended = log.count("exit_code=-9")
    # Those that were killed in the same moment as the launcher are in nobody's log.
    assert children - 2 <= ended <= children


def test_a_run_that_cannot_start_is_told(tmp_path):
    code, rounds, said = chaos(tmp_path, launched=["--map", "nowhere"])
    assert (code, rounds) == (1, [])
    assert "the undisturbed twin failed" in said
    assert "nowhere" in said


def test_a_learner_that_slept_through_the_launchers_death_does_not_wake_up(tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "launch/local.py", *SMALL, "--schedule", "sync", "--plain"]
    words += ["--run-dir", str(folder), "--metrics-port", "0", "--max-env-steps", "10000000"]
    run = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until((folder / "checkpoints/agent_0").exists)
        wait_until(lambda: roster.read(folder) is not None)
        sleeper = roster.read(folder).processes["learner-0"]
        os.kill(sleeper, signal.SIGSTOP)
    finally:
        run.kill()
        run.wait()
    assert alive(sleeper)
    run = subprocess.Popen([*words, "--resume"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: roster.read(folder).launcher == run.pid)
        assert not alive(sleeper)
    finally:
        run.kill()
        run.wait()
        if alive(sleeper):
            os.kill(sleeper, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, roster.read(folder).processes.values())))


def wait_until(condition):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("schedule", ["sync", "pipelined"])
@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills_change_nothing(tmp_path, schedule, seed):
    launched = ["--preset", "quickstart", "--schedule", schedule, "--actors", "4"]
    launched += ["--max-env-steps", "40000"]
    words = ("--seed", str(seed), "--kills", "20", "--others", "6")
    code, (verdict,), said = chaos(tmp_path, *words, launched=launched, patience=1100)
    assert (code, said, verdict["problems"]) == (0, "", [])
    assert sum(verdict["kills"].values()) >= 15
    assert {"actor", "learner", "head"} <= set(verdict["kills"])
    assert verdict["hashes"] == "equal"


@pytest.mark.chaos_soak
@pytest.mark.timeout(3600)
def test_twenty_minutes_of_chaos(tmp_path):
    launched = ["--preset", "quickstart", "--actors", "4", "--max-env-steps", "40000"]
    words = ("--minutes", "20", "--kills", "20", "--others", "12")
    code, rounds, said = chaos(tmp_path, *words, launched=launched, patience=3500)
    assert (code, said, [each["problems"] for each in rounds if each["problems"]]) == (0, "", [])
