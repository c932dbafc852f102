"""What is fuzzed: one class per door, each with the real code behind it.

`feed` makes one input and hands it in. An input may be refused; anything else that is raised is a
finding. `check` looks at what must hold however many there were.
"""

import contextlib
import dataclasses
import random
import struct
from pathlib import Path

import msgspec
import mutation
import numpy as np
from stage import SPEC, TICKETS, Actor, K, Learner, made_up_slice, make_config, make_head

from actors.conversation import Conversation, RefusedByLearnerError
from actors.parameter_cache import ParameterCache
from dm2_dist import ticket
from dm2_dist.comms import codec, messages, slice_body
from dm2_dist.comms.control import Rejected
from dm2_dist.comms.counter_file import CounterFile, CounterFileError, read_counters
from dm2_dist.comms.inspection import Expectation
from dm2_dist.comms.messages import CONTROL_KINDS, TRAJECTORY_KINDS, Source
from dm2_dist.comms.refusal import Refused
from dm2_dist.comms.sockets import Frames, PeerFrames, Router
from dm2_dist.comms.source_lane import Lane
from dm2_dist.sections import EvaluationConfig
from dm2_dist.trajectory import Entering, Slice

CONFIG = make_config()
EXPECTATION = Expectation(
    observation_size=SPEC.observation_size,
    num_actions=SPEC.num_actions,
    episode_limit=SPEC.episode_limit,
    num_episodes=1,
)
PLACE = {"trajectory_address": "ipc:///tmp/t", "parameter_address": "ipc:///tmp/p"}


def trajectory(source: Source, incarnation: int, index: int = 0, agent: int = 1, data=None):
    """A true trajectory of iteration 0, or of `data`: header and body."""
    tensors, body, digest = slice_body.encode_slice(
        data or made_up_slice(ticket.train_tickets(CONFIG, 0, K)[index])
    )
    header = messages.Trajectory(
        source=source,
        learner_incarnation=incarnation,
        run_id="run",
        agent=agent,
        sequence=0,
        iteration=0,
        index=index,
        versions=(0,) * K,
        tensors=tensors,
        digest=digest,
    )
    return header, body


def true_words(source: Source, learner: Source) -> list[msgspec.Struct]:
    """One message of every kind."""
    lease = ticket.train_tickets(CONFIG, 0, K)[0]
    addresses = {str(agent): ("ipc:///tmp/t", "ipc:///tmp/p") for agent in range(K)}
    return [
        messages.Hello(
            protocol=messages.PROTOCOL, source=source, role="actor", pid=1, holding=("train/0/0",)
        ),
        messages.Hello(
            protocol=messages.PROTOCOL, source=learner, role="learner", pid=1, **PLACE
        ),
        messages.LearnerBeat(
            source=learner, agent=0, version=1, env_steps={"0": 0, "1": 9}, received={"1": (0, 1)},
            received_env_steps={"1": 8}, trained=2, dropped={"stale": 1},
            metrics={"policy_loss": 0.5}, phases={"train": 1.5}, parameters_sha256="00",
        ),
        messages.ActorBeat(
            source=source, env_steps=1, episodes=1, produced=2, unsettled=1, phases={"play": 1.0}
        ),
        messages.Want(source=source),
        messages.Returned(source=source, ticket_id="train/0/1"),
        messages.Result(
            source=source, ticket_id="evaluate/1/1", returns=(1.0,), lengths=(3,), won=(True,)
        ),
        messages.Bye(source=source),
        messages.Exited(name="actor-7", incarnation=1, exit_code=-9),
        messages.Command(name="status", restarts={"actor": 1}),
        messages.Welcome(
            run_id="run", head_incarnation=1, config_json="{}", learners=addresses
        ),
        messages.Directory(learners=addresses),
        messages.Lease(
            head_incarnation=1, ticket_kind="train", iteration=0, index=0, seeds=lease.seeds,
            versions=lease.versions, greedy=False, newest=False,
        ),
        messages.Orders(head_incarnation=1, keep_from=0, phase="run"),
        messages.Status(report={"state": "training", "learners": [{"agent": 0}]}),
        messages.Open(protocol=messages.PROTOCOL, source=source, run_id="run"),
        trajectory(source, 1)[0],
        messages.Get(source=source, version=0),
        messages.Credit(learner_incarnation=1, amount=8, opens=True),
        messages.Settle(learner_incarnation=1, outcomes=((0, "trained"), (1, "stale"))),
        messages.Parameters(agent=0, version=1, digest="00"),
        messages.Beacon(agent=0, version=1, digest="00"),
        messages.Missing(agent=0, version=1),
        messages.Reject(reason="no"),
    ]  # fmt: skip


