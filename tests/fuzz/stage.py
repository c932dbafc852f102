"""The real head, learners and actors of a small run, in one process and on real sockets.

Nothing is mocked but the game and the arithmetic: playing makes up slices, training adds one to a
version. Everybody moves only when asked to, so that a test decides what happens when.
"""

import time
from pathlib import Path

import msgspec
import numpy as np

from actors.session import ActorSession
from dm2_dist import checkpoint, ticket
from dm2_dist.comms import messages
from dm2_dist.comms.control import HeadLink
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.run_directory import RunDirectory
from dm2_dist.sections import CollectionConfig, EvaluationConfig, ImitationConfig
from dm2_dist.trajectory import Slice
from launch.head import Head
from learners.intake import Intake
from learners.journal import Journal, Trained
from learners.publisher import Versions
from monitoring.metrics import LearnerMetrics

K, TICKETS, CAPACITY = 2, 2, 12
SPEC = EnvironmentSpec(
    map_name="toy",
    num_agents=K,
    num_enemies=2,
    num_actions=4,
    observation_size=5,
    state_size=7,
    episode_limit=9,
)


def make_config(schedule="pipelined", max_env_steps=10**9):
    return RunConfig(
        schedule=schedule,
        max_env_steps=max_env_steps,
        collection=CollectionConfig(episodes_per_iteration=TICKETS, episodes_per_ticket=1),
        imitation=ImitationConfig(episodes_per_step=1),
        evaluation=EvaluationConfig(interval_env_steps=10**9, episodes=2),
    )


def made_up_slice(played: ticket.Ticket, **changes) -> Slice:
    """What an agent saw in a ticket of one episode: a function of the ticket, as always."""
    steps = 1 + played.seeds[0] % SPEC.episode_limit
    data = Slice(
        observation=np.full((steps + 1, SPEC.observation_size), played.iteration, np.float32),
        available_actions=np.ones((steps + 1, SPEC.num_actions), np.uint8),
        alive=np.ones(steps + 1, np.uint8),
        action=np.full(steps, played.index, np.uint8),
        behaviour_log_prob=np.full(steps, -1.0, np.float32),
        reward=np.ones(steps, np.float32),
        length=np.array([steps], np.int32),
        terminated=np.array([1], np.uint8),
        truncated=np.array([0], np.uint8),
        won=np.array([1], np.uint8),
    )
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    return Slice(**(fields | changes))


class Learner:
    """One learner's socket side, recovered from its folder, and a trainer that does nothing."""

    def __init__(self, root: Path, config, agent: int, head: str, listen, run_id="run"):
        self.agent = agent
        folder = RunDirectory(root).checkpoints(agent)
        journal = Journal(folder, Versions(agent, folder, 6))
        commit = checkpoint.load_newest(folder)
        if commit is not None:
            journal.restore(commit)
        self.source = messages.Source(name=f"learner-{agent}", incarnation=time.time_ns())
        self.link = HeadLink(head, self.source, self.hello)
        self.metrics = LearnerMetrics("run", agent)
        self.intake = Intake(config, SPEC, run_id, journal, self.link, listen, self.metrics)
        self.journal = journal
        self.env_steps = journal.newest.env_steps if journal.newest else 0
        if commit is None:
            self.offer(0, 0)

    def hello(self, source):
        return messages.Hello(
            protocol=messages.PROTOCOL,
            source=source,
            role="learner",
            pid=1,
            trajectory_address=self.intake.addresses[0],
            parameter_address=self.intake.addresses[1],
        )

    def offer(self, version, env_steps):
        self.intake.outbox.post(Trained(version, env_steps, b"", b"p", f"{version:064d}", {}))

    def turn(self):
        self.intake.serve(time.monotonic())

    def train(self):
        """Train the next whole iteration, if there is one; the next turn commits it."""
        if not self.intake.handover._batches:
            return False
        batch = self.intake.handover.take()
        assert batch.data.num_episodes == TICKETS
        self.env_steps += batch.data.env_steps
        self.offer(batch.iteration + 1, self.env_steps)
        return True

    def kill(self):
        for wrapper in (self.intake._router, self.intake._publisher):
            wrapper._socket.close(linger=0)
        kill_dealer(self.link.dealer)
        self.intake.outbox.close()


class Actor:
    """A session, and a game that takes no time."""

    def __init__(self, root: Path, name: str, head: str):
        self.source = messages.Source(name=name, incarnation=time.time_ns())
        ledger = RunDirectory(root).ledger
        self.session = ActorSession(head, self.source, ledger, K, CAPACITY, "")

    def turn(self):
        self.session.pump(0.0)
        if not self.session._waiting and self.session._head.welcome is not None:
            if not self.session.book.is_full and not self.session._leases:
                want = messages.Want(source=self.source)
                self.session._waiting = self.session._head.send(want)

    def play(self):
        """Play a ticket that is leased to us, if there is one."""
        if not self.session._leases or self.session.book.is_full:
            return False
        played = self.session._playing = self.session._leases.popleft()
        self.session._waiting = bool(self.session._leases)
        if played.kind == ticket.TRAIN:
            self.session.deliver(played, [made_up_slice(played) for _ in range(K)])
        else:
            self.session.report(played, made_up_slice(played))
        self.session._playing = None
        return True

    def break_connection(self, agent):
        """Whatever is under way with this learner is lost, in both directions."""
        if agent in self.session._learners:
            dealer = self.session._learners[agent].dealer
            address = dealer._connection.address
            dealer._socket.disconnect(address)
            dealer._socket.connect(address)

    def kill(self):
        for conversation in self.session._learners.values():
            kill_dealer(conversation.dealer)
        kill_dealer(self.session._head.dealer)
        self.session._parameters.subscriber._socket.close(linger=0)
        self.session._counters.close(clean=False)


def kill_dealer(dealer):
    dealer._connection.close()
    dealer._socket.close(linger=0)


def make_head(root: Path, config, address: str) -> Head:
    directory = RunDirectory(root)
    for folder in (directory.ledger, directory.logs):
        folder.mkdir(parents=True, exist_ok=True)
    return Head(config, SPEC, directory, address, time.time_ns())


def kill_head(head: Head):
    head.router._socket.close(linger=0)


def replaced(message, **changes):
    return msgspec.structs.replace(message, **changes)
