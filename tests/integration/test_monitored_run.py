"""A real run under a real Prometheus: every panel has data, a stall wakes somebody, totals hold."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dm2_dist.config import RunConfig
from dm2_dist.sections import ImitationConfig
from launch import roster, untrained
from monitoring import catalogue, dashboards

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

ROOT = Path(catalogue.__file__).parents[1]
MONITORING = ROOT / "monitoring"
DEADLINE_SECONDS = 90.0
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--imitation.demonstration-episodes", "16"),
    *("--evaluation.episodes", "8", "--evaluation.interval-env-steps", "400"),
    *("--algorithm", "dm2", "--max-env-steps", "10000000"),
]
WITHOUT_DATA = {
    "dm2_actor_game_memory_bytes": "the embedded simulator is no process",
    "dm2_learner_device_memory": "no GPU",
}
"""What has no samples in such a run, and why."""


def get(address: str, path: str) -> str:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def poll(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


class MonitoredRun:
    """A run, and the Prometheus that scrapes it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process, self.prometheus = folder, process, ""

    @property
    def head(self) -> str:
        known = roster.read(self.folder)
        assert known is not None
        return known.metrics

    def pids(self, role: str) -> dict[str, int]:
        known = roster.read(self.folder)
        assert known is not None
        return {name: pid for name, pid in known.processes.items() if name.startswith(role)}

    def samples(self, name: str) -> dict[str, float]:
        """The head's samples of one metric, by their labels."""
        found = re.findall(rf"^{name}(\{{.*\}}) (\S+)$", get(self.head, "/metrics"), re.M)
        return {labels: float(value) for labels, value in found}

    def query(self, expression: str) -> list[dict[str, Any]]:
        parameters = urllib.parse.urlencode({"query": expression})
        text = get(self.prometheus, f"/api/v1/query?{parameters}")
        if text.startswith("Service Unavailable"):  # still starting
            return []
        answer = json.loads(text)
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        alerts = json.loads(get(self.prometheus, "/api/v1/alerts"))["data"]["alerts"]
        return {row["labels"]["alertname"] for row in alerts if row["state"] == "firing"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredRun]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed; Debian's package is `prometheus`")
    folder = tmp_path_factory.mktemp("monitored")
    imitation = ImitationConfig(episodes_per_step=8, demonstration_episodes=16)
    config = RunConfig(map="3m", algorithm="dm2", imitation=imitation)
    config = untrained.with_demonstrations(config, folder)
    words = [*SMALL, "--demonstrations", config.demonstrations, "--run-dir", str(folder / "run")]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "launch/local.py", *words], cwd=ROOT, stdout=output, stderr=output
        )
    started = MonitoredRun(folder / "run", process)
    try:
        poll(lambda: roster.read(started.folder), "the run lists its processes")
        poll(lambda: "training" in get(started.head, "/status"), "the run trains")
        with prometheus(folder, started.head) as address:
            started.prometheus = address
            yield started
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


@contextlib.contextmanager
def prometheus(folder: Path, head: str) -> Iterator[str]:
    """A Prometheus with the shipped files, hastened; yields its address."""
    configuration = (MONITORING / "prometheus.yml").read_text()
    for shipped, hastened in {
        "127.0.0.1:9400/sd": f"{head}/sd",
        "scrape_interval: 5s": "scrape_interval: 1s",
        "scrape_timeout: 4s": "scrape_timeout: 1s",
        "evaluation_interval: 5s": "evaluation_interval: 1s",
        "refresh_interval: 5s": "refresh_interval: 1s",
    }.items():
        assert configuration.count(shipped) == 1, shipped
        configuration = configuration.replace(shipped, hastened)
    (folder / "prometheus.yml").write_text(configuration)
    (folder / "rules").mkdir()
    for path in (MONITORING / "rules").glob("*.yml"):
        (folder / "rules" / path.name).write_text(hastened_stall(path.read_text()))
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=output,
            stderr=output,
        )
    listening = re.compile(r'msg="Listening on" address=(\S+)')
    try:
        poll(lambda: listening.search(log.read_text()), "Prometheus listens")
        found = listening.search(log.read_text())
        assert found is not None
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


def hastened_stall(rules: str) -> str:
    """The rules, with a Dm2Stalled that waits for seconds instead of minutes."""
    head, name, rest = rules.partition("alert: Dm2Stalled")
    if not name:
        return rules
    assert rest.index("[5m]") < rest.index("for: 5m") < rest.index("alert:")
    return head + name + rest.replace("[5m]", "[6s]", 1).replace("for: 5m", "for: 2s", 1)


