"""Whole runs on this machine: real processes, real sockets, real kills."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm2_dist import log_line

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "8"),
    *("--evaluation.interval-env-steps", "1000", "--max-env-steps", "2500"),
    *("--ppo.epochs", "50"),  # long iterations: time to kill somebody in the middle
]
ENDLESS = ["--max-env-steps", "10000000"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class Run:
    """One launched run and its directory."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.output = folder.with_suffix(".out")
        command = [sys.executable, "launch/local.py", "--run-dir", str(folder), *SMALL, *words]
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def wait(self) -> int:
        return self.process.wait(timeout=200)

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    def iteration(self) -> int:
        """Iterations committed so far by the slowest learner."""
        versions = [0]
        for log in sorted((self.folder / "logs").glob("learner-*.log")):
            found = re.findall(r"committed version=(\d+)", log.read_text())
            versions.append(int(found[-1]) if found else 0)
        return min(versions[1:], default=0)

    def pid_of(self, name: str) -> int:
        found = re.findall(
            rf"started name={name} pid=(\d+)", (self.folder / "logs/launcher.log").read_text()
        )
        return int(found[-1])

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.output.read_text()[-2000:]
            assert time.monotonic() < deadline, "the run did not get there in time"
            time.sleep(0.02)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(name: str, *words: str) -> Run:
        runs.append(Run(tmp_path / name, *words))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Summaries of runs that nobody disturbed, by schedule."""
    summaries = {}
    for schedule in ("sync", "pipelined"):
        folder = tmp_path_factory.mktemp("runs") / schedule
        run = Run(folder, "--actors", "2", "--schedule", schedule)
        assert run.wait() == 0, run.output.read_text()[-2000:]
        summaries[schedule] = run.summary
    return summaries


def books_close(summary: dict) -> bool:
    ledger = summary["ledger"]
    accounted = ledger["trained"] + sum(ledger["dropped"].values()) + sum(ledger["lost"].values())
    return ledger["error"] == 0 and ledger["produced"] == accounted > 0


@pytest.mark.parametrize("schedule", ["sync", "pipelined"])
def test_a_run_ends_with_a_summary_whose_books_close(
    undisturbed: dict[str, dict], schedule: str
) -> None:
    summary = undisturbed[schedule]
    assert summary["finished"] is True
    assert summary["env_steps"] >= 2500
    assert set(summary["parameters_sha256"]) == {"agent_0", "agent_1", "agent_2"}
    assert summary["ledger"]["trained"] == summary["iterations"] * 4 * 3
    assert books_close(summary)
    assert "duplicate" not in summary["ledger"]["dropped"]
    assert summary["restarts"] == {"actor": 0, "learner": 0}


@pytest.mark.parametrize("schedule", ["sync", "pipelined"])
def test_the_result_does_not_depend_on_the_number_of_actors(
    undisturbed: dict[str, dict], launch: Callable[..., Run], schedule: str
) -> None:
    run = launch("five", "--actors", "5", "--schedule", schedule)
    assert run.wait() == 0
    assert run.summary["parameters_sha256"] == undisturbed[schedule]["parameters_sha256"]


def test_nothing_is_trained_beyond_the_end(launch: Callable[..., Run]) -> None:
    # Iterations 0 and 1 both need version 0: with 8 actors both are played at once, in full.
    run = launch("short", "--actors", "8", "--schedule", "pipelined", "--max-env-steps", "100")
    assert run.wait() == 0, run.output.read_text()[-2000:]
    assert run.summary["iterations"] == 1
    assert run.summary["ledger"]["dropped"] == {"shutdown": 12}
    assert books_close(run.summary)


def lags(run: Run) -> list[dict]:
    lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "lag_max" in line]


def test_free_actors_lag_no_more_than_is_allowed(launch: Callable[..., Run]) -> None:
    run = launch("free", "--actors", "3", "--schedule", "async", "--asynchrony.max-lag", "3")
    assert run.wait() == 0, run.output.read_text()[-2000:]
    assert run.summary["finished"]
    assert books_close(run.summary)
    assert set(run.summary["ledger"]["dropped"]) <= {"shutdown"}
    found = lags(run)
    assert 0 < max(line["lag_max"] for line in found) <= 3  # the learners are the slow part here
    assert max(line["peer_lag_max"] for line in found) <= 3
    assert all(0 < line["effective_sample_size"] <= 1.0001 for line in found)


def test_free_actors_and_their_learners_may_die(launch: Callable[..., Run]) -> None:
    words = ("--schedule", "async", "--asynchrony.max-lag", "3", "--max-env-steps", "8000")
    run = launch("free", "--actors", "3", *words)
    for count, name in enumerate(["actor-1", "learner-2", "head-0", "actor-0"]):
        run.until(lambda count=count: run.iteration() > count)
        os.kill(run.pid_of(name), signal.SIGKILL)
    assert run.wait() == 0, run.output.read_text()[-2000:]
    assert run.summary["finished"]
    assert books_close(run.summary)
    assert set(run.summary["ledger"]["dropped"]) <= {"shutdown", "duplicate"}
    assert run.summary["restarts"]["actor"] == 2
    assert max(line["lag_max"] for line in lags(run)) <= 3


def test_the_two_schedules_learn_differently(undisturbed: dict[str, dict]) -> None:
    assert undisturbed["sync"]["parameters_sha256"] != undisturbed["pipelined"]["parameters_sha256"]


@pytest.mark.parametrize("schedule", ["sync", "pipelined"])
def test_interrupted_and_resumed_equals_uninterrupted(
    undisturbed: dict[str, dict], launch: Callable[..., Run], schedule: str
) -> None:
    run = launch("stopped", "--actors", "3", "--schedule", schedule)
    run.until(lambda: run.iteration() >= 2)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130
    assert run.summary["finished"] is False
    assert books_close(run.summary)
    resumed = launch("stopped", "--actors", "1", "--schedule", schedule, "--resume")
    assert resumed.wait() == 0
    assert resumed.summary["parameters_sha256"] == undisturbed[schedule]["parameters_sha256"]
    assert books_close(resumed.summary)


@pytest.mark.parametrize("victims", [("actor-0",), ("learner-1",), ("head-0",)])
def test_killed_processes_change_nothing(
    undisturbed: dict[str, dict], launch: Callable[..., Run], victims: tuple[str, ...]
) -> None:
    run = launch("killed", "--actors", "2", "--schedule", "pipelined")
    run.until(lambda: run.iteration() >= 1)
    for victim in victims:
        os.kill(run.pid_of(victim), signal.SIGKILL)
    assert run.wait() == 0, run.output.read_text()[-2000:]
    assert run.summary["parameters_sha256"] == undisturbed["pipelined"]["parameters_sha256"]
    assert books_close(run.summary)
    role = victims[0].split("-")[0]
    assert run.summary["restarts"][role] == 1


def test_a_run_whose_launcher_was_killed_can_be_resumed(
    undisturbed: dict[str, dict], launch: Callable[..., Run]
) -> None:
    run = launch("orphaned", "--actors", "2", "--schedule", "sync")
    run.until(lambda: run.iteration() >= 1)
    children = [run.pid_of(name) for name in ("head-0", "learner-0", "actor-0")]
    run.process.kill()
    run.process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in children):
        assert time.monotonic() < deadline, "children outlived their launcher"
        time.sleep(0.05)
    resumed = launch("orphaned", "--actors", "2", "--schedule", "sync", "--resume")
    assert resumed.wait() == 0, resumed.output.read_text()[-2000:]
    assert resumed.summary["parameters_sha256"] == undisturbed["sync"]["parameters_sha256"]
    assert books_close(resumed.summary)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_run_directory_in_use_is_refused(launch: Callable[..., Run]) -> None:
    first = launch("busy", "--actors", "1", *ENDLESS)
    first.until((first.folder / "logs").exists)
    first.until(lambda: first.iteration() >= 1)
    second = launch("busy", "--actors", "1", "--resume", *ENDLESS)
    assert second.wait() == 1
    assert "is in use by another dm2 process" in second.output.read_text()
    first.process.send_signal(signal.SIGINT)
    assert first.wait() == 130


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    undisturbed: dict[str, dict], launch: Callable[..., Run]
) -> None:
    run = launch("damaged", "--actors", "2", "--schedule", "sync")
    run.until(lambda: run.iteration() >= 2)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130
    newest = sorted((run.folder / "checkpoints/agent_1").glob("commit-*"))[-1]
    (newest / "state.safetensors").write_bytes(b"garbage")
    resumed = launch("damaged", "--actors", "2", "--schedule", "sync", "--resume")
    assert resumed.wait() == 0, resumed.output.read_text()[-2000:]
    assert "checkpoint_damaged" in (run.folder / "logs/learner-1.log").read_text()
    assert resumed.summary["parameters_sha256"] == undisturbed["sync"]["parameters_sha256"]
    assert books_close(resumed.summary)


def test_every_process_of_a_run_can_be_scraped(launch: Callable[..., Run]) -> None:
    run = launch("watched", "--actors", "2", *ENDLESS)
    run.until(lambda: run.iteration() >= 1)
    log = log_line.text(run.folder / "logs/head-0.log")
    head = re.findall(r"metrics address=(\S+)", log)[-1]

    def targets() -> dict[str, str]:
        found = json.loads(fetch(f"http://{head}/sd"))
        return {group["labels"]["name"]: group["targets"][0] for group in found}

    everybody = {"head-0", "actor-0", "actor-1", "learner-0", "learner-1", "learner-2"}
    run.until(lambda: set(targets()) == everybody)
    page = f"http://{head}/metrics"
    run.until(lambda: value(fetch(page), "dm2_head_env_steps_total") > 0)
    pages = {name: fetch(f"http://{address}/metrics") for name, address in targets().items()}
    assert value(pages["head-0"], "dm2_head_env_steps_total") > 0
    assert value(pages["head-0"], "dm2_head_ledger_error") == 0
    assert value(pages["learner-1"], "dm2_learner_policy_version") >= 1
    assert value(pages["learner-1"], "dm2_learner_trajectories_received_total") >= 4
    played = [value(pages[f"actor-{i}"], "dm2_actor_env_steps_total") for i in range(2)]
    assert sum(played) > 0
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def value(page: str, metric: str) -> float:
    """The sum of a metric's samples on a page of metrics."""
    samples = re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    assert samples, f"{metric} is not exported"
    return sum(float(sample) for sample in samples)


