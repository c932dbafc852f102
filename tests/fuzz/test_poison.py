"""Every reason to refuse, provoked at a real intake and a real head; and who does it too often."""

import time

import msgpack
import numpy as np
import prometheus_client
import pytest
from stage import SPEC, TICKETS, K, Learner, made_up_slice, make_config, make_head, replaced

from dm2_dist import ticket
from dm2_dist.comms import ban, codec, messages, slice_body
from dm2_dist.comms.ban import BanList
from dm2_dist.comms.messages import CONTROL_KINDS, TRAJECTORY_KINDS, Source
from dm2_dist.comms.refusal import Reason
from dm2_dist.comms.sockets import Dealer, PeerFrames, Router, close_context
from launch.head_main import Display
from monitoring.metrics import HeadMetrics

ACTOR = Source(name="actor-0", incarnation=1)
CONFIG = make_config()


def eventually(attempt, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not (result := attempt()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return result


class Wire:
    """An actor's end of the wire to a real learner: everything sent and heard by hand."""

    def __init__(self, root):
        self.router = Router(f"ipc://{root}/head")
        self.learner = Learner(
            root, CONFIG, 1, self.router.address, (f"ipc://{root}/t", f"ipc://{root}/p")
        )
        self.journal, self.intake = self.learner.journal, self.learner.intake
        self.learner.turn()  # commits version 0
        self.dealer = Dealer(self.intake.addresses[0], ACTOR.identity)
        eventually(self.dealer.take_connected)
        self.open()
        self.heard = self.answers()
        self.sequence = 0

    def open(self):
        opening = messages.Open(protocol=messages.PROTOCOL, source=ACTOR, run_id="run")
        self.send(codec.pack(opening))

    def send(self, *frames):
        self.dealer._socket.send_multipart(frames)
        read = self.intake._poller
        eventually(lambda: self.intake._router in read.wait(0.05))
        self.learner.turn()

    def answers(self):
        """What the learner said to us so far; a last word of our own tells where that ends."""
        end, heard = messages.Missing(agent=99, version=0), []
        assert self.intake._router.send(ACTOR.identity, end)
        while not heard or heard[-1] != end:
            heard.append(codec.unpack(eventually(self.dealer.recv).header, TRAJECTORY_KINDS))
        return heard[:-1]

    def trajectory(self, data=None, body=None, **changes):
        played = ticket.train_tickets(CONFIG, 0, K)[0]
        tensors, encoded, digest = slice_body.encode_slice(data or made_up_slice(played))
        header = messages.Trajectory(
            source=ACTOR,
            learner_incarnation=self.learner.source.incarnation,
            run_id="run",
            agent=1,
            sequence=self.sequence,
            iteration=0,
            index=0,
            versions=(0,) * K,
            tensors=tensors,
            digest=digest,
        )
        self.sequence += 1
        body = encoded if body is None else body
        self.send(codec.pack(replaced(header, **changes)), body)

    def refused(self):
        return dict(self.intake.correspondents.bans.refusals)

    def settled(self):
        """Let the learner settle its drops; what it tells us of them."""
        self.intake.correspondents.settle(self.journal.commit_drops())
        told = [answer for answer in self.answers() if isinstance(answer, messages.Settle)]
        return [outcome for settle in told for outcome in settle.outcomes]


@pytest.fixture
def wire(tmp_path):
    made = Wire(tmp_path)
    yield made
    made.dealer.close()
    made.learner.kill()
    made.router.close()
    close_context()


def spoilt(**changes):
    return made_up_slice(ticket.train_tickets(CONFIG, 0, K)[0], **changes)


STEPS = spoilt().env_steps
POISON = {
    "another agent": (Reason.SCHEMA, {"agent": 0}),
    "no such ticket": (Reason.SCHEMA, {"index": TICKETS}),
    "tensors of nothing": (Reason.SCHEMA, {"tensors": ()}),
    "a reward of type float64": (Reason.SCHEMA, "retyped"),
    "a body over the limit": (Reason.OVERSIZE, {"body": bytes(codec.BODY_LIMIT + 1)}),
    "no body": (Reason.CORRUPT, {"body": b""}),
    "another digest": (Reason.CORRUPT, {"digest": "0" * 32}),
    "a NaN": (Reason.NONFINITE, {"data": spoilt(reward=np.full(STEPS, np.nan, np.float32))}),
    "an infinity": (
        Reason.NONFINITE,
        {"data": spoilt(observation=np.full((STEPS + 1, 5), np.inf, np.float32))},
    ),
    "no such action": (
        Reason.ILLEGAL_ACTION,
        {"data": spoilt(action=np.full(STEPS, SPEC.num_actions, np.uint8))},
    ),
    "an action that was not available": (
        Reason.ILLEGAL_ACTION,
        {"data": spoilt(available_actions=np.zeros((STEPS + 1, 4), np.uint8))},
    ),
    "another run": (Reason.UNKNOWN_RUN, {"run_id": "other"}),
    "other versions": (Reason.STALE, {"versions": (7,) * K}),
    "too far ahead": (Reason.BUFFER_FULL, {"iteration": 1000, "versions": (999,) * K}),
}


@pytest.mark.parametrize("poison", POISON)
def test_a_refused_trajectory_is_booked_told_and_counted(wire, poison):
    reason, changes = POISON[poison]
    if changes == "retyped":
        tensors, _, _ = slice_body.encode_slice(spoilt())
        changes = {
            "tensors": tuple(
                replaced(spec, dtype="float64") if spec.name == "reward" else spec
                for spec in tensors
            )
        }
    wire.trajectory(**changes)
    assert wire.refused() == {reason.value: 1}
    assert wire.journal.book.account().dropped == {reason.value: 1}
    assert wire.settled() == [(0, reason.value)]
    wire.trajectory()
    assert wire.journal.book.buffered() == {0: (0,)}, "the ticket is open for another playing"
    assert wire.journal.book.account().imbalance == 0


def test_a_ticket_played_twice_is_a_duplicate(wire):
    wire.trajectory()
    wire.trajectory()
    assert wire.settled() == [(1, Reason.DUPLICATE)]
    assert wire.refused() == {}, "nobody is to blame"


def test_a_draining_learner_drops_for_shutdown(wire):
    wire.trajectory()
    wire.learner.link.phase = "drain"
    wire.learner.turn()
    wire.trajectory(index=1)
    wire.learner.turn()
    assert wire.journal.book.account().dropped == {Reason.SHUTDOWN: 2}


def test_every_reason_is_provoked():
    provoked = {reason for reason, _ in POISON.values()}
    assert provoked | {Reason.DUPLICATE, Reason.SHUTDOWN} == set(Reason)


HEADERS = {
    "nothing": b"",
    "noise": b"\xff" * 100,
    "a bit too few": codec.pack(messages.Get(source=ACTOR, version=0))[:-1],
    "a list": codec.seal(msgpack.packb([1])),
    "an answer": codec.pack(messages.Credit(learner_incarnation=1, amount=1)),
    "too long": codec.seal(msgpack.packb({"kind": "get", "x": "x" * 5000})),
    "somebody else": codec.pack(
        messages.Get(source=Source(name="actor-1", incarnation=1), version=0)
    ),
}


@pytest.mark.parametrize("header", HEADERS)
def test_what_is_no_message_is_counted_and_makes_the_actor_send_again(wire, header):
    wire.send(HEADERS[header])
    assert sum(wire.refused().values()) == 1
    assert wire.answers() == [
        messages.Credit(learner_incarnation=wire.learner.source.incarnation, amount=8, opens=True)
    ]
    assert wire.journal.book.account().received == 0


def test_three_frames_are_refused(wire):
    wire.send(b"a", b"b", b"c")
    assert wire.refused() == {Reason.CORRUPT: 1}
    wire.open()
    assert wire.answers()


def test_ten_refusals_are_a_ban_until_the_next_incarnation(wire):
    for _ in range(9):
        wire.send(b"noise")
    wire.open()
    assert all(isinstance(answer, messages.Credit) for answer in wire.answers())
    wire.trajectory(agent=0)
    rejection, settle = wire.answers()
    assert "not listened to any more" in rejection.reason
    assert settle.outcomes == ((0, Reason.SCHEMA),)
    wire.trajectory()
    assert wire.answers() == [], "told once a second at most"
    assert wire.journal.book.buffered() == {}
    bans = wire.intake.correspondents.bans
    assert (bans.banned, bans.ignored) == (1, 1)
    assert wire.journal.book.account().imbalance == 0
    again = Source(name=ACTOR.name, incarnation=2)
    opening = messages.Open(protocol=messages.PROTOCOL, source=again, run_id="run")
    wire.intake.receive(PeerFrames(again.identity, codec.pack(opening), None))
    assert again in wire.intake.correspondents._peers


def test_honest_late_comers_are_not_banned(wire):
    for _ in range(30):
        wire.trajectory(versions=(7,) * K)
    assert wire.refused() == {Reason.STALE: 30}
    assert wire.intake.correspondents.bans.banned == 0


# --- the rule alone ---


def test_ten_within_a_minute_and_no_slower():
    bans = BanList()
    for count in range(30):
        assert not bans.refused(b"slow", Reason.CORRUPT, now=count * 6.7)
    assert not bans.is_banned(b"slow")
    hits = [bans.refused(b"fast", Reason.CORRUPT, now=count * 6.6) for count in range(12)]
    assert hits == [False] * 9 + [True] + [False] * 2
    assert bans.is_banned(b"fast")
    assert not bans.is_banned(b"slow")


def test_peers_are_told_once_a_second():
    bans = BanList()
    assert not bans.ignores(b"peer")
    for _ in range(10):
        bans.refused(b"peer", Reason.SCHEMA, now=5.0)
    assert bans.ignores(b"peer")
    assert not bans.tells(b"peer", now=5.9)
    assert bans.tells(b"peer", now=6.0)
    assert not bans.tells(b"peer", now=6.5)
    assert bans.ignored == 1


def test_the_names_of_peers_take_bounded_room():
    bans = BanList(kept_peers=8)
    for number in range(1000):
        peer = str(number).encode()
        for _ in range(10 if number % 2 else 3):
            bans.refused(peer, Reason.CORRUPT, now=1.0)
    assert len(bans._refused_at) <= 8
    assert len(bans._told_at) <= 8
    assert bans.is_banned(b"999")
    assert not bans.is_banned(b"1")


# --- the head ---


@pytest.fixture
def head(tmp_path):
    made = make_head(tmp_path / "run", CONFIG, f"ipc://{tmp_path}/h")
    yield made
    made.router.close()
    close_context()


def say(head, message, peer=None, role=None):
    """Hand a message to the head; whether it was refused."""
    before = sum(head.reception.bans.refusals.values())
    peer = peer or message.source.identity
    head.receive(PeerFrames(peer, codec.pack(message), None, role))
    head.step(0.0)
    head.report()
    return sum(head.reception.bans.refusals.values()) > before


def hello(source=ACTOR, **changes):
    fields = {"protocol": messages.PROTOCOL, "source": source, "role": "actor", "pid": 1}
    return messages.Hello(**(fields | changes))


LEARNER = Source(name="learner-0", incarnation=1)
PLACE = {"trajectory_address": "ipc:///tmp/t", "parameter_address": "ipc:///tmp/p"}
BEAT = messages.LearnerBeat(
    source=LEARNER, agent=0, version=3, env_steps={"3": 12}, received={"3": (1,)},
    received_env_steps={"3": 4}, trained=6, dropped={}, metrics={}, phases={},
    parameters_sha256="",
)  # fmt: skip
RESULT = messages.Result(
    source=ACTOR, ticket_id="evaluate/3/0", returns=(1.0,), lengths=(3,), won=(True,)
)
LIES = {
    "an unknown role": hello(role="spectator"),
    "an actor with a learner's name": hello(LEARNER),
    "a learner without a seat": hello(
        Source(name=f"learner-{K}", incarnation=1), role="learner", **PLACE
    ),
    "a learner of no number": hello(Source(name="learner-x", incarnation=1), role="learner"),
    "a learner without a place": hello(LEARNER, role="learner"),
    "a place that is none": hello(
        LEARNER, role="learner", **PLACE | {"trajectory_address": "tcp://nowhere"}
    ),
    "a beat of another agent": replaced(BEAT, agent=1),
    "a beat of no agent": replaced(BEAT, agent=K),
    "a beat without its env steps": replaced(BEAT, env_steps={}),
    "a beat with a strange ticket": replaced(BEAT, received={"3": (TICKETS,)}),
    "a metric that would hide the version": replaced(BEAT, metrics={"version": 1.0}),
    "a result of a training ticket": replaced(RESULT, ticket_id="train/3/0"),
    "a result of a ticket that is none": replaced(RESULT, ticket_id="evaluate/3/9"),
    "more returns than episodes": replaced(RESULT, returns=(1.0, 2.0)),
    "a return that is NaN": replaced(RESULT, returns=(float("nan"),)),
    "a lease": messages.Directory(learners={}),
}


def test_whoever_is_turned_away_is_counted_and_shown_once(head):
    display = Display(HeadMetrics("run", "3m"))
    for _ in range(2):
        assert not say(head, hello(protocol=messages.PROTOCOL + 1)), "it may mend itself"
        say(head, hello(role="spectator"))
        display.show_refusals(head.reception)
        display.show_refusals(head.reception)
    text = prometheus_client.generate_latest(display.metrics.registry).decode()
    shown = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in text.splitlines()}
    refused = {name: value for name, value in shown.items() if "refused_total{" in name}
    values = [value for name, value in refused.items() if 'role="actor"' in name]
    assert values == ["2.0"]
    values = [value for name, value in refused.items() if 'reason="schema"' in name]
    assert values == ["2.0"]


@pytest.mark.parametrize("lie", LIES)
def test_the_head_believes_no_lie(head, lie):
    message = LIES[lie]
    source = getattr(message, "source", ACTOR)
    say(head, hello(source, role="learner", **PLACE) if source.name == "learner-0" else hello())
    assert say(head, message, peer=source.identity)


@pytest.mark.parametrize(
    "message", [hello(), hello(LEARNER, role="learner", **PLACE), BEAT, RESULT]
)
def test_the_head_believes_the_truth_but_only_from_its_sender(head, message):
    assert not say(head, message)
    assert say(head, message, peer=b"actor-9.1")


@pytest.mark.parametrize(
    ("message", "role"),
    [(hello(LEARNER, role="learner", **PLACE), "actor"), (BEAT, "actor"), (RESULT, "learner")],
)
def test_a_key_of_one_role_is_not_one_of_another(head, message, role):
    assert say(head, message, role=role)
    drain = messages.Command(name="drain")
    assert say(head, drain, peer=b"x", role=role)
    assert head.phase == "run"


def test_a_role_that_is_not_understood_is_asked_for_hello(head):
    dealer = Dealer(head.router.address, ACTOR.identity)
    eventually(dealer.take_connected)
    dealer.send(hello())
    head.step(0.5)
    kinds = []
    dealer._socket.send(b"noise")
    head.step(0.5)
    for _ in range(2):
        frames = eventually(dealer.recv)
        kinds.append(codec.unpack(frames.header, CONTROL_KINDS))
    assert kinds[1].head_incarnation == 0
    for _ in range(9):
        dealer._socket.send(b"noise")
        head.step(0.5)
    assert head.peers == {}, "what is banned holds no leases"
    last = kinds[-1]
    while not isinstance(last, messages.Reject):
        last = codec.unpack(eventually(dealer.recv).header, CONTROL_KINDS)
    assert last.reason == ban.explain(ACTOR.identity)
    dealer.close()


def test_a_result_of_a_version_that_nobody_knows_goes_back(head):
    for agent in range(K):
        source = Source(name=f"learner-{agent}", incarnation=1)
        say(head, hello(source, role="learner", **PLACE))
        say(head, replaced(BEAT, source=source, agent=agent))
    say(head, hello())
    for version in (0, 2, 4, 10**17):
        assert not say(head, replaced(RESULT, ticket_id=f"evaluate/{version}/0"))
    assert head.record.evaluations == []


def test_a_long_run_still_fits_a_status(head):
    line = {"env_steps": 10**9, "wall_seconds": 1e5, "win_rate": 0.123456789, "return_mean": 1.23,
            "length_mean": 22.5, "episodes": 32, "version": 10**6}  # fmt: skip
    head.record.evaluations.extend([line] * 5000)
    assert not say(head, messages.Command(name="status"), peer=b"launcher")
    assert len(head.report()["evaluations"]) == 5000
