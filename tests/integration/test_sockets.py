"""Real sockets, over ipc and tcp, within one process and with a child that is killed."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import zmq

from dm2_dist.comms import codec
from dm2_dist.comms.messages import TRAJECTORY_KINDS, Beacon, Credit, Get, Source
from dm2_dist.comms.sockets import (
    AddressError,
    Dealer,
    Mailbox,
    Poller,
    Publisher,
    Router,
    Subscriber,
    close_context,
    context,
)

pytestmark = pytest.mark.integration

GET = Get(source=Source(name="actor-0", incarnation=1), version=3)
CREDIT = Credit(learner_incarnation=1, amount=2)
DEADLINE_SECONDS = 15.0
CHILD = """
import sys, time
from dm2_dist.comms.messages import Get, Source
from dm2_dist.comms.sockets import Dealer, close_context
dealer = Dealer(sys.argv[1], sys.argv[2].encode())
while not dealer.send(Get(source=Source(name="actor-0", incarnation=1), version=3), b"x" * 54_000):
    time.sleep(0.01)
if sys.argv[3] == "stay":
    time.sleep(60)
close_context()
"""
SERVER = """
import sys, time
from dm2_dist.comms.sockets import Router
router = Router(sys.argv[1])
print("ready", flush=True)
time.sleep(60)
"""


OPEN = []


@pytest.fixture(autouse=True)
def _close_what_was_opened():
    yield
    while OPEN:
        OPEN.pop().close()
    close_context()


def keep(closable):
    OPEN.append(closable)
    return closable


@pytest.fixture(params=["ipc", "tcp"])
def address(request, tmp_path):
    return f"ipc://{tmp_path}/a.sock" if request.param == "ipc" else "tcp://127.0.0.1:0"


def eventually(attempt):
    """The first true result of `attempt` before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        result = attempt()
        if result:
            return result
        time.sleep(0.002)
    raise AssertionError("nothing came")


