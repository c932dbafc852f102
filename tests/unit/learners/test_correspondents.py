"""What a learner grants: never more than the window, and nobody waits for what is held back."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Dealer, PeerFrames, Router
from dm2_dist.comms.source_lane import REACH
from learners import correspondents
from learners.correspondents import CREDIT, Correspondents
from monitoring.metrics import LearnerMetrics

PATIENCE = 20.0
ACTOR = messages.Source(name="actor-0", incarnation=1)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def router(tmp_path):
    router = Router(f"ipc://{tmp_path}/t")
    yield router
    router.close()


@pytest.fixture
def dealer(router):
    dealer = Dealer(router.address, ACTOR.identity)
    wait_for(dealer.take_connected)
    yield dealer
    dealer.close()


@pytest.fixture
def actors(router):
    return Correspondents(router, 7, LearnerMetrics("run", 0))


def credits_heard(dealer, count):
    """The next so many CREDITs."""
    heard = []

    def enough():
        while len(heard) < count and (frames := dealer.recv()) is not None:
            heard.append(codec.unpack(frames.header, messages.TRAJECTORY_KINDS))
        return len(heard) == count

    wait_for(enough)
    return heard


@pytest.mark.parametrize("grant", [1, 2, 4, CREDIT - 1])
def test_every_trajectory_taken_is_paid_back_in_grants(actors, dealer, monkeypatch, grant):
    monkeypatch.setattr(correspondents, "GRANT", grant)
    actors.opened(ACTOR, ACTOR.identity)
    for _ in range(3 * grant):
        actors.taken(ACTOR, ACTOR.identity)
    opening, *grants = credits_heard(dealer, 4)
    assert (opening.amount, opening.opens) == (CREDIT, True)
    assert [(credit.amount, credit.opens) for credit in grants] == [(grant, False)] * 3


def test_an_answer_to_open_replaces_what_is_owed(actors, dealer, monkeypatch):
    monkeypatch.setattr(correspondents, "GRANT", 3)
    actors.opened(ACTOR, ACTOR.identity)
    for _ in range(2):
        actors.taken(ACTOR, ACTOR.identity)
    actors.opened(ACTOR, ACTOR.identity)
    for _ in range(3):
        actors.taken(ACTOR, ACTOR.identity)
    heard = credits_heard(dealer, 3)
    assert [(credit.amount, credit.opens) for credit in heard] == [
        (CREDIT, True),
        (CREDIT, True),
        (3, False),
    ]


def test_what_is_held_back_is_less_than_the_window():
    assert 1 <= correspondents.GRANT < CREDIT


class Told:
    """A router that only writes down what it is told to send."""

    def __init__(self):
        self.amounts = []

    def send(self, _peer, message, _body=None):
        self.amounts.append((message.amount, message.opens))
        return True


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, CREDIT - 1), st.lists(st.sampled_from(["send", "read", "open"]), max_size=80))
def test_an_actor_has_credit_unless_its_window_is_on_the_wire(monkeypatch, grant, events):
    monkeypatch.setattr(correspondents, "GRANT", grant)
    router = Told()
    actors = Correspondents(router, 7, LearnerMetrics("run", 0))
    actors.opened(ACTOR, ACTOR.identity)
    granted = wire = 0
    for event in ["open", *events]:
        if event == "open":  # what was under way is read before OPEN is
            for _ in range(wire):
                actors.taken(ACTOR, ACTOR.identity)
            router.amounts.clear()
            wire = 0
            actors.opened(ACTOR, ACTOR.identity)
            assert router.amounts == [(CREDIT, True)]
            granted = CREDIT
        elif event == "send" and granted:
            granted, wire = granted - 1, wire + 1
        elif event == "read" and wire:
            router.amounts.clear()
            actors.taken(ACTOR, ACTOR.identity)
            wire -= 1
            granted += sum(amount for amount, _ in router.amounts)
        assert granted + wire <= CREDIT
        assert granted + wire > CREDIT - grant
        assert granted or wire, "nobody would ever move again"


def trajectory(sequence, floor):
    header = messages.Trajectory(
        source=ACTOR,
        learner_incarnation=7,
        run_id="run",
        agent=0,
        sequence=sequence,
        iteration=0,
        index=0,
        versions=(0,),
        tensors=(),
        digest="",
        floor=floor,
    )
    return PeerFrames(ACTOR.identity, codec.pack(header), b"")


@pytest.mark.parametrize(
    ("sequence", "floor", "taken"),
    [
        (0, 0, True),
        (9, 9, True),
        (8, 9, False),
        (REACH - 1, 0, True),
        (REACH, 0, False),
        (REACH, 1, True),
        (2**62, 2**62, True),
    ],
)
def test_a_sequence_stays_within_reach_of_what_its_source_acknowledged(
    actors, sequence, floor, taken
):
    letter = actors.read(trajectory(sequence, floor))
    assert (letter is not None) is taken
    assert actors.bans.refusals == ({} if taken else {"schema": 1})
