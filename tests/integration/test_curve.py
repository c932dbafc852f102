"""Keys on real sockets: who gets in, as what, and what the others are told."""

import logging
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import zmq

from dm2_dist.comms import connection, endpoint, keys
from dm2_dist.comms.connection import Connection
from dm2_dist.comms.gatekeeper import Gatekeeper
from dm2_dist.comms.keys import LIST, KeyPair, Role
from dm2_dist.comms.messages import Beacon, Hello, Source
from dm2_dist.comms.security import AddressError, ForbiddenError, check_role
from dm2_dist.comms.sockets import Publisher, Router, close_context

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 20.0
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
OUTCOMES = REFUSED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_SUCCEEDED
CHILD = """
import logging, os, sys, time
from pathlib import Path
from dm2_dist.comms import codec, endpoint, keys
from dm2_dist.comms.messages import Hello, Source
from dm2_dist.comms.sockets import Dealer, close_context
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
own = keys.load(keys.folder_of(None, os.environ), keys.Role(sys.argv[2]))
logging.info("own=%s", own)
endpoint.use_keys(own)
dealer = Dealer(sys.argv[1], b"actor-0.1")
hello = Hello(protocol=1, source=Source(name="actor-0", incarnation=1), role=sys.argv[3], pid=1)
deadline = time.monotonic() + 20
while not dealer.send(hello):
    assert time.monotonic() < deadline
    time.sleep(0.01)
while dealer.recv() is None:
    assert time.monotonic() < deadline
    time.sleep(0.01)
print("answered", flush=True)
sys.stdin.read()
dealer.close()
close_context()
"""


@pytest.fixture
def folder(tmp_path):
    keys.init(tmp_path / "keys")
    return tmp_path / "keys"


OPEN = []


def keep(closable):
    OPEN.append(closable)
    return closable


@pytest.fixture(autouse=True)
def _close_what_was_opened():
    yield
    while OPEN:
        OPEN.pop().close()
    endpoint.use_keys(None)
    close_context()


@pytest.fixture
def clients():
    """A context of its own for raw clients, none of which is closed before the end.

    ZeroMQ's own thread blocks on the events of a socket whose monitor has been closed.
    """
    context = zmq.Context()
    opened = []

    def knock(address, server_key, pair, kind=zmq.DEALER):
        """A client and its monitor; what becomes of its greeting is still to come."""
        client = context.socket(kind)
        if pair is not None:
            client.curve_serverkey = server_key
            client.curve_publickey, client.curve_secretkey = pair.public, pair.secret
        opened.append((client, client.get_monitor_socket(OUTCOMES)))
        client.connect(address)
        return opened[-1]

    yield knock
    for client, monitor in opened:
        client.disable_monitor()
        monitor.close(linger=0)
        client.close(linger=0)
    context.term()


@pytest.fixture
def router(folder):
    return listen(folder, Role.HEAD)


def listen(folder, role):
    endpoint.use_keys(keys.load(folder, role))
    return keep(Router("tcp://127.0.0.1:0"))