def test_a_role_that_cannot_go_on_ends_the_run_with_its_reason(
    launch: Callable[..., Run], tmp_path: Path
) -> None:
    run = launch("hopeless", "--actors", "1")
    run.until(lambda: run.iteration() >= 1)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130
    for commit in (run.folder / "checkpoints/agent_2").glob("commit-*"):
        (commit / "manifest.json").write_text("{}")
    hopeless = launch("hopeless", "--actors", "1", "--resume")
    assert hopeless.wait() == 1
    text = hopeless.output.read_text()
    assert "learner-2 cannot go on" in text
    assert "is damaged; start a new run" in text
    assert "Traceback" not in text


def test_dm2_learns_from_recorded_demonstrations(
    launch: Callable[..., Run], tmp_path: Path
) -> None:
    expert = launch("expert", "--actors", "2")
    assert expert.wait() == 0
    output = tmp_path / "demonstrations"
    record = [sys.executable, "-m", "launch.cli", "record", str(expert.folder)]
    done = subprocess.run(
        [*record, "--episodes", "20", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = launch(
        "dm2",
        *("--actors", "2", "--algorithm", "dm2", "--demonstrations", str(output)),
        *("--imitation.demonstration-episodes", "20", "--imitation.steps", "5"),
    )
    assert run.wait() == 0, run.output.read_text()[-2000:]
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert all("discriminator_loss" in line for line in lines)
    assert books_close(run.summary)
