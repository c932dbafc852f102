"""Any order of crashes, losses, repeats and delays: the books balance at every step and at the end.

Two actors, two learners, a head, iterations of two tickets. The wire keeps messages in bags,
delivers them in any order, repeats them, and forgets them when a connection breaks. A disk is a
JSON string. Actors play what the head leases, and what nobody asked for.

Checked at every step, in the words of the design: I1 produced = trained + dropped + unsettled of an
actor; I2 received = trained + dropped + buffered of a learner; I3 leased = fulfilled + reissued +
open at the head; I4 the run closes: produced = trained + dropped + lost, error 0.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dm2_dist.comms.ledger import TRAINED, ActorBook, Counters, LearnerBook, Verdict, close
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason
from dm2_dist.config import RunConfig
from dm2_dist.sections import CollectionConfig, EvaluationConfig, ImitationConfig
from launch.dispatcher import Dispatcher, LearnerReport

AGENTS, TICKETS, WINDOW, CAPACITY, LEASE_SECONDS = 2, 2, 3, 12, 100.0
CONFIG = RunConfig(
    max_env_steps=10**9,
    collection=CollectionConfig(episodes_per_iteration=TICKETS, episodes_per_ticket=1),
    imitation=ImitationConfig(episodes_per_step=1),
    evaluation=EvaluationConfig(interval_env_steps=10**9),
)
ACTOR, AGENT, PICK = st.integers(0, 1), st.integers(0, AGENTS - 1), st.integers(0, 50)


class Sent(NamedTuple):
    addressed: int
    sequence: int
    ticket: tuple[int, int]


class Opening(NamedTuple):
    pass


class Granted(NamedTuple):
    incarnation: int
    amount: int
    opens: bool


class Settled(NamedTuple):
    incarnation: int
    outcomes: tuple[tuple[int, str], ...]


@dataclass
class Link:
    up: list = field(default_factory=list)
    down: list = field(default_factory=list)


@dataclass
class Actor:
    """One incarnation; leases: tickets on their way to it or in its hands."""

    source: Source
    book: ActorBook
    links: list[Link]
    produced: list[int]
    leases: list[tuple[int, int]] = field(default_factory=list)
    introduced: bool = False

    @property
    def key(self):
        return self.source.name, self.source.incarnation

    def holding(self):
        held = {*self.book.payloads(), *self.leases}
        return sorted(f"train/{iteration}/{index}" for iteration, index in held)


@dataclass
class Learner:
    book: LearnerBook = field(default_factory=LearnerBook)
    incarnation: int = 1
    disk: str = field(default_factory=lambda: LearnerBook().to_json())


class World(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.births = 0
        self.files: dict[Source, Counters] = {}
        self.tickets: dict[tuple[Source, int, int], tuple[int, int]] = {}
        self.trained: Counter = Counter()
        self.learners = [Learner() for _ in range(AGENTS)]
        self.now = 0.0
        self.head = Dispatcher(CONFIG, AGENTS, LEASE_SECONDS)
        self.reports: list[list[LearnerReport]] = [[] for _ in range(AGENTS)]
        self.actors = [self.be_born(slot) for slot in range(2)]

    def be_born(self, slot):
        self.births += 1
        source = Source(name=f"actor-{slot}", incarnation=self.births)
        actor = Actor(
            source, ActorBook(AGENTS, CAPACITY), [Link() for _ in range(AGENTS)], [0] * AGENTS
        )
        self.note(actor, closed=False)
        for agent in range(AGENTS):
            self.say_open(actor, agent)
        return actor

    def note(self, actor, closed):
        counts = tuple(actor.produced)
        self.files[actor.source] = Counters(actor.source, counts, (0,) * AGENTS, closed)

    def say_open(self, actor, agent):
        actor.book.on_open(agent)
        actor.links[agent].up.append(Opening())

    # --- what actors do ---

    @rule(slot=ACTOR, ahead=st.integers(0, 1), index=st.integers(0, TICKETS - 1))
    def play_unasked(self, slot, ahead, index):
        """As after a lease that expired: somebody else may have played it, too."""
        ticket = min(learner.book.version for learner in self.learners) + ahead, index
        self.play(self.actors[slot], ticket)

    @rule(slot=ACTOR, pick=PICK)
    def play_leased(self, slot, pick):
        actor = self.actors[slot]
        if actor.leases and not actor.book.is_full:
            self.play(actor, actor.leases.pop(pick % len(actor.leases)))

    def play(self, actor, ticket):
        if actor.book.is_full:
            return
        for agent in range(AGENTS):
            sequence = actor.book.produce(agent, ticket)
            self.tickets[actor.source, agent, sequence] = ticket
            actor.produced[agent] += 1
        self.note(actor, closed=False)

    @rule(slot=ACTOR, agent=AGENT)
    def send(self, slot, agent):
        actor = self.actors[slot]
        waiting = actor.book.to_send(agent)
        if waiting is not None:
            sequence, ticket = waiting
            addressed = actor.book.incarnation(agent)
            actor.links[agent].up.append(Sent(addressed, sequence, ticket))
            actor.book.sent(agent, sequence)

    @rule(slot=ACTOR, agent=AGENT, pick=PICK, again=st.booleans())
    def hear(self, slot, agent, pick, again):
        actor = self.actors[slot]
        match self.take(actor.links[agent].down, pick, again):
            case Granted(incarnation, amount, opens):
                actor.book.on_credit(agent, incarnation, amount, opens=opens)
            case Settled(incarnation, outcomes):
                for ticket, outcome in actor.book.on_settle(agent, incarnation, outcomes):
                    if outcome not in (TRAINED, Reason.SHUTDOWN):
                        self.head.give_back(actor.key, "train/{}/{}".format(*ticket))

    # --- what goes on with the head ---

    @rule(slot=ACTOR, heard=st.booleans())
    def ask(self, slot, heard):
        """HELLO or WANT; lost, if not heard."""
        actor = self.actors[slot]
        if not heard:
            return
        if not actor.introduced:
            actor.introduced = True
            self.head.holds(actor.key, actor.holding(), self.now)
        elif not actor.leases:
            self.head.want(actor.key)

    @rule(agent=AGENT)
    def say_what_arrived(self, agent):
        book = self.learners[agent].book
        known = range(max(0, book.version - 5), book.version + 1)
        self.reports[agent].append(
            LearnerReport(
                version=book.version,
                env_steps={version: 10 * version for version in known},
                received={i: frozenset(found) for i, found in book.buffered().items()},
                received_env_steps={},
            )
        )

    @rule(agent=AGENT, lost=st.booleans())
    def hear_what_arrived(self, agent, lost):
        if self.reports[agent]:
            report = self.reports[agent].pop(0)
            if not lost:
                self.head.learner_report(agent, report)

    @rule(lost=st.booleans())
    def lease(self, lost):
        present = {actor.key: actor for actor in self.actors}
        for key, ticket in list(self.head.assignments(self.now)):
            if key not in present:
                self.head.gone(key)
            elif lost:
                present[key].introduced = False  # the connection broke: it says HELLO again
            else:
                present[key].leases.append((ticket.iteration, ticket.index))

    @rule()
    def time_passes(self):
        self.now += LEASE_SECONDS / 3

    @rule()
    def kill_head(self):
        self.head = Dispatcher(CONFIG, AGENTS, LEASE_SECONDS)
        self.reports = [[] for _ in range(AGENTS)]
        for actor in self.actors:
            actor.introduced = False

    # --- what learners do ---

    @rule(slot=ACTOR, agent=AGENT, pick=PICK, again=st.booleans(), garbled=st.booleans())
    def receive(self, slot, agent, pick, again, garbled):
        actor, learner = self.actors[slot], self.learners[agent]
        down = actor.links[agent].down
        match self.take(actor.links[agent].up, pick, again):
            case Opening():
                down.append(Granted(learner.incarnation, WINDOW, True))
            case Sent(addressed, sequence, ticket) if addressed == learner.incarnation:
                down.append(Granted(learner.incarnation, 1, False))
                verdict = learner.book.receive(actor.source, sequence, *ticket)
                if verdict is Verdict.SETTLED:
                    outcome = learner.book.outcome(actor.source, sequence)
                    down.append(Settled(learner.incarnation, ((sequence, outcome),)))
                elif verdict is Verdict.ACCEPT and garbled:
                    learner.book.drop(actor.source, sequence, Reason.CORRUPT)

    @rule(agent=AGENT, dies=st.sampled_from(["", "", "before the write", "after the write"]))
    def train(self, agent, dies):
        learner = self.learners[agent]
        version = learner.book.version
        if learner.book.buffered().get(version) != tuple(range(TICKETS)):
            return
        self.write(agent, learner.book.commit(version), dies)

    @rule(agent=AGENT, dies=st.sampled_from(["", "", "before the write", "after the write"]))
    def settle_drops(self, agent, dies):
        self.write(agent, self.learners[agent].book.commit_drops(), dies)

    def write(self, agent, settlements, dies):
        learner = self.learners[agent]
        if dies == "before the write":
            self.kill_learner(agent, lossy=False)
            return
        learner.disk = learner.book.to_json()
        for source, sequence, outcome in settlements:
            if outcome == TRAINED:
                self.trained[agent, self.tickets[source, agent, sequence]] += 1
        if dies:
            self.kill_learner(agent, lossy=True)
            return
        for actor in self.actors:
            own = tuple(
                (s, outcome) for source, s, outcome in settlements if source == actor.source
            )
            if own:
                actor.links[agent].down.append(Settled(learner.incarnation, own))

    @rule(seed=st.integers(0, 2**32))
    def bustle(self, seed):
        """A busy moment: without it, single steps rarely add up to an iteration."""
        chance = random.Random(seed)
        for move in (chance.getrandbits(18) for _ in range(160)):
            slot, agent, what, pick = move & 1, move >> 1 & 1, move >> 2 & 31, move >> 7
            if what < 16:
                self.bustle_of_data(slot, agent, what, pick)
            else:
                self.bustle_of_control(slot, agent, what, pick)

    def bustle_of_data(self, slot, agent, what, pick):
        match what:
            case 0:
                self.play_unasked(slot, pick >> 1 & 1, pick & 1)
            case 1:
                self.play_leased(slot, pick)
            case 2 | 3 | 4 | 5:
                self.send(slot, agent)
            case 6 | 7 | 8 | 9:
                self.receive(slot, agent, pick, pick % 7 == 0, pick % 11 == 0)
            case 10 | 11 | 12 | 13:
                self.hear(slot, agent, pick, pick % 7 == 0)
            case 14:
                self.train(agent, ("", "", "before the write", "after the write")[pick % 4])
            case 15:
                self.settle_drops(agent, "")

    def bustle_of_control(self, slot, agent, what, pick):
        match what:
            case 16 | 17 | 18:
                self.play_leased(slot, pick)
            case 19 | 20 | 21:
                self.ask(slot, pick % 9 > 0)
            case 22 | 23:
                self.say_what_arrived(agent)
            case 24 | 25:
                self.hear_what_arrived(agent, pick % 9 == 0)
            case 26 | 27:
                self.lease(pick % 13 == 0)
            case 28:
                self.time_passes()
            case _:
                self.send(slot, agent)

    # --- what goes wrong ---

    @rule(slot=ACTOR)
    def kill_actor(self, slot):
        dead = self.actors[slot]
        self.actors[slot] = self.be_born(slot)
        if dead.source.incarnation % 2:  # otherwise nobody tells the head: its leases expire
            self.head.gone(dead.key)

    @rule(agent=AGENT, lossy=st.booleans())
    def kill_learner(self, agent, lossy):
        learner = self.learners[agent]
        learner.book = LearnerBook.from_json(learner.disk)
        learner.incarnation += 1
        for actor in self.actors:
            self.reconnect(actor, agent, lossy)

    @rule(slot=ACTOR, agent=AGENT)
    def disconnect(self, slot, agent):
        self.reconnect(self.actors[slot], agent, lossy=True)

    def reconnect(self, actor, agent, lossy):
        if lossy:
            actor.links[agent] = Link()
        self.say_open(actor, agent)

    @staticmethod
    def take(bag, pick, again):
        if not bag:
            return None
        return bag[pick % len(bag)] if again else bag.pop(pick % len(bag))

    # --- what must hold ---

    @invariant()
    def every_process_balances(self):
        for actor in self.actors:
            for agent in range(AGENTS):
                assert actor.book.account(agent).imbalance == 0
                assert actor.book.account(agent).unsettled <= CAPACITY
        assert self.head.account().imbalance == 0
        for learner in self.learners:
            assert learner.book.account().imbalance == 0
            assert all(i >= learner.book.version for i in learner.book.buffered())

    @invariant()
    def nothing_is_trained_twice(self):
        assert all(count == 1 for count in self.trained.values())
        for agent, learner in enumerate(self.learners):
            version = LearnerBook.from_json(learner.disk).version
            whole = {(agent, (i, j)) for i in range(version) for j in range(TICKETS)}
            assert {key for key in self.trained if key[0] == agent} == whole

    @invariant()
    def what_is_not_on_disk_is_still_held(self):
        for agent, learner in enumerate(self.learners):
            disk = LearnerBook.from_json(learner.disk)
            for actor in self.actors:
                trained, dropped = disk.settled(actor.source)
                account = actor.book.account(agent)
                on_disk = trained + sum(dropped.values())
                assert account.produced - on_disk <= account.unsettled
                assert account.trained <= trained
                assert all(dropped[reason] >= n for reason, n in account.dropped.items())

    @invariant()
    def the_run_closes(self):
        self.assert_closed()

    def assert_closed(self):
        books = {a: LearnerBook.from_json(self.learners[a].disk) for a in range(AGENTS)}
        totals = close(self.files.values(), books)
        parts = totals.trained + sum(totals.dropped.values()) + sum(totals.lost.values())
        assert totals.error == 0
        assert totals.produced == parts == sum(sum(f.produced) for f in self.files.values())
        return totals

    def teardown(self):
        if not hasattr(self, "learners"):
            return
        goal = max(learner.book.version for learner in self.learners) + 1
        for _ in range(40):
            if all(learner.book.version >= goal for learner in self.learners):
                break
            self.time_passes()
            self.follow_the_head()
            self.flush()
        assert all(learner.book.version >= goal for learner in self.learners), "stuck"
        for learner in self.learners:
            learner.book.drop_all(Reason.SHUTDOWN)
        for _ in range(40):
            self.flush()
        for actor in self.actors:
            assert actor.book.unsettled == 0, "something is never settled"
            self.note(actor, closed=True)
        self.every_process_balances()
        self.nothing_is_trained_twice()
        self.assert_closed()

    def follow_the_head(self):
        """Play whatever the head leases: it alone must find everything that is missing."""
        for agent in range(AGENTS):
            self.say_what_arrived(agent)
            while self.reports[agent]:
                self.hear_what_arrived(agent, False)
        for slot in range(2):
            self.ask(slot, True)
            self.ask(slot, True)
        self.lease(False)
        for slot in range(2):
            self.play_leased(slot, 0)

    def flush(self):
        for slot in range(2):
            for agent in range(AGENTS):
                link = self.actors[slot].links[agent]
                for _ in range(3):
                    while link.down:
                        self.hear(slot, agent, 0, False)
                    self.send(slot, agent)
                    while link.up:
                        self.receive(slot, agent, 0, False, False)
        for agent in range(AGENTS):
            self.train(agent, "")
            self.settle_drops(agent, "")


World.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWorld = World.TestCase
