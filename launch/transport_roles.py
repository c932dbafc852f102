"""What the processes of `dm2 bench transport` do: the product's two roles, and two bare ones.

Each is told over a pipe for how many seconds to go, and answers with how many messages it sent in
how many seconds. Started by `launch.transport_bench`.
"""

import os
import struct
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NoReturn

from actors.conversation import Conversation, Parcel
from actors.parameter_cache import ParameterCache
from dm2_dist import ticket as tickets
from dm2_dist.comms import codec, endpoint, keys, messages, slice_body
from dm2_dist.comms.bare import BareActor, BareLearner
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.keys import Role
from dm2_dist.comms.ledger import ActorBook
from dm2_dist.comms.sockets import Poller
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice
from learners.correspondents import CREDIT, GRANT
from learners.intake import Intake
from learners.journal import Journal, Trained
from learners.publisher import Versions
from monitoring.metrics import LearnerMetrics

GO = struct.Struct("<d")
"""To an actor: seconds to send for."""
DONE = struct.Struct("<qd")
"""From an actor: messages sent, and seconds that took."""
ITERATION_TICKETS = 512
"""Of the product's side; more than in a run, so that the disk has little to do."""
READY = b"ready"
_RUN_ID = "bench"
_KEPT_VERSIONS = 2
_WAIT_SECONDS = 0.05
_OPEN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What every process of the bench has to know.

    tcp: over the loopback interface, else through a socket in the folder.
    encrypted: with the keys of the folder.
    folder: sockets, keys and the learner's checkpoints.
    """

    config: RunConfig
    tcp: bool
    encrypted: bool
    folder: Path

    def address(self, name: str) -> str:
        """Where somebody of this name is to listen."""
        return "tcp://127.0.0.1:0" if self.tcp else f"ipc://{self.folder / name}"

    def keys(self, role: Role) -> keys.Keys | None:
        """The keys of a role, if any are used."""
        return keys.load(self.folder / "keys", role) if self.encrypted else None


# --- the product ---


def learn(line: Connection, settings: Settings) -> None:
    """Be a learner whose training takes no time; says where it listens."""
    endpoint.use_keys(settings.keys(Role.LEARNER))
    config, folder = settings.config, settings.folder / "checkpoints"
    source = messages.Source(name="learner-0", incarnation=1)
    intake = Intake(
        config,
        make.describe(config.env, config.map),
        _RUN_ID,
        Journal(folder, Versions(0, folder, _KEPT_VERSIONS)),
        HeadLink(f"ipc://{settings.folder / 'head'}", source, _hello),
        (settings.address("trajectories"), settings.address("parameters")),
        LearnerMetrics(_RUN_ID, 0),
    )
    intake.outbox.post(_outcome(0, 0))
    intake.start()
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    line.send_bytes(intake.addresses[0].encode())
    env_steps = 0
    while (batch := intake.handover.take()) is not None:
        env_steps += batch.data.env_steps
        intake.outbox.post(_outcome(batch.iteration + 1, env_steps))
    os._exit(1)  # the socket thread failed


def _outcome(version: int, env_steps: int) -> Trained:
    return Trained(version, env_steps, b"", b"", "", {})


def _hello(source: messages.Source) -> messages.Hello:
    """What the learner would say to a head."""
    return messages.Hello(
        protocol=messages.PROTOCOL, source=source, role="learner", pid=os.getpid()
    )


def _end_with(line: Connection) -> NoReturn:
    """End this process together with the one that started it."""
    while not line.poll(1.0):
        pass
    os._exit(0)


class _Books(ActorBook[Parcel]):
    """An actor's books that count what left.

    left: messages sent.
    """

    left = 0

    def sent(self, agent: int, sequence: int) -> None:
        """One more is on its way."""
        super().sent(agent, sequence)
        self.left += 1


def act(
    line: Connection,
    settings: Settings,
    part: Slice,
    address: str,
    index: int,
    next_ticket: "Synchronized[int]",
) -> None:
    """Be an actor whose games take no time.

    Args:
        line: to the bench.
        settings: of the bench.
        part: what every game comes to.
        address: of the learner.
        index: of this actor.
        next_ticket: number of the next ticket that nobody has; shared by the actors.
    """
    endpoint.use_keys(settings.keys(Role.ACTOR))
    source = messages.Source(name=f"actor-{index}", incarnation=1)
    book = _Books(1, ITERATION_TICKETS)
    conversation = Conversation(0, source, book, ParameterCache(1), address)
    poller = Poller()
    poller.add(conversation.dealer)
    deadline = time.monotonic() + _OPEN_SECONDS
    while book.awaits_answer(0) and time.monotonic() < deadline:
        poller.wait(_WAIT_SECONDS)
        conversation.turn(_RUN_ID, time.monotonic())
    line.send_bytes(READY)
    num_agents = make.describe(settings.config.env, settings.config.map).num_agents
    produced = 0
    while True:
        (seconds,) = GO.unpack(line.recv_bytes())
        before, started = book.left, time.monotonic()
        while (now := time.monotonic()) < started + seconds:
            while produced == book.left and not book.is_full:
                ticket = _take(next_ticket, settings.config, num_agents)
                book.produce(0, Parcel(ticket, *slice_body.encode_slice(part)))
                produced += 1
                conversation.turn(_RUN_ID, now, silent=True)
            ready = poller.wait(_WAIT_SECONDS)
            conversation.turn(_RUN_ID, now, silent=not ready)
        line.send_bytes(DONE.pack(book.left - before, time.monotonic() - started))


def _take(next_ticket: "Synchronized[int]", config: RunConfig, num_agents: int) -> Ticket:
    """The next ticket, as the head would lease it."""
    with next_ticket.get_lock():
        iteration, index = divmod(next_ticket.value, ITERATION_TICKETS)
        next_ticket.value += 1
    versions = (tickets.train_version(config, iteration),) * num_agents
    return Ticket(tickets.TRAIN, iteration, index, (0,), versions, greedy=False)


# --- bare pyzmq ---


def learn_barely(line: Connection, settings: Settings) -> None:
    """Answer with as many bytes as a CREDIT has; says where it listens."""
    own = settings.keys(Role.LEARNER)
    credit = codec.pack(messages.Credit(learner_incarnation=1, amount=GRANT))
    learner = BareLearner(settings.address("bare"), own.pair if own else None, credit, GRANT)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    line.send_bytes(learner.address.encode())
    while True:
        learner.serve()


def act_barely(
    line: Connection,
    settings: Settings,
    part: Slice,
    address: str,
    index: int,
    _next_ticket: "Synchronized[int]",
) -> None:
    """Send as many bytes as the product does, always the same; see `act`."""
    own = settings.keys(Role.ACTOR)
    server = None if own is None else own.server_key(Role.LEARNER)
    actor = BareActor(address, server, _frames(settings, part, index), CREDIT, GRANT)
    line.send_bytes(READY)
    while True:
        (seconds,) = GO.unpack(line.recv_bytes())
        started = time.monotonic()
        sent = actor.exchange(seconds)
        line.send_bytes(DONE.pack(sent, time.monotonic() - started))


def _frames(settings: Settings, part: Slice, index: int) -> list[bytes]:
    """Header and body of one trajectory."""
    tensors, body, digest = slice_body.encode_slice(part)
    num_agents = make.describe(settings.config.env, settings.config.map).num_agents
    header = messages.Trajectory(
        source=messages.Source(name=f"actor-{index}", incarnation=1),
        learner_incarnation=1,
        run_id=_RUN_ID,
        agent=0,
        sequence=0,
        iteration=0,
        index=0,
        versions=(0,) * num_agents,
        tensors=tensors,
        digest=digest,
    )
    return [codec.pack(header), body]
