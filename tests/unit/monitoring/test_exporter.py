import json
from http import HTTPStatus

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import exporter
from monitoring.exporter import Target
from monitoring.metrics import ActorMetrics


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    metrics = ActorMetrics("r1", "actor-0")
    metrics.played(42, 1)
    return metrics.registry


def test_metrics_are_served_as_prometheus_text(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    answer = exporter.reply("/metrics?name=x", registry, {})
    assert answer.status == HTTPStatus.OK
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert b'dm2_actor_env_steps_total{actor="actor-0",run_id="r1"} 42.0' in answer.body


def test_health_is_ok(registry: prometheus_client.CollectorRegistry) -> None:
    assert exporter.reply("/healthz", registry, {})[0] == HTTPStatus.OK
    assert exporter.reply("/healthz", registry, {}).body == b"ok\n"


def test_a_route_is_served_as_json_and_called_each_time(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    states = iter(["starting", "training"])
    routes = {"/status": lambda: {"state": next(states)}}
    answers = [exporter.reply("/status", registry, routes) for _ in range(2)]
    assert [json.loads(answer.body)["state"] for answer in answers] == ["starting", "training"]
    assert answers[0].content_type == "application/json"


def test_an_unknown_path_says_which_there_are(
    registry: prometheus_client.CollectorRegistry,
) -> None:
    answer = exporter.reply("/", registry, {"/sd": list})
    assert answer.status == HTTPStatus.NOT_FOUND
    for path in ("/metrics", "/healthz", "/sd"):
        assert path in answer.body.decode()


def test_targets_become_groups_of_one() -> None:
    targets = [
        Target("127.0.0.1:4001", "actor", "actor-0", "r1"),
        Target("127.0.0.1:4002", "learner", "learner-1", "r1"),
    ]
    assert exporter.service_discovery(targets) == [
        {
            "targets": ["127.0.0.1:4001"],
            "labels": {"run_id": "r1", "role": "actor", "name": "actor-0"},
        },
        {
            "targets": ["127.0.0.1:4002"],
            "labels": {"run_id": "r1", "role": "learner", "name": "learner-1"},
        },
    ]


_text = st.text(max_size=8)


@given(st.lists(st.builds(Target, _text, _text, _text, _text)))
def test_every_target_with_an_address_is_listed_in_order(targets: list[Target]) -> None:
    groups = exporter.service_discovery(targets)
    assert [group["targets"] for group in groups] == [[t.address] for t in targets if t.address]
    assert json.loads(json.dumps(groups)) == groups