ACTOR, LEARNER = Source(name="actor-0", incarnation=1), Source(name="learner-0", incarnation=1)
WORDS = true_words(ACTOR, LEARNER)


class Target:
    """A door: what comes in by it, and what must hold afterwards."""

    def feed(self, chance: random.Random) -> None:
        """Make one input and hand it in."""
        raise NotImplementedError

    def check(self) -> None:
        """What must hold however many there were."""

    def close(self) -> None:
        """Let the sockets go."""


class Headers(Target):
    """`codec.unpack`, for both kinds of sockets."""

    def __init__(self, root: Path) -> None:
        pass

    def feed(self, chance: random.Random) -> None:
        frame = mutation.header(chance, WORDS)
        for kinds in (TRAJECTORY_KINDS, CONTROL_KINDS):
            with contextlib.suppress(Refused):
                codec.unpack(frame, kinds)


class Bodies(Target):
    """`decode_slice`: bytes, honest digests over spoilt bytes, and spoilt announcements."""

    def __init__(self, root: Path) -> None:
        self.expectation = EXPECTATION
        self.header, self.body = trajectory(ACTOR, 1)
        self.floats = np.array([np.nan, np.inf, -np.inf, 1e38, -1.0, 0.0], np.float32)

    def feed(self, chance: random.Random) -> None:
        header, body = self.header, self.body
        match chance.randrange(5):
            case 0:
                body = mutation.mangled(chance, body)
            case 1:
                spoilt = bytearray(body)
                for _ in range(1 + chance.randrange(6)):
                    spoilt[chance.randrange(len(spoilt))] = chance.choice((0, 1, 2, 127, 255))
                body = bytes(spoilt)
            case 2:
                place = chance.randrange(0, len(body) - 4, 4)
                value = self.floats[chance.randrange(len(self.floats))].tobytes()
                body = body[:place] + value + body[place + 4 :]
            case _:
                fields = msgspec.to_builtins(header)
                fields["tensors"] = mutation.bent(chance, fields["tensors"])
                with contextlib.suppress(msgspec.ValidationError, RecursionError):
                    header = msgspec.convert(fields, messages.Trajectory)
        if chance.random() < 0.9:
            header = msgspec.structs.replace(header, digest=codec.digest_of(body))
        with contextlib.suppress(Refused):
            data = slice_body.decode_slice(header, body, self.expectation)
            assert np.isfinite(data.observation).all()
            assert data.length.sum() == data.env_steps
            self.check_past(data)

    def check_past(self, data: Slice) -> None:
        assert data.entering is None


