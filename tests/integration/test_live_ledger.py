"""The books of a run while it goes on: what a kill costs is known before the run ends."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser

from dm2_dist.comms import counter_file

ROOT = Path(__file__).resolve().parents[2]
DM2 = [sys.executable, "-m", "launch.cli"]
SMALL = [
    *("--map", "3m", "--algorithm", "ippo", "--seed", "7", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "2"),
    *("--evaluation.episodes", "8", "--evaluation.interval-env-steps", "1000"),
    *("--max-env-steps", "10000000"),
]
DEADLINE_SECONDS = 90.0
PLACE = "127.0.0.2"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def poll(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


class Run:
    """A run of two actors in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        command = [*DM2, "local", "--run-dir", str(root), "--plain", *SMALL]
        environment = os.environ | {"DM2_METRICS_HOST": PLACE}
        with root.with_suffix(".out").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def listed(self) -> dict[str, Any]:
        return json.loads((self.root / "processes.json").read_text())

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.listed['metrics']}{path}", timeout=10) as found:
            return found.read().decode()

    def ledger(self) -> dict[str, Any]:
        report = json.loads(self.get("/status"))
        assert report["ledger"]["error"] == 0, report["ledger"]
        return report["ledger"]

    def totals(self, name: str) -> dict[str, float]:
        return {
            sample.labels["cause" if "cause" in sample.labels else "run_id"]: sample.value
            for family in parser.text_string_to_metric_families(self.get("/metrics"))
            for sample in family.samples
            if sample.name == name
        }

    def all_totals(self, names: list[str]) -> dict[str, dict[str, float]] | None:
        try:
            found = {name: self.totals(f"dm2_head_{name}_total") for name in names}
        except OSError:
            return None
        return found if found["lost"] else None

    def unsettled(self, actor: str) -> int:
        newest = max((self.root / "ledger").glob(f"{actor}@*.cnt"))
        counters = counter_file.read_counters(newest)
        return counters.produced[0] - counters.settled[0]

    def signal(self, number: int, *roles: str) -> None:
        for name, pid in self.listed["processes"].items():
            if name.startswith(roles):
                os.kill(pid, number)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path / "run")
    try:
        poll((started.root / "evaluations.jsonl").exists, "the run trains and evaluates")
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


def test_losses_are_known_while_the_run_goes_on_and_agree_with_its_end(run: Run) -> None:
    assert run.listed["metrics"].startswith(f"{PLACE}:"), (
        "all of the run serves where it was told to"
    )
    places = [group["targets"][0] for group in json.loads(run.get("/sd"))]
    assert len(places) == 1 + 3 + 2
    assert all(place.startswith(f"{PLACE}:") for place in places)
    assert f"metrics at http://{run.listed['metrics']}/" in run.root.with_suffix(".out").read_text()

    # What the actor has made lies with learners that do not move: one dies with it, one goes on.
    run.signal(signal.SIGSTOP, "learner")
    killed_at = time.monotonic()
    poll(lambda: run.unsettled("actor-1") > 0, "the actor has something in flight")
    run.signal(signal.SIGKILL, "actor-1", "learner-0")
    doubtful = poll(lambda: _if(run.ledger(), "in_doubt"), "it is told as in doubt")
    print(f"in doubt {time.monotonic() - killed_at:.2f} s after the kill: {doubtful}")
    assert doubtful["in_flight"] >= doubtful["in_doubt"]
    run.signal(signal.SIGCONT, "learner")

    known = poll(lambda: _if(run.ledger(), "lost"), "what nobody can have is told as lost")
    lost = known["lost"]["actor_died"]
    assert known["lost"] == {"actor_died": lost}
    assert 0 < lost <= doubtful["in_doubt"]
    assert known["error"] == 0
    exported = {"actor_died": lost, "host_lost": 0, "rolled_back": 0}
    poll(lambda: run.totals("dm2_head_lost_total") == exported, "it is exported")

    names = ["trajectories_trained", "env_steps", "played_env_steps", "iterations", "lost"]
    before = {name: run.totals(f"dm2_head_{name}_total") for name in names}
    head = run.listed["processes"]["head-0"]
    run.signal(signal.SIGKILL, "head")
    poll(lambda: run.listed["processes"].get("head-0", head) != head, "a new head is there")
    after = poll(lambda: run.all_totals(names), "it serves its totals")
    for name in names:  # from its first words on
        for value, total in before[name].items():
            assert after[name][value] >= total, (name, before, after)

    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(DEADLINE_SECONDS) == 130
    ledger = json.loads((run.root / "summary.json").read_text())["ledger"]
    assert (ledger["lost"], ledger["error"]) == ({"actor_died": lost}, 0)


def _if(ledger: dict[str, Any], key: str) -> dict[str, Any] | None:
    return ledger if ledger[key] else None