def outcome(monitor, *served):
    """The first event of a greeting, while the listeners go about their work."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        for listener in served:
            listener.recv()
        if monitor.poll(5):
            return int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
    raise AssertionError("no outcome")


def receive(router):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if (received := router.recv()) is not None:
            return received
        time.sleep(0.005)
    raise AssertionError("nothing came")


def pair_of(folder, role):
    return keys.load(folder, role).pair


def wait_until(condition, *connections):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        for line in connections:
            line.keep()
        time.sleep(0.01)


# --- the door of a listening process ---


@pytest.mark.parametrize("role", [Role.ACTOR, Role.LEARNER, Role.LAUNCHER])
def test_a_listed_key_gets_in_and_its_role_comes_with_every_message(folder, router, clients, role):
    head = pair_of(folder, Role.HEAD).public
    client, monitor = clients(router.address, head, pair_of(folder, role))
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    client.send_multipart([b"header", b"body"])
    received = receive(router)
    assert (received.header, received.body, received.role) == (b"header", b"body", role)
    assert router.send(received.peer, Beacon(agent=0, version=1, digest=""))
    assert client.poll(DEADLINE_SECONDS * 1000)


def test_an_unknown_key_is_refused_counted_and_logged_once(folder, router, clients, caplog):
    head = pair_of(folder, Role.HEAD).public
    stranger = KeyPair(*zmq.curve_keypair())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            client, monitor = clients(router.address, head, stranger)
            client.send(b"let me in")
            assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert router.recv() is None
    assert endpoint.refused_keys() == {"unknown_key": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "key_refused address=127.0.0.1 reason=unknown_key "
        f"fingerprint={keys.fingerprint(stranger.public)}"
    ]


@pytest.mark.parametrize(
    ("listener", "role"),
    [(Role.LEARNER, Role.LEARNER), (Role.LEARNER, Role.LAUNCHER), (Role.LEARNER, Role.HEAD),
     (Role.HEAD, Role.HEAD)],
)  # fmt: skip
def test_the_key_of_a_role_that_has_no_business_here_is_refused(folder, clients, listener, role):
    router = listen(folder, listener)
    server = pair_of(folder, listener).public
    client, monitor = clients(router.address, server, pair_of(folder, role))
    client.send(b"let me in")
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert router.recv() is None
    assert endpoint.refused_keys() == {"wrong_role": 1}


def test_a_client_without_a_key_is_turned_away(folder, router, clients):
    client, monitor = clients(router.address, b"", None)
    client.send(b"let me in")
    assert outcome(monitor, router) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert router.recv() is None


def test_a_listener_without_the_heads_secret_learns_nothing(folder, clients):
    """An actor's key cannot stand in for the head: nobody completes a greeting with it."""
    router = listen(folder, Role.ACTOR)
    head = pair_of(folder, Role.HEAD).public
    client, monitor = clients(router.address, head, pair_of(folder, Role.LEARNER))
    client.send(b"a secret report")
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert router.recv() is None


def test_without_a_gatekeeper_nobody_gets_in(folder, router, clients):
    endpoint._PROCESS.door.close()
    head = pair_of(folder, Role.HEAD).public
    client, monitor = clients(router.address, head, pair_of(folder, Role.ACTOR))
    client.send(b"let me in")
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert router.recv() is None


def test_parameters_are_published_to_actors_alone(folder, clients):
    endpoint.use_keys(keys.load(folder, Role.LEARNER))
    publisher = keep(Publisher("tcp://127.0.0.1:0"))
    router = keep(Router("tcp://127.0.0.1:0"))  # a process has one door, whatever it listens on
    server = pair_of(folder, Role.LEARNER).public
    stranger = clients(publisher.address, server, pair_of(folder, Role.LAUNCHER), zmq.SUB)
    assert outcome(stranger[1], router) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    actor, monitor = clients(publisher.address, server, pair_of(folder, Role.ACTOR), zmq.SUB)
    actor.setsockopt(zmq.SUBSCRIBE, b"")
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not publisher.take_subscribed():
        assert time.monotonic() < deadline
    publisher.publish(Beacon(agent=0, version=1, digest=""))
    assert actor.poll(DEADLINE_SECONDS * 1000)
    assert not stranger[0].poll(0)


def test_keys_are_changed_while_the_listener_works(folder, router, clients):
    head, old = pair_of(folder, Role.HEAD).public, pair_of(folder, Role.ACTOR)
    first, monitor = clients(router.address, head, old)
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    keys.rotate(folder, Role.ACTOR)
    for pair in (old, pair_of(folder, Role.ACTOR)):
        _, monitor = clients(router.address, head, pair)
        assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    keys.retire(folder, Role.ACTOR)
    _, monitor = clients(router.address, head, old)
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    first.send(b"still here")  # whoever is in, stays in
    assert receive(router).header == b"still here"


