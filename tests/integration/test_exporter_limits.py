"""What the metrics server does for those who ask too much of it, or for the wrong place."""

import socket
import time
import urllib.request

import prometheus_client
import pytest

from monitoring import exporter
from monitoring.exporter import Exporter, ListenError

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 20.0


@pytest.fixture
def served():
    server = Exporter(prometheus_client.CollectorRegistry())
    yield server
    server.close()


def connect(server):
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE_SECONDS)


def test_it_listens_on_this_machine_alone_unless_told_otherwise(served):
    assert served.address.startswith("127.0.0.1:")
    wider = Exporter(prometheus_client.CollectorRegistry(), "0.0.0.0")
    try:
        assert wider.address.startswith("0.0.0.0:")
    finally:
        wider.close()


def test_the_environment_names_another_interface(monkeypatch):
    monkeypatch.setenv("DM2_METRICS_HOST", "127.0.0.2")
    server = Exporter(prometheus_client.CollectorRegistry())
    try:
        assert server.address.startswith("127.0.0.2:")
        with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.close()


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_a_place_that_is_not_ours_is_refused_in_one_sentence(address):
    with pytest.raises(ListenError, match=f"cannot be served at {address} port 0"):
        Exporter(prometheus_client.CollectorRegistry(), address)


def test_those_who_connect_and_say_nothing_cannot_take_all_threads(served):
    silent = [connect(served) for _ in range(exporter.REQUESTS_AT_ONCE)]
    # All places are taken: the next is closed at once, not queued.
    with connect(served) as refused:
        assert refused.recv(1) == b""
    for client in silent:
        client.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not _answers(served):
        assert time.monotonic() < deadline
    for _ in range(2 * exporter.REQUESTS_AT_ONCE):  # and every place is given back
        assert _answers(served)


def _answers(server):
    try:
        with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
            return answer.read() == b"ok\n"
    except OSError:
        time.sleep(0.02)
        return False
