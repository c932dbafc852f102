"""Faults on real processes and sockets: each does what it says, and is mended at its end."""

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.comms import messages
from dm2_dist.comms.sockets import Dealer, Poller, Router
from launch import chaos_faults, chaos_garbage

SERVE = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
kept = [listener.accept()[0] for _ in range(int(sys.argv[2]))]
print("accepted", flush=True)
print(kept[0].recv(1), flush=True)
sys.stdin.read()
"""


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(pid, states):
    """Wait until a process is in one of these states."""
    deadline = time.monotonic() + 30
    while state(pid) not in states:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", [chaos_faults.stop, chaos_faults.slow])
@pytest.mark.parametrize("to_the_end", [True, False])
def test_a_stopped_process_goes_on_at_the_end(sleeper, kind, to_the_end):
    fault = kind(sleeper.pid, 0.01)
    assert next(fault) > 0
    until(sleeper.pid, "T")
    if to_the_end:
        time.sleep(0.02)
        list(fault)
    else:
        fault.close()
    until(sleeper.pid, "SRD")


def test_stopping_a_process_that_has_gone_is_no_error(sleeper):
    fault = chaos_faults.stop(sleeper.pid, 0.01)
    next(fault)
    sleeper.kill()
    sleeper.wait()
    fault.close()


@pytest.fixture
def server(tmp_path):
    """A process that has accepted one connection; gives (pid, path, our end, its output)."""
    path = tmp_path / "t-0"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        assert process.stdout.readline() == b"accepted\n"
        yield process, path, connection
    process.kill()
    process.communicate()


def begin(fault):
    try:
        return next(fault)
    except PermissionError:
        pytest.skip("sockets of other processes may not be touched here")


def test_a_partition_breaks_connections_hides_the_socket_and_mends(server):
    process, path, connection = server
    fault = chaos_faults.partition(process.pid, [path], 60.0)
    begin(fault)
    assert connection.recv(1) == b""
    assert process.stdout.readline() == b"b''\n"
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(FileNotFoundError):
        late.connect(str(path))
    fault.close()
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["t-0"]


def test_a_partition_does_not_replace_the_socket_of_a_new_incarnation(server):
    process, path, _ = server
    fault = chaos_faults.partition(process.pid, [path], 60.0)
    begin(fault)
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        successor.listen()
        fault.close()
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["t-0"]


@given(st.integers(0, 2**64))
def test_garbage_follows_from_its_seed(seed):
    once, again = random.Random(seed), random.Random(seed)
    assert chaos_garbage.streams("run", once) == chaos_garbage.streams("run", again)


def test_garbage_is_let_in_and_a_router_lives_on(tmp_path):
    path = tmp_path / "socket"
    router, draw = Router(f"ipc://{path}"), random.Random(1)
    poller = Poller()
    poller.add(router)
    headers = []
    try:
        for _ in range(60):
            chaos_garbage.send(path, "run", draw)
            while poller.wait(0.02):
                received = router.recv()
                if received is not None:
                    headers.append(received.header)
        dealer = Dealer(f"ipc://{path}", b"actor-0.1")
        want = messages.Want(source=messages.Source(name="actor-0", incarnation=1))
        poller.add(dealer)
        while not dealer.send(want):
            poller.wait(5.0)
        received = None
        while received is None or received.peer != b"actor-0.1":
            assert poller.wait(30.0)
            received = router.recv()
        dealer.close()
    finally:
        router.close()
    assert headers, "no garbage got through the handshake"
    assert router.malformed, "no message had too many frames"