def test_while_the_list_cannot_be_read_nobody_new_comes_in(folder, router, clients, caplog):
    head, actor = pair_of(folder, Role.HEAD).public, pair_of(folder, Role.ACTOR)
    whole = (folder / LIST).read_bytes()
    (folder / LIST).write_bytes(whole[:-20])
    _, monitor = clients(router.address, head, actor)
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert "nobody new comes in" in caplog.text
    (folder / LIST).write_bytes(whole)
    _, monitor = clients(router.address, head, actor)
    assert outcome(monitor, router) == zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_what_a_key_does_not_entitle_to_is_refused(folder, router, clients):
    """The whole way: key, door, role of the frame, rule."""
    head = pair_of(folder, Role.HEAD).public
    client, _ = clients(router.address, head, pair_of(folder, Role.ACTOR))
    client.send(b"x")
    role = receive(router).role
    source = Source(name="actor-0", incarnation=1)
    check_role(role, Hello(protocol=1, source=source, role="actor", pid=1))
    with pytest.raises(ForbiddenError):
        check_role(role, Hello(protocol=1, source=source, role="learner", pid=1))


def test_a_process_uses_the_folder_it_was_told_and_its_secret_stays_in_the_file(folder, router):
    command = [sys.executable, "-c", CHILD, router.address, "actor", "actor"]
    child = subprocess.Popen(
        command,
        env={keys.VARIABLE: str(folder), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        received = receive(router)
        assert received.role == Role.ACTOR
        assert router.send(received.peer, Beacon(agent=0, version=1, digest=""))
        assert child.stdout.readline() == "answered\n"
        shown = [
            Path(f"/proc/{child.pid}/{name}").read_bytes().decode(errors="replace")
            for name in ("cmdline", "environ")
        ]
    finally:
        written = child.communicate("", timeout=DEADLINE_SECONDS)
    assert child.returncode == 0
    secret = pair_of(folder, Role.ACTOR).secret.decode()
    assert "public=" in written[1]  # it did log what it has
    assert not any(secret in text for text in (*shown, *written))


# --- a connecting process ---


class Peer:
    """A raw listening socket with a door of its own, served in a thread until the end."""

    def __init__(self, own=None, pair=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        if pair is not None:
            self.socket.curve_server = 1
            self.socket.curve_secretkey = pair.secret
        self.door = Gatekeeper(self.context, own) if own is not None else None
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while not self._over.wait(0.01):
            if self.door is not None:
                self.door.serve()

    def close(self):
        self._over.set()
        self._thread.join()
        self.context.destroy(linger=0)


@pytest.fixture
def peers():
    opened = []

    def make(**options):
        opened.append(Peer(**options))
        return opened[-1]

    yield make
    for peer in opened:
        peer.close()


@pytest.fixture
def dial(monkeypatch):
    """Connects as the sockets do; broken-off greetings are given up after a second."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 1.0)
    opened = []

    def connect(address, server=Role.HEAD):
        dealer = endpoint.open_socket(zmq.DEALER, endpoint.DEALER)
        opened.append((Connection(dealer, address, server), dealer))
        return opened[-1]

    yield connect
    for line, dealer in opened:
        line.close()
        dealer.close(linger=0)


def test_a_connection_with_the_right_keys(folder, peers, dial):
    endpoint.use_keys(keys.load(folder, Role.ACTOR))
    own = keys.load(folder, Role.HEAD)
    peer = peers(own=own, pair=own.pair)
    line, dealer = dial(peer.address)
    wait_until(line.take_made, line)
    assert endpoint.encrypted(dealer)
    assert line.failure == line.given_up == ""


def test_a_refused_process_is_told_so_and_gets_in_once_it_is_listed(tmp_path, folder, peers, dial):
    own = keys.load(folder, Role.HEAD)
    peer = peers(own=own, pair=own.pair)
    keys.rotate(folder, Role.ACTOR)
    endpoint.use_keys(keys.load(folder, Role.ACTOR))
    both = (folder / LIST).read_text()
    new = pair_of(folder, Role.ACTOR).public.decode()
    other = zmq.curve_keypair()[0].decode()
    (folder / LIST).write_text(both.replace(new, other))
    line, _ = dial(peer.address)
    wait_until(lambda: line.given_up, line)
    assert re.search(r"tcp://127.0.0.1:\d+ refuses this process's key; .*dm2 keys", line.failure)
    assert not line.take_made()
    (folder / LIST).write_text(both[:-20])  # a list that is half copied ends nothing
    wait_until(lambda: "is not a file of keys" in line.failure, line)
    (folder / LIST).write_text(both)
    wait_until(line.take_made, line)
    assert line.failure == line.given_up == ""


def test_keys_here_and_none_there(folder, peers, dial):
    endpoint.use_keys(keys.load(folder, Role.ACTOR))
    line, _ = dial(peers().address)
    wait_until(lambda: "speaks without keys and this process has some" in line.given_up, line)


def test_keys_there_and_none_here(folder, peers, dial):
    line, _ = dial(peers(pair=pair_of(folder, Role.HEAD)).address)
    wanted = "demands a key and this process has none; pass --keys DIR"
    wait_until(lambda: wanted in line.given_up, line)


@pytest.mark.parametrize("server", [Role.HEAD, Role.LEARNER])
def test_a_peer_that_is_not_what_it_should_be(folder, peers, dial, server, caplog):
    endpoint.use_keys(keys.load(folder, Role.ACTOR))
    impostor = Role.LEARNER if server is Role.HEAD else Role.HEAD
    line, _ = dial(peers(pair=pair_of(folder, impostor)).address, server)
    wait_until(lambda: line.failure, line)
    assert "it does not have the key that our list names for its role" in line.failure
    assert line.failure in caplog.text
    assert line.given_up == ""  # a dead peer behind a port forwarding looks the same
    assert not line.take_made()


def test_a_peer_that_speaks_nonsense_is_forgiven(peers, dial):
    """ZeroMQ gives up such a connection for good; we do not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line, _ = dial(f"tcp://127.0.0.1:{port}")
        talker, _ = server.accept()
        with talker:
            greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(52, b"\0")
            talker.sendall(greeting + b"nonsense" * 99)
            wait_until(lambda: line.failure, line)
    assert "does not speak dm2's protocol; check host and port" in line.failure
    keep(Router(f"tcp://127.0.0.1:{port}"))
    wait_until(line.take_made, line)
    assert line.failure == ""


def test_a_peer_that_moved_is_followed(peers, dial):
    first, second = peers(), peers()
    line, dealer = dial(first.address)
    wait_until(line.take_made, line)
    line.move(second.address)
    wait_until(line.take_made, line)
    dealer.send(b"hello")
    assert second.socket.poll(DEADLINE_SECONDS * 1000)


# --- addresses ---


def test_other_machines_only_with_keys(folder):
    with pytest.raises(AddressError, match="pass --keys DIR"):
        Router("tcp://0.0.0.0:0")
    dealer = keep(endpoint.open_socket(zmq.DEALER, endpoint.DEALER | {zmq.LINGER: 0}))
    with pytest.raises(AddressError, match="nothing is encrypted"):
        endpoint.connect(dealer, "tcp://192.0.2.1:5555", Role.HEAD)
    endpoint.use_keys(keys.load(folder, Role.HEAD))
    assert keep(Router("tcp://0.0.0.0:0")).address.startswith("tcp://0.0.0.0:")
    endpoint.connect(dealer, "tcp://192.0.2.1:5555", Role.HEAD)
    assert endpoint.encrypted(dealer)


def test_who_never_says_who_it_is_is_cut_off(folder, monkeypatch):
    assert endpoint._EVERYWHERE[zmq.HANDSHAKE_IVL] == 10_000
    monkeypatch.setitem(endpoint._EVERYWHERE, zmq.HANDSHAKE_IVL, 200)
    router = listen(folder, Role.HEAD)
    port = int(router.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as silent:
        while silent.recv(4096):
            pass


def test_unix_sockets_need_no_keys(folder, tmp_path):
    listen(folder, Role.HEAD)  # its door is not asked
    router = keep(Router(f"ipc://{tmp_path}/a"))
    dealer = keep(endpoint.open_socket(zmq.DEALER, endpoint.DEALER))
    endpoint.connect(dealer, router.address, Role.HEAD)
    dealer.send(b"hello")
    assert receive(router).role is None
