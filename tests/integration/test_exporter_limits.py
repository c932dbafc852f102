"""What the metrics server does for those who ask too much of it, or for the wrong place."""

import contextlib
import socket
import time
import urllib.request

import prometheus_client
import pytest

from launch import host
from monitoring import exporter, listener
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


def test_on_all_interfaces_it_names_an_address_that_others_can_ask():
    wider = Exporter(prometheus_client.CollectorRegistry(), "0.0.0.0")
    try:
        host, _, port = wider.address.rpartition(":")
        assert host != "0.0.0.0"
        for name in (host, "127.0.0.1"):
            with urllib.request.urlopen(f"http://{name}:{port}/healthz", timeout=5) as answer:
                assert answer.status == 200
    finally:
        wider.close()


def test_the_environment_names_another_interface(monkeypatch):
    monkeypatch.setenv("DM2_METRICS_HOST", "127.0.0.2")
    server = Exporter(prometheus_client.CollectorRegistry())
    try:
        assert server.address.startswith("127.0.0.2:")
        assert server.address == exporter.announced(int(server.address.rpartition(":")[2]))
        with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.close()


@pytest.mark.parametrize("place", ["192.0.2.77", "no.such.host.invalid"])
def test_a_run_told_to_serve_elsewhere_says_so_in_one_sentence(monkeypatch, place):
    monkeypatch.setenv("DM2_METRICS_HOST", place)
    with pytest.raises(host.RunFailedError, match=f"DM2_METRICS_HOST={place} names no address"):
        host.metrics_port(None)


def test_the_port_is_tried_where_it_will_be_served(monkeypatch):
    monkeypatch.setenv("DM2_METRICS_HOST", "127.0.0.3")
    with socket.create_server(("127.0.0.3", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(host.RunFailedError, match=f"--metrics-port {port} cannot be used"):
            host.metrics_port(port)


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_a_place_that_is_not_ours_is_refused_in_one_sentence(address):
    with pytest.raises(ListenError, match=f"cannot be served at {address} port 0"):
        Exporter(prometheus_client.CollectorRegistry(), address)


def test_those_who_connect_and_say_nothing_cannot_take_all_threads(served):
    silent = [connect(served) for _ in range(listener.REQUESTS_AT_ONCE)]
    # All places are taken: the next is closed at once, not queued.
    with connect(served) as refused:
        assert refused.recv(1) == b""
    for client in silent:
        client.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not _answers(served):
        assert time.monotonic() < deadline
    for _ in range(3):  # and every place is given back
        silent = [connect(served) for _ in range(listener.REQUESTS_AT_ONCE)]
        assert _answers(served), "who asks at once needs no place"
        assert all(map(_is_kept, silent))
        for client in silent:
            client.close()
        time.sleep(0.1)


def _is_kept(client):
    client.settimeout(0.02)
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True


def _answers(server):
    try:
        with urllib.request.urlopen(f"http://{server.address}/healthz", timeout=5) as answer:
            return answer.read() == b"ok\n"
    except OSError:
        time.sleep(0.02)
        return False


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\n\n", 200),
        (b"GET /healthz\r\n\r\n", 400),
        (b"\xff\x00 nonsense \r\n\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /healthz HTTP/1.1\r\n" + b"X-Long: " + b"a" * 20_000, 200),
    ],
)
def test_every_request_is_answered_in_one_piece_or_in_many(served, request_, status):
    for size in (len(request_), max(len(request_) // 7, 1)):
        with connect(served) as client:
            with contextlib.suppress(ConnectionError):  # it reads no more than it needs
                for start in range(0, len(request_), size):
                    client.sendall(request_[start : start + size])
                    time.sleep(0.01)
            assert client.recv(64).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_that_reads_slowly_gets_all_of_it_and_delays_nobody(served):
    long = "x" * 8_000_000
    server = Exporter(prometheus_client.CollectorRegistry(), routes={"/long": lambda: long})
    try:
        with connect(server) as slow:
            slow.sendall(b"GET /long HTTP/1.1\r\n\r\n")
            for _ in range(5):
                assert _answers(server)
            received = b""
            while part := slow.recv(1 << 20):
                received += part
        assert received.endswith(b'xxx"')
        assert len(received) > len(long)
    finally:
        server.close()