def concrete(expression: str) -> str:
    """As Grafana sends it, for all agents and roles."""
    for name, text in {
        "$__rate_interval": "8s",
        "$run": "run",
        "$agent": ".+",
        "$role": ".+",
    }.items():
        expression = expression.replace(name, text)
    assert "$" not in expression, f"a variable is left in {expression}"
    # What shows only where something happens is asked for without that condition.
    return expression.removesuffix(" > 0")


def test_every_panel_has_data(run: MonitoredRun) -> None:
    expressions = {
        concrete(query.expression)
        for dashboard in dashboards.TABLE
        for panel in dashboard.panels()
        for query in panel.queries
    }
    assert len(expressions) > 40
    asked = {e for e in expressions if not any(name in e for name in WITHOUT_DATA)}
    empty: list[str] = []

    def complete() -> bool:
        empty[:] = [expression for expression in asked if not run.query(expression)]
        return not empty

    try:
        poll(complete, "every panel has data")
    except AssertionError:
        pytest.fail("no data: " + "\n".join(sorted(empty)))


def test_recording_rules_have_data(run: MonitoredRun) -> None:
    names = re.findall(r"record: (\S+)", (MONITORING / "rules" / "recording.yml").read_text())
    for name in names:
        poll(lambda name=name: run.query(name), f"{name} is recorded")


def test_the_phases_of_every_process_sum_to_its_wall_clock(run: MonitoredRun) -> None:
    for group in json.loads(get(run.head, "/sd")):
        if group["labels"]["role"] == "head":
            continue
        name = group["labels"]["name"]
        pid = run.pids(name)[name]
        poll(lambda pid=pid: age(pid) > 10, "it is old enough to compare")

        before = age(pid)
        text = get(group["targets"][0], "/metrics")
        phases = re.findall(r"^dm2_\w+_phase_seconds_total\{.*\} (\S+)$", text, re.M)
        assert before * 0.98 <= sum(map(float, phases)) <= age(pid) * 1.02, name


def test_actors_and_learners_count_what_passes_between_them(run: MonitoredRun) -> None:
    for name in (
        "dm2_learner_received_messages_total",
        "dm2_learner_received_bytes_total",
        "dm2_learner_published_bytes_total",
        "dm2_learner_commit_seconds_total",
        "dm2_actor_policy_version",
    ):
        poll(lambda name=name: run.query(f"min({name}) > 0"), f"{name} counts")
    assert run.query("min by (run_id) (dm2_head_disk_free_bytes) > 0")
    assert run.query("dm2_run_max_lag_versions == 1")
    assert run.query("dm2_head_demonstrators_win_rate >= 0")


def age(pid: int) -> float:
    """Seconds since a process was started, as the system says."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


_PLAYED = 'dm2_head_played_env_steps_total{map="3m",run_id="run"}'
TOTALS = (
    "dm2_head_trajectories_produced_total",
    "dm2_head_trajectories_trained_total",
    "dm2_head_trajectories_dropped_total",
    "dm2_head_played_env_steps_total",
    "dm2_head_played_episodes_total",
    "dm2_head_lost_total",
)


def test_totals_of_the_run_do_not_fall_when_an_actor_is_killed(run: MonitoredRun) -> None:
    def totals() -> dict[str, float]:
        return {name + key: amount for name in TOTALS for key, amount in run.samples(name).items()}

    restarts = 'dm2_process_restarts_total{map="3m",role="actor",run_id="run"}'
    before = totals()
    assert sum(before.values()) > 0
    pid = run.pids("actor-0")["actor-0"]
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        nonlocal before
        now = totals()
        assert all(now[key] >= amount for key, amount in before.items()), (before, now)
        before = now
        sources = json.loads(get(run.head, "/sd"))
        names = {group["labels"]["name"] for group in sources}
        return restarted() and "actor-0" in names and run.pids("actor-0").get("actor-0") != pid

    def restarted() -> bool:
        return run.samples("dm2_process_restarts_total")[restarts.partition("total")[2]] >= 1

    poll(is_back, "the actor is back")
    played = before[_PLAYED]
    poll(lambda: is_back() and before[_PLAYED] > played, "they go on")


def test_a_stall_fires_its_alert_and_ends_with_it(run: MonitoredRun) -> None:
    assert "Dm2Stalled" not in run.firing()
    pids = run.pids("learner").values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        poll(lambda: "Dm2Stalled" in run.firing(), "the alert fires")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    poll(lambda: "Dm2Stalled" not in run.firing(), "the alert ends")
    assert "Dm2LedgerBroken" not in run.firing()
