"""What somebody sees who watches a run from another terminal, while its processes die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DM2 = [sys.executable, "-m", "launch.cli"]
SMALL = [
    *("--map", "3m", "--algorithm", "ippo", "--seed", "7", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "1000", "--max-env-steps", "10000000"),
]
DEADLINE_SECONDS = 60.0
KILL_DEADLINE_SECONDS = 30.0
"""On a machine that is busy with other things; docs/watching.md says what is usual."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def poll(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def status(run: Path | str) -> dict[str, Any]:
    command = [*DM2, "status", str(run), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def roster(root: Path) -> dict[str, Any]:
    return json.loads((root / "processes.json").read_text())


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A run of two actors that trains, and whose output goes to `run.out` as JSON lines."""
    root = tmp_path / "run"
    command = [*DM2, "local", "--run-dir", str(root), "--json", *SMALL]
    with root.with_suffix(".out").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        poll((root / "evaluations.jsonl").exists, "the run trains and evaluates")
        yield process, root
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_killed_actor_is_seen_from_another_terminal(
    launched: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, root = launched
    before = status(root)
    assert (before["state"], before["restarts"]["actor"]) == ("training", 0)
    assert status(roster(root)["metrics"])["run_directory"] == str(root)

    os.kill(roster(root)["processes"]["actor-1"], signal.SIGKILL)
    killed_at = time.monotonic()

    def shows_it() -> dict[str, Any] | None:
        report = status(root)
        named = any(text.startswith("actor-1 ") for text in report["events"])
        return report if named and report["restarts"]["actor"] == 1 else None

    seen = poll(shows_it, "the kill is shown", KILL_DEADLINE_SECONDS)
    print(f"`dm2 status` shows the kill {time.monotonic() - killed_at:.2f} s after it")
    assert len([text for text in seen["events"] if "actor-1 " in text]) == 1
    poll(lambda: status(root)["actors"]["alive"] == 2, "the actor is back")

    stopped = roster(root)["processes"]["actor-0"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        poll(lambda: "actor-0" in status(root)["silent"], "the stopped actor is named")
    finally:
        os.kill(stopped, signal.SIGCONT)

    top = subprocess.Popen([*DM2, "top", str(root), "--json"], cwd=ROOT, stdout=subprocess.PIPE)
    assert top.stdout is not None
    assert json.loads(top.stdout.readline())["kind"] == "status"
    top.send_signal(signal.SIGINT)
    assert top.wait(DEADLINE_SECONDS) == 0
    top.stdout.close()

    assert process.poll() is None, "who watches disturbs nothing"
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) == 130
    report = status(root)
    assert (report["state"], report["phase"]) == ("stopped", "over")
    assert report["env_steps"] == json.loads((root / "summary.json").read_text())["env_steps"] > 0

    lines = [json.loads(line) for line in root.with_suffix(".out").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"event", "status", "summary"}
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["env_steps"] == report["env_steps"]
    told = [text for line in lines if line["kind"] == "status" for text in line["events"]]
    assert len([text for text in told if text.startswith("actor-1 ")]) == 1