class Pieces(Bodies):
    """The same with pieces of episodes, which have a past."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        steps, hidden = (2, 4, 6), 3
        self.expectation = dataclasses.replace(
            EXPECTATION, num_episodes=2, unroll_length=6, hidden_size=hidden
        )
        core_state = np.full((3, 2, hidden), 0.5, np.float32)
        core_state[1] = 0.0
        entering = Entering(
            steps_before=np.array([7, 0, 2], np.int32),
            return_before=np.array([1.5, 0.0, -2.0], np.float32),
            previous_action=np.array([3, -1, 0], np.int16),
            core_state=core_state,
        )
        data = Slice(
            observation=np.ones((sum(steps) + 3, SPEC.observation_size), np.float32),
            available_actions=np.ones((sum(steps) + 3, SPEC.num_actions), np.uint8),
            alive=np.ones(sum(steps) + 3, np.uint8),
            action=np.zeros(sum(steps), np.uint8),
            behaviour_log_prob=np.full(sum(steps), -1.0, np.float32),
            reward=np.ones(sum(steps), np.float32),
            length=np.array(steps, np.int32),
            terminated=np.array([1, 0, 0], np.uint8),
            truncated=np.zeros(3, np.uint8),
            won=np.array([1, 0, 0], np.uint8),
            entering=entering,
        )
        self.header, self.body = trajectory(ACTOR, 1, data=data)
        slice_body.decode_slice(self.header, self.body, self.expectation)

    def check_past(self, data: Slice) -> None:
        entering = data.entering
        assert np.isfinite(entering.return_before).all()
        assert (np.abs(entering.core_state) <= 1.0001).all()
        assert (entering.previous_action < SPEC.num_actions).all()
        steps = entering.steps_before.astype(np.int64) + data.length
        assert (steps <= SPEC.episode_limit).all()


class Parameters(Target):
    """`codec.decode_parameters`: bytes and the JSON in front of them."""

    def __init__(self, root: Path) -> None:
        arrays = {"w": np.eye(4, dtype=np.float32), "b": np.zeros(3), "n": np.array(2)}
        self.body, _ = codec.encode_parameters(arrays)
        size = int.from_bytes(self.body[:8], "little")
        self.json = msgspec.json.decode(self.body[8 : 8 + size])
        self.data = self.body[8 + size :]

    def feed(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            body = mutation.mangled(chance, self.body)
        else:
            fields = self.json
            for _ in range(1 + chance.randrange(3)):
                fields = mutation.bent(chance, fields)
            text = b"{}"
            with contextlib.suppress(ValueError, TypeError, RecursionError, msgspec.MsgspecError):
                text = msgspec.json.encode(fields)
            claimed = len(text) if chance.random() < 0.9 else chance.randrange(2**64)
            body = struct.pack("<Q", claimed) + text + self.data
        digest = codec.digest_of(body) if chance.random() < 0.95 else "0"
        with contextlib.suppress(Refused):
            for array in codec.decode_parameters(body, digest).values():
                assert np.isfinite(array).all()


class CounterFiles(Target):
    """`read_counters`, on the files that actors leave behind."""

    def __init__(self, root: Path) -> None:
        self.path = root / "a.cnt"
        CounterFile(self.path, ACTOR, K).close(clean=True)
        self.original = self.path.read_bytes()

    def feed(self, chance: random.Random) -> None:
        """One input."""
        self.path.write_bytes(mutation.mangled(chance, self.original))
        with contextlib.suppress(CounterFileError):
            read_counters(self.path)


class IntakeDoor(Target):
    """A real learner's intake: header and body, from a handful of identities."""

    def __init__(self, root: Path) -> None:
        self.router = Router(f"ipc://{root}/ih")
        listen = (f"ipc://{root}/it", f"ipc://{root}/ip")
        self.learner = Learner(root / "intake", CONFIG, 1, self.router.address, listen)
        self.learner.turn()
        self.count = 0
        self.raised = 0

    def feed(self, chance: random.Random) -> None:
        self.count += 1
        # A new incarnation now and then: whoever is banned is not read at all.
        source = Source(name=f"actor-{chance.randrange(3)}", incarnation=1 + self.count // 40)
        incarnation = self.learner.source.incarnation
        header, body = trajectory(source, incarnation, chance.randrange(TICKETS))
        sequence = chance.randrange(50)
        header = msgspec.structs.replace(
            header,
            sequence=sequence,
            iteration=chance.choice((0, 0, 1, 2**62)),
            floor=chance.choice((0, sequence, chance.randrange(50))),
        )
        opening = messages.Open(protocol=messages.PROTOCOL, source=source, run_id="run")
        words = [header, header, header, opening, messages.Get(source=source, version=0)]
        match chance.randrange(4):
            case 0:
                frame = codec.pack(chance.choice(words))
            case 1:
                frame = mutation.header(chance, WORDS)
            case _:
                frame = mutation.header(chance, words)
        if chance.random() < 0.5:
            body = mutation.mangled(chance, body)
        peer = source.identity if chance.random() < 0.95 else chance.randbytes(5)
        role = chance.choice((None, None, None, "actor", "learner", "x"))
        part = None if chance.random() < 0.05 else body
        self.learner.intake.receive(PeerFrames(peer, frame, part, role))
        if self.count % 500 == 0:
            self.check()
        if self.count % 2000 == 0:
            self.learner.turn()

    def check(self) -> None:
        book = self.learner.journal.book
        assert book.account().imbalance == 0
        assert len(book.buffered()) <= 3
        book.commit_drops()
        correspondents = self.learner.intake.correspondents
        assert len(correspondents._peers) <= 4096
        assert len(correspondents.bans._told_at) <= 1024
        # What is settled of each incarnation stays in the books of a run by intention; a run has
        # as many as it has starts of actors, and not one for every forty messages.
        lanes = {source: lane for source, lane in book._lanes.items() if lane.held}
        book._lanes = {source: Lane(held=lane.held) for source, lane in lanes.items()}
        book._received = book.num_buffered

    def close(self) -> None:
        self.learner.kill()
        self.router.close()


class HeadDoor(Target):
    """A real head: every message to it, from everybody."""

    def __init__(self, root: Path) -> None:
        config = dataclasses.replace(
            CONFIG, evaluation=EvaluationConfig(interval_env_steps=5, episodes=2)
        )
        self.head = make_head(root / "head", config, f"ipc://{root}/hh")
        self.count = 0

    def greet(self, incarnation: int) -> None:
        """Everybody is here and has trained a version that is to be evaluated."""
        for number in range(3):
            actor = Source(name=f"actor-{number}", incarnation=incarnation)
            learner = Source(name=f"learner-{number % K}", incarnation=incarnation)
            words = true_words(actor, learner)
            beat = msgspec.structs.replace(words[2], agent=number % K)
            for message in (words[0], words[1], beat, messages.Want(source=actor)):
                peer = message.source.identity
                self.head.receive(PeerFrames(peer, codec.pack(message), None))

    def feed(self, chance: random.Random) -> None:
        self.count += 1
        incarnation = 1 + self.count // 100
        actor = Source(name=f"actor-{chance.randrange(3)}", incarnation=incarnation)
        learner = Source(name=f"learner-{chance.randrange(K)}", incarnation=incarnation)
        words = true_words(actor, learner)
        if self.count % 100 == 1:
            self.greet(incarnation)
        words[2] = msgspec.structs.replace(words[2], agent=int(learner.name[-1]))
        match chance.randrange(3):
            case 0:
                frame = codec.pack(chance.choice(words))
            case _:
                frame = mutation.header(chance, words)
        peer = chance.choice((actor, actor, learner)).identity
        role = chance.choice((None, None, None, None, "actor", "learner", "launcher", "x"))
        self.head.receive(PeerFrames(peer, frame, None, role))
        if self.count % 20 == 0:
            # A command may have told the head to end, and that is what it is for.
            self.head.phase, self.head.failure, self.head.done = "run", "", False
            self.head.record.evaluations.clear()
            self.head.dispatcher.evaluated.clear()
            self.head.step(0.0)
        if self.count % 500 == 0:
            self.check()

    def check(self) -> None:
        codec.pack(messages.Status(report=self.head.report()))
        assert len(self.head.peers) <= 4096
        assert self.head.dispatcher.account().imbalance == 0
        self.head.record._actor_phases.clear()
        self.head.record._learner_phases.clear()

    def close(self) -> None:
        self.head.router.close()


class SessionDoor(Target):
    """A real actor: what the head and the learners say to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "session" / "ledger").mkdir(parents=True)
        self.router = Router(f"ipc://{root}/sh")
        self.births = self.count = 0
        self.actor: Actor | None = None

    def be_born(self) -> None:
        if self.actor is not None:
            self.actor.kill()
        self.actor = Actor(self.root / "session", "actor-0", self.router.address)
        addresses = {
            str(agent): (f"ipc://{self.root}/s{agent}", f"ipc://{self.root}/q{agent}")
            for agent in range(K)
        }
        self.place = addresses
        session = self.actor.session
        welcome = messages.Welcome(
            run_id="run", head_incarnation=1, config_json="{}", learners=addresses
        )
        heard = session._head.hear(codec.pack(welcome))
        session._from_head(heard)
        session._connect()
        played = ticket.train_tickets(CONFIG, 0, K)[0]
        for _ in range(3):
            session.deliver(played, [made_up_slice(played) for _ in range(K)])

    def feed(self, chance: random.Random) -> None:
        if self.count % 20_000 == 0:
            self.be_born()
        self.count += 1
        session = self.actor.session
        frame = mutation.header(chance, WORDS)
        if chance.random() < 0.5:
            with contextlib.suppress(Rejected):
                message = session._head.hear(frame)
                # Followed elsewhere: thousands of connections to nowhere are not the question.
                session._head.learners = {
                    agent: self.place.get(str(agent), addresses)
                    for agent, addresses in session._head.learners.items()
                }
                if message is not None:
                    session._from_head(message)
            session._leases.clear()
        else:
            agent = chance.randrange(K)
            conversation: Conversation = session._learners[agent]
            body = None if chance.random() < 0.3 else chance.randbytes(chance.randrange(50))
            with contextlib.suppress(RefusedByLearnerError):
                for parcel, outcome in conversation.hear(Frames(frame, body)):
                    session._settled(parcel.ticket, outcome)
        if self.count % 1000 == 0:
            self.check()

    def check(self) -> None:
        for agent in range(K):
            assert self.actor.session.book.account(agent).imbalance == 0
        cache: ParameterCache = self.actor.session._parameters
        assert all(len(kept) <= 6 for kept in cache._bodies.values())

    def close(self) -> None:
        self.actor.kill()
        self.router.close()


TARGETS: dict[str, type[Target]] = {
    "header": Headers,
    "body": Bodies,
    "pieces": Pieces,
    "parameters": Parameters,
    "counter file": CounterFiles,
    "intake": IntakeDoor,
    "head": HeadDoor,
    "session": SessionDoor,
}
