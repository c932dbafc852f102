"""A learner's versions over real sockets on the loopback interface."""

import time

import pytest

from dm2_dist import checkpoint
from dm2_dist.comms import codec, endpoint, messages
from dm2_dist.comms.sockets import Dealer, Poller, Publisher, Router, Subscriber
from learners.publisher import Versions

LOOPBACK = "tcp://127.0.0.1:0"
PATIENCE = 20.0
ME = messages.Source(name="actor-0", incarnation=1)


def receive(socket):
    """The next message, unpacked, and its body; waits for it."""
    poller = Poller()
    poller.add(socket)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frames = socket.recv()
        if frames is not None:
            body = None if frames.body is None else bytes(frames.body)
            return codec.unpack(frames.header, messages.TRAJECTORY_KINDS), body
        poller.wait(0.1)
    raise TimeoutError


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def versions(tmp_path):
    """Versions 3 and 4 of agent 1."""
    versions = Versions(agent=1, folder=tmp_path, retained=2)
    for version in (3, 4):
        versions.keep(version, b"body %d" % version, env_steps=10 * version)
    return versions


@pytest.fixture
def publisher():
    publisher = Publisher(LOOPBACK)
    yield publisher
    publisher.close()


@pytest.fixture
def subscriber(publisher):
    """One subscriber of whom the publisher knows; the news of it is used up."""
    subscriber = Subscriber()
    subscriber.connect(publisher.address)
    wait_for(publisher.take_subscribed)
    yield subscriber
    subscriber.close()


@pytest.fixture
def asked():
    """Ask for a version as an actor does; gives what was answered."""
    router = Router(LOOPBACK)
    dealer = Dealer(router.address, b"actor-0.1")
    wait_for(dealer.take_connected)

    def ask(versions, version):
        wait_for(lambda: dealer.send(messages.Get(source=ME, version=version)))
        received = []
        wait_for(lambda: received.append(router.recv()) or received[-1] is not None)
        versions.answer(router, received[-1].peer, version)
        return receive(dealer)

    yield ask
    dealer.close()
    router.close()


def expected(version, body):
    return messages.Parameters(agent=1, version=version, digest=codec.digest_of(body))


def test_a_published_version_arrives_with_its_digest(versions, publisher, subscriber):
    versions.publish(publisher, 4)
    assert receive(subscriber) == (expected(4, b"body 4"), b"body 4")


def test_whoever_missed_a_version_can_ask_for_it(versions, asked):
    assert asked(versions, 3) == (expected(3, b"body 3"), b"body 3")


@pytest.mark.parametrize("version", [2, 5])
def test_a_version_that_is_not_there_is_answered_too(versions, asked, version):
    assert asked(versions, version) == (messages.Missing(agent=1, version=version), None)


def test_a_pruned_version_is_missing(versions, asked, tmp_path):
    versions.keep(5, b"body 5", env_steps=50)
    versions.prune(keep_from=4)
    assert asked(versions, 3)[0] == messages.Missing(agent=1, version=3)
    assert asked(versions, 4)[1] == b"body 4"
    assert checkpoint.parameter_versions(tmp_path) == [4, 5]


def test_pruning_keeps_what_restarted_peers_can_ask_for(versions):
    versions.prune(keep_from=4)
    assert versions.env_steps == {3: 30, 4: 40}


def test_a_restart_finds_the_versions_of_its_commit_and_no_others(versions, asked, tmp_path):
    again = Versions(agent=1, folder=tmp_path, retained=2)
    again.load({2: 20, 3: 30})
    assert again.env_steps == {3: 30}
    assert again.newest == 3
    assert asked(again, 3)[1] == b"body 3"
    assert asked(again, 4)[0] == messages.Missing(agent=1, version=4)


def test_the_beacon_names_the_newest_version_once_a_second(versions, publisher, subscriber):
    beacon = messages.Beacon(agent=1, version=4, digest=codec.digest_of(b"body 4"))
    for now in (100.0, 100.5, 100.9, 101.0):
        versions.beacon(publisher, now)
    versions.publish(publisher, 3)
    assert receive(subscriber) == (beacon, None)
    assert receive(subscriber) == (beacon, None)
    assert receive(subscriber)[0] == expected(3, b"body 3")


def test_a_new_subscriber_need_not_wait_for_the_beacon(versions, publisher, subscriber):
    versions.beacon(publisher, now=100.0)
    newcomer = Subscriber()
    newcomer.connect(publisher.address)
    poller = Poller()
    poller.add(publisher)
    assert poller.wait(PATIENCE)
    versions.beacon(publisher, now=100.1)
    assert receive(newcomer)[0].version == 4
    newcomer.close()


def test_there_is_no_beacon_before_the_first_version(tmp_path, versions, publisher, subscriber):
    empty = Versions(agent=0, folder=tmp_path / "new", retained=2)
    assert empty.newest == -1
    empty.beacon(publisher, now=100.0)
    versions.publish(publisher, 3)
    assert receive(subscriber)[0] == expected(3, b"body 3")


def test_a_version_is_published_once_however_many_listen(versions, publisher, asked):
    """One send reaches all; only who came too late asks, and only that one is answered."""
    listeners = [Subscriber() for _ in range(8)]
    for listener in listeners:
        listener.connect(publisher.address)
        wait_for(publisher.take_subscribed)
    sent = []
    transmit = endpoint.transmit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            endpoint, "transmit", lambda *frames: sent.append(frames) or transmit(*frames)
        )
        versions.publish(publisher, 4)
    assert (versions.published, versions.answered, len(sent)) == (1, 0, 1)
    for listener in listeners:
        assert receive(listener) == (expected(4, b"body 4"), b"body 4")
    late = Subscriber()
    late.connect(publisher.address)
    wait_for(publisher.take_subscribed)
    versions.beacon(publisher, now=100.0)
    beacon, _ = receive(late)
    assert beacon == messages.Beacon(agent=1, version=4, digest=codec.digest_of(b"body 4"))
    assert asked(versions, beacon.version) == (expected(4, b"body 4"), b"body 4")
    assert (versions.published, versions.answered) == (1, 1)
    for listener in (*listeners, late):
        listener.close()
