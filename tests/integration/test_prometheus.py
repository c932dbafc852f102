"""Exporters on real sockets, and a real Prometheus that finds them the way the docs say."""

import contextlib
import http.client
import json
import logging
import multiprocessing
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from monitoring import catalogue, exporter
from monitoring.exporter import Exporter, PortTakenError, Target
from monitoring.metrics import ActorMetrics, HeadMetrics, LearnerMetrics

pytestmark = pytest.mark.integration

CONFIGURATION = Path(__file__).parents[2] / "monitoring" / "prometheus.yml"
DOCUMENT = CONFIGURATION.parents[1] / "docs" / "watching.md"
DEADLINE_SECONDS = 30.0


def get(address: str, path: str) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def poll(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


@contextlib.contextmanager
def serving(*arguments: Any, **options: Any) -> Iterator[Exporter]:
    server = Exporter(*arguments, **options)
    try:
        yield server
    finally:
        server.close()


def test_it_serves_numbers_health_and_routes() -> None:
    metrics = ActorMetrics("r1", "actor-0")
    with serving(metrics.registry, routes={"/status": lambda: {"state": "training"}}) as server:
        assert server.address.startswith("127.0.0.1:")
        metrics.played(42, 1)
        status, text = get(server.address, "/metrics")
        assert status == 200
        assert 'dm2_actor_env_steps_total{actor="actor-0",run_id="r1"} 42.0' in text
        metrics.played(1, 0)
        assert '"r1"} 43.0' in get(server.address, "/metrics")[1]
        assert get(server.address, "/healthz") == (200, "ok\n")
        assert json.loads(get(server.address, "/status")[1]) == {"state": "training"}
        assert get(server.address, "/nothing")[0] == 404


def test_a_taken_port_is_one_clear_sentence_and_closing_frees_it() -> None:
    registry = ActorMetrics("r1", "actor-0").registry
    with serving(registry) as server:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(PortTakenError, match=rf"port {port} on 127.0.0.1 is taken.*--metrics-"):
            Exporter(registry, port=port)
    with serving(registry, port=port) as again:
        assert get(again.address, "/healthz")[0] == 200
    again.close()
    with pytest.raises(ConnectionRefusedError):
        get(again.address, "/healthz")


def test_a_client_that_says_nothing_is_in_nobodys_way() -> None:
    with serving(ActorMetrics("r1", "actor-0").registry) as server:
        host, _, port = server.address.partition(":")
        with socket.create_connection((host, int(port))):
            assert get(server.address, "/healthz")[0] == 200


def test_a_route_that_fails_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> object:
        raise KeyError("no such peer")

    with (
        caplog.at_level(logging.ERROR),
        serving(ActorMetrics("r1", "actor-0").registry, routes={"/status": broken}) as server,
    ):
        status, text = get(server.address, "/status")
        assert status == 500
        assert "no such peer" in text
        poll(lambda: "exporter request failed" in caplog.text, "the log names the failure")
        assert get(server.address, "/healthz")[0] == 200


def _serve_from_child(addresses: "multiprocessing.Queue[str]", stop: Event) -> None:
    metrics = ActorMetrics("r1", "actor-9")
    metrics.played(7, 1)
    server = Exporter(metrics.registry)
    addresses.put(server.address)
    stop.wait(DEADLINE_SECONDS)
    server.close()


def test_it_works_in_children_of_a_forkserver() -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monitoring.metrics", "monitoring.exporter"])
    addresses: multiprocessing.Queue[str] = context.Queue()
    stop = context.Event()
    children = [
        context.Process(target=_serve_from_child, args=(addresses, stop), daemon=True)
        for _ in range(2)
    ]
    for child in children:
        child.start()
    try:
        found = {addresses.get(timeout=DEADLINE_SECONDS) for _ in children}
        assert len(found) == 2
        for address in found:
            text = get(address, "/metrics")[1]
            assert 'dm2_actor_env_steps_total{actor="actor-9",run_id="r1"} 7.0' in text
            assert "process_resident_memory_bytes" in text
    finally:
        stop.set()
        for child in children:
            child.join(DEADLINE_SECONDS)
    assert [child.exitcode for child in children] == [0, 0]


def test_an_idle_exporter_does_not_wake_up() -> None:
    before = _switches()
    with serving(ActorMetrics("r1", "actor-0").registry) as server:
        [task] = _switches().keys() - before.keys()
        settled = poll(lambda: _settled(task), "the serving thread goes to sleep")
        time.sleep(1.2)
        assert _switches()[task] == settled
        assert get(server.address, "/healthz")[0] == 200
        assert _switches()[task] > settled


def _switches() -> dict[str, int]:
    """Voluntary context switches by thread of this process."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs Linux's /proc")
    found = {}
    for status in Path("/proc/self/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.M)
            assert match is not None
            found[status.parent.name] = int(match[1])
    return found


def _settled(task: str) -> int:
    first = _switches()[task]
    time.sleep(0.1)
    return first if _switches()[task] == first else 0


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; Debian's package is `prometheus`")
    return path


def _promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [_program("promtool"), *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_configuration_is_valid() -> None:
    assert "SUCCESS" in _promtool("check", "config", "--lint=all", str(CONFIGURATION))


def test_the_exposition_is_valid() -> None:
    learner = LearnerMetrics("r1", 0)
    learner.iteration(1, {"entropy": 1.0, "policy_loss": float("nan")})
    with serving(learner.registry) as server:
        assert _promtool("check", "metrics", text=get(server.address, "/metrics")[1]) == ""


@contextlib.contextmanager
def prometheus(head: Exporter, folder: Path) -> Iterator[str]:
    """A Prometheus with the shipped configuration, but for the head's port; yields its address."""
    program = _program("prometheus")
    shipped = CONFIGURATION.read_text()
    assert shipped.count("127.0.0.1:9400/sd") == 1
    configuration = folder / "prometheus.yml"
    configuration.write_text(shipped.replace("127.0.0.1:9400/sd", f"{head.address}/sd"))
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        pattern = re.compile(r'msg="Listening on" address=(\S+)')
        poll(
            lambda: process.poll() is not None or pattern.search(log.read_text()),
            "Prometheus listens",
        )
        match = pattern.search(log.read_text())
        assert match is not None, log.read_text()
        yield match[1]
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def query(address: str, expression: str) -> list[dict[str, Any]]:
    """An instant query's vector."""
    parameters = urllib.parse.urlencode({"query": expression})
    status, text = get(address, f"/api/v1/query?{parameters}")
    if status == 503:  # still starting
        return []
    assert status == 200, f"{expression}: {text}"
    result: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    return result


def value(address: str, expression: str) -> float:
    """An instant query's single number."""
    [sample] = query(address, expression)
    return float(sample["value"][1])


@contextlib.contextmanager
def run_of_three() -> Iterator[Exporter]:
    """An actor and a learner that did something, and a head that lists both and itself."""
    actor, learner, head = (
        ActorMetrics("r1", "actor-0"),
        LearnerMetrics("r1", 2),
        HeadMetrics("r1", "3m"),
    )
    actor.played(1200, 40)
    actor.budget.enter("play")
    actor.policies([5, 4, 5])
    learner.arrived(10, {"stale": 2}, 0)
    learner.trained(8)
    learner.iteration(5, {"entropy": 1.25})
    learner.lag([1], [0])
    head.run_state("training")
    head.evaluation(24, 32, 17.5)
    head.restart("actor")
    targets: list[Target] = []
    routes = {"/sd": lambda: exporter.service_discovery(targets)}
    with (
        serving(actor.registry) as on_actor,
        serving(learner.registry) as on_learner,
        serving(head.registry, routes=routes) as on_head,
    ):
        targets.append(Target(on_actor.address, "actor", "actor-0", "r1"))
        targets.append(Target(on_learner.address, "learner", "learner-2", "r1"))
        targets.append(Target(on_head.address, "head", "head", "r1"))
        yield on_head


def test_prometheus_finds_and_reads_a_run(tmp_path: Path) -> None:
    with run_of_three() as head, prometheus(head, tmp_path) as address:
        poll(lambda: len(query(address, "up == 1")) == 3, "all three processes are scraped")
        targets = {
            (found["metric"]["instance"], found["metric"]["role"], found["metric"]["run_id"])
            for found in query(address, "up")
        }
        assert targets == {
            ("actor-0", "actor", "r1"),
            ("learner-2", "learner", "r1"),
            ("head", "head", "r1"),
        }
        assert value(address, "sum by (run_id) (dm2_actor_env_steps_total)") == 1200
        assert value(address, 'dm2_actor_phase_seconds_total{phase="play"}') > 0
        assert value(address, 'dm2_actor_policy_version{agent="1"}') == 4
        assert value(address, 'dm2_learner_policy_version{agent="2"}') == 5
        assert value(address, 'dm2_learner_policy_lag_versions_bucket{le="1"}') == 1
        assert value(address, 'dm2_learner_trajectories_dropped_total{reason="stale"}') == 2
        books = (
            "dm2_learner_trajectories_received_total - dm2_learner_trajectories_trained_total"
            " - on (agent) sum by (agent) (dm2_learner_trajectories_dropped_total)"
        )
        assert value(address, books) == 0
        assert value(address, 'dm2_run_state{state="training"}') == 1
        assert value(address, 'dm2_process_restarts_total{role="actor"}') == 1
        assert value(address, "dm2_win_rate") == 0.75
        assert value(address, 'process_resident_memory_bytes{role="learner"}') > 1e6
        for expression in documented_queries():
            query(address, expression)
        assert query(address, "dm2_head_ledger_error != 0") == []


def documented_queries() -> list[str]:
    block = re.search(r"```promql\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert block is not None
    return [line for line in block[1].splitlines() if not line.startswith("#")]


def test_documented_metrics_exist() -> None:
    known = {row.name for row in catalogue.TABLE}
    named = set(re.findall(r"dm2(?:_[a-z]+)+", DOCUMENT.read_text()))
    assert len(named) > 10
    assert {name.removesuffix("_bucket") for name in named} <= known