@contextlib.contextmanager
def child(program, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def connected(router, identity=b"actor-0.1"):
    dealer = keep(Dealer(router.address, identity))
    eventually(dealer.take_connected)
    return dealer


def unpack(frames):
    return codec.unpack(frames.header, TRAJECTORY_KINDS)


@pytest.mark.parametrize("size", [None, 0, 1, 54_000, 70_000, 3_000_000])
def test_messages_travel_both_ways(address, size):
    router = keep(Router(address))
    dealer = connected(router)
    body = None if size is None else bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert dealer.send(GET, body)
    peer, header, received, role = eventually(router.recv)
    assert role is None
    assert (peer, codec.unpack(header, TRAJECTORY_KINDS)) == (b"actor-0.1", GET)
    assert received == body
    assert router.send(peer, CREDIT, received)
    answer = eventually(dealer.recv)
    assert unpack(answer) == CREDIT
    assert answer.body == body
    assert router.recv() is None
    assert dealer.recv() is None


def test_the_poller_names_who_is_ready(address):
    router = keep(Router(address))
    dealer = connected(router)
    poller = Poller()
    poller.add(router)
    poller.add(dealer)
    assert poller.wait(0.0) == set()
    dealer.send(GET)
    assert poller.wait(DEADLINE_SECONDS) == {router}
    router.recv()
    router.send(b"actor-0.1", CREDIT)
    assert poller.wait(DEADLINE_SECONDS) == {dealer}
    dealer.recv()
    poller.remove(dealer)
    router.send(b"actor-0.1", CREDIT)
    assert poller.wait(0.05) == set()


def test_a_connection_wakes_the_poller_once(address):
    router = keep(Router(address))
    dealer = keep(Dealer(router.address, b"actor-0.1"))
    poller = Poller()
    poller.add(dealer)
    assert poller.wait(DEADLINE_SECONDS) == {dealer}
    assert dealer.recv() is None
    assert poller.wait(0.0) == set()
    assert dealer.take_connected()
    assert not dealer.take_connected()


def test_nothing_is_queued_for_a_peer_that_is_not_there(tmp_path):
    address = f"ipc://{tmp_path}/a.sock"
    dealer = keep(Dealer(address, b"actor-0.1"))
    assert not dealer.send(GET)
    router = keep(Router(address))
    eventually(lambda: dealer.send(GET))
    assert eventually(router.recv).peer == b"actor-0.1"
    assert router.recv() is None


def test_an_unknown_peer_is_a_false_not_a_silence(address):
    assert keep(Router(address)).send(b"nobody", CREDIT) is False


def test_a_peer_that_does_not_read_never_blocks_us(address):
    router = keep(Router(address))
    connected(router)
    sent = 0
    while router.send(b"actor-0.1", CREDIT, bytes(20_000)):
        sent += 1
        assert sent < 20_000
    assert sent >= 1000


def test_a_restarted_listener_is_found_again_and_noticed(address):
    router = keep(Router(address))
    bound = router.address
    dealer = connected(router)
    router.close()
    eventually(lambda: not dealer.send(GET))
    router = keep(Router(bound))
    eventually(dealer.take_connected)
    assert dealer.send(GET)
    assert eventually(router.recv).peer == b"actor-0.1"


def test_a_listener_that_moved_is_followed(tmp_path):
    old, new = keep(Router("tcp://127.0.0.1:0")), keep(Router("tcp://127.0.0.1:0"))
    dealer = connected(old)
    dealer.reconnect(old.address)
    assert not dealer.take_connected()
    dealer.reconnect(new.address)
    eventually(dealer.take_connected)
    assert dealer.send(GET)
    assert eventually(new.recv).peer == b"actor-0.1"
    with pytest.raises(AddressError):
        dealer.reconnect("head:5555")


def test_the_newest_holder_of_an_identity_wins(address):
    router = keep(Router(address))
    connected(router)
    second = connected(router)
    assert second.send(GET)
    assert router.send(eventually(router.recv).peer, CREDIT)
    assert unpack(eventually(second.recv)) == CREDIT


def test_malformed_messages_are_counted(address):
    router = keep(Router(address))
    raw = keep(context().socket(zmq.DEALER))
    raw.connect(router.address)
    raw.send_multipart([b"a", b"b", b"c"])
    raw.send_multipart([codec.pack(GET)])

    assert eventually(router.recv)[1:] == (b"", None, None)
    assert unpack(eventually(router.recv)) == GET
    assert router.malformed == 1


def test_malformed_answers_have_no_header(address):
    raw = keep(context().socket(zmq.ROUTER))
    raw.bind(address)
    dealer = keep(Dealer(raw.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode(), b"actor-0.1"))
    assert eventually(dealer.take_connected)
    dealer.send(GET)
    peer = raw.recv_multipart()[0]
    raw.send_multipart([peer, b"a", b"b", b"c"])
    raw.send_multipart([peer, codec.pack(CREDIT)])
    assert eventually(dealer.recv) == (b"", None)
    assert unpack(eventually(dealer.recv)) == CREDIT


def test_a_flood_is_read_in_portions(address):
    router = keep(Router(address))
    dealer = connected(router)
    for _ in range(7):
        assert dealer.send(GET)
    read = []
    eventually(lambda: read.append(len(list(router.waiting(3)))) or sum(read) == 7)
    assert max(read) <= 3


def test_an_oversize_message_costs_its_sender_the_connection_only(address):
    router = keep(Router(address))
    bystander = connected(router)
    raw = keep(context().socket(zmq.DEALER))
    raw.linger = 0
    raw.connect(router.address)
    raw.send(bytes(9 * 2**20))
    time.sleep(0.2)
    assert router.recv() is None
    assert bystander.send(GET, bytes(codec.BODY_LIMIT))
    assert len(eventually(router.recv).body) == codec.BODY_LIMIT


def test_an_address_in_use_is_one_sentence(address):
    router = keep(Router(address))
    with pytest.raises(AddressError, match="another process; stop that process or choose another"):
        keep(Router(router.address))
    dealer = connected(router)
    assert dealer.send(GET), "the attempt must not disturb whoever is served"


def test_the_socket_of_a_killed_process_is_taken_over(tmp_path):
    address = f"ipc://{tmp_path}/a.sock"
    with child(SERVER, address) as server:
        assert server.stdout.readline() == "ready\n"
        with pytest.raises(AddressError, match="is served by another process"):
            keep(Router(address))
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert (tmp_path / "a.sock").exists()
    connected(keep(Router(address)))


def test_a_killed_peer_is_gone_and_its_successor_served(address):
    router = keep(Router(address))
    with child(CHILD, router.address, "actor-0.1", "stay") as process:
        assert eventually(router.recv).peer == b"actor-0.1"
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually(lambda: not router.send(b"actor-0.1", CREDIT))
    with child(CHILD, router.address, "actor-0.2", "stay"):
        assert eventually(router.recv).peer == b"actor-0.2"
        assert router.send(b"actor-0.2", CREDIT)


def test_last_words_arrive(address):
    router = keep(Router(address))
    with child(CHILD, router.address, "actor-0.1", "leave") as process:
        assert process.wait(DEADLINE_SECONDS) == 0
        assert len(eventually(router.recv).body) == 54_000


def test_every_publisher_is_heard_and_sees_its_subscribers(tmp_path):
    publishers = [keep(Publisher("tcp://127.0.0.1:0")), keep(Publisher(f"ipc://{tmp_path}/p.sock"))]
    assert not publishers[0].take_subscribed()
    subscriber = keep(Subscriber())
    for publisher in publishers:
        subscriber.connect(publisher.address)
    for agent, publisher in enumerate(publishers):
        eventually(publisher.take_subscribed)
        assert not publisher.take_subscribed()
        publisher.publish(Beacon(agent=agent, version=5, digest="d"), bytes(100_000))
    found = []
    eventually(lambda: found.extend(subscriber.drain(10)) or len(found) == 2)
    assert {unpack(frames).agent for frames in found} == {0, 1}
    assert all(len(frames.body) == 100_000 for frames in found)
    late = keep(Subscriber())
    late.connect(publishers[0].address)
    eventually(publishers[0].take_subscribed)
    subscriber.disconnect(publishers[0].address)
    publishers[0].publish(Beacon(agent=0, version=6, digest="d"))
    assert unpack(eventually(late.recv)).version == 6
    assert subscriber.recv() is None


def test_a_slow_subscriber_misses_versions_and_blocks_nobody():
    publisher = keep(Publisher("tcp://127.0.0.1:0"))
    subscriber = keep(Subscriber())
    subscriber.connect(publisher.address)
    eventually(publisher.take_subscribed)
    for version in range(300):
        publisher.publish(Beacon(agent=0, version=version, digest="d"), bytes(300_000))
    versions = []
    eventually(
        lambda: versions.extend(unpack(f).version for f in subscriber.drain(1000)) or versions
    )
    assert versions[0] == 0
    assert len(versions) < 300


def test_another_thread_wakes_the_poller():
    mailbox: Mailbox[str] = Mailbox(capacity=1)
    poller = Poller()
    poller.add(mailbox)
    thread = threading.Timer(0.05, mailbox.post, ("hello",))
    thread.start()
    assert poller.wait(DEADLINE_SECONDS) == {mailbox}
    assert mailbox.take() == ["hello"]
    thread.join()
    poller.remove(mailbox)
    mailbox.close()
