"""The dispatcher alone, then in a simulated run in which everything may die at any moment."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dm2_dist import seeding
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.sections import AsynchronyConfig, CollectionConfig, EvaluationConfig, ImitationConfig
from launch.dispatcher import Dispatcher, LearnerReport

LEASE = 100.0
K = 2
SIZE = 3
"""Tickets of an iteration."""


def make_config(schedule="pipelined", max_env_steps=30, interval=12, episodes=2):
    return RunConfig(
        schedule=schedule,
        max_env_steps=max_env_steps,
        collection=CollectionConfig(episodes_per_iteration=SIZE, episodes_per_ticket=1),
        imitation=ImitationConfig(episodes_per_step=1),
        evaluation=EvaluationConfig(interval_env_steps=interval, episodes=episodes),
        asynchrony=AsynchronyConfig(max_lag=3),
    )


def report(version=0, steps=None, received=None, received_steps=None):
    return LearnerReport(
        version=version,
        env_steps={0: 0} if steps is None else steps,
        received={i: frozenset(indices) for i, indices in (received or {}).items()},
        received_env_steps=received_steps or {},
    )


def make_dispatcher(config, *reports):
    dispatcher = Dispatcher(config, K, LEASE)
    for agent, known in enumerate(reports):
        dispatcher.learner_report(agent, known)
    return dispatcher


def lease_all(dispatcher, now=0.0, actors=50):
    """Give out everything there is, each ticket to an actor of its own."""
    for index in range(actors):
        dispatcher.want((f"actor-{index}", 1))
    return {ticket.ticket_id: actor for actor, ticket in dispatcher.assignments(now)}


# --- single decisions ---


def test_nothing_is_leased_before_every_learner_has_reported():
    dispatcher = make_dispatcher(make_config(), report())
    assert dispatcher.version == -1
    assert lease_all(dispatcher) == {}
    dispatcher.learner_report(1, report())
    assert lease_all(dispatcher, actors=0)


@pytest.mark.parametrize(
    ("schedule", "open_iterations"),
    [("sync", {4}), ("pipelined", {4, 5}), ("async", {4, 5, 6, 7})],
)
def test_the_schedule_bounds_what_is_open(schedule, open_iterations):
    steps = {3: 9, 4: 12}
    dispatcher = make_dispatcher(
        make_config(schedule, interval=1000), report(4, steps), report(4, steps)
    )
    leased = lease_all(dispatcher)
    assert set(leased) == {f"train/{i}/{n}" for i in open_iterations for n in range(SIZE)}


def test_the_slowest_learner_decides_what_is_open():
    config = make_config("sync", interval=1000)
    dispatcher = make_dispatcher(config, report(1, {0: 0, 1: 6}), report(0))
    assert set(lease_all(dispatcher)) == {f"train/0/{n}" for n in range(SIZE)}


def test_actors_are_served_in_the_order_they_asked():
    dispatcher = make_dispatcher(make_config(), report(), report())
    for name in ("b", "a", "c"):
        dispatcher.want((name, 1))
    served = [(actor[0], ticket.index) for actor, ticket in dispatcher.assignments(0.0)]
    assert served == [("b", 0), ("a", 1), ("c", 2)]


def test_asking_twice_gives_one_ticket():
    dispatcher = make_dispatcher(make_config(), report(), report())
    for _ in range(2):
        dispatcher.want(("a", 1))
    assert len(list(dispatcher.assignments(0.0))) == 1


def test_an_evaluation_comes_after_the_oldest_open_iteration_and_before_the_next():
    steps = {0: 0, 1: 15}
    dispatcher = make_dispatcher(make_config(), report(1, steps), report(1, steps))
    assert list(lease_all(dispatcher)) == [
        *(f"train/1/{n}" for n in range(SIZE)),
        *(f"evaluate/1/{n}" for n in range(2)),
        *(f"train/2/{n}" for n in range(SIZE)),
    ]


def test_a_ticket_is_open_until_every_learner_has_it():
    half = report(received={0: {0, 1}})
    dispatcher = make_dispatcher(make_config("sync"), half, report(received={0: {1}}))
    assert set(lease_all(dispatcher)) == {"train/0/0", "train/0/2"}


def test_a_lease_ends_with_its_actor():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    first = lease_all(dispatcher)
    assert dispatcher.gone(first["train/0/1"]) == 1
    assert set(lease_all(dispatcher)) == {"train/0/1"}
    assert dispatcher.reissued == 1


def test_an_actor_that_is_gone_gets_nothing():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.want(("a", 1))
    assert dispatcher.gone(("a", 1)) == 0
    assert list(dispatcher.assignments(0.0)) == []


def test_a_lease_that_never_arrived_ends_when_its_actor_says_hello_again():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    for _ in range(2):
        dispatcher.want(("a", 1))
        assert len(list(dispatcher.assignments(0.0))) == 1
    dispatcher.holds(("a", 1), ["train/0/1"], now=1.0)
    assert set(lease_all(dispatcher)) == {"train/0/0", "train/0/2"}


def test_a_ticket_given_back_is_leased_again():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    leased = lease_all(dispatcher, actors=SIZE)
    dispatcher.give_back(leased["train/0/2"], "train/0/2")
    assert set(lease_all(dispatcher)) == {"train/0/2"}


def test_only_the_holder_of_a_ticket_can_give_it_back():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    leased = lease_all(dispatcher, actors=SIZE)
    dispatcher.give_back(leased["train/0/1"], "train/0/2")
    dispatcher.give_back(("stranger", 1), "train/9/9")
    assert lease_all(dispatcher) == {}


def test_the_next_incarnation_of_a_name_does_not_inherit_leases():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.want(("a", 1))
    (_, ticket), *_ = dispatcher.assignments(0.0)
    dispatcher.gone(("a", 2))
    assert ticket.ticket_id not in lease_all(dispatcher)


def test_a_lease_ends_with_its_deadline():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    lease_all(dispatcher, now=0.0)
    assert lease_all(dispatcher, now=LEASE) == {}
    assert len(lease_all(dispatcher, now=LEASE + 1)) == SIZE
    assert dispatcher.reissued == SIZE


def test_a_restarted_learner_that_has_less_gets_it_again():
    done = report(received={0: {0, 1, 2}})
    dispatcher = make_dispatcher(make_config("sync"), done, done)
    assert lease_all(dispatcher) == {}
    dispatcher.learner_report(0, report(received={0: {1}}))
    assert set(lease_all(dispatcher)) == {"train/0/0", "train/0/2"}


def test_a_ticket_needed_again_does_not_wait_for_a_lease_that_was_fulfilled():
    dispatcher = make_dispatcher(make_config("sync", interval=1000), report(), report())
    lease_all(dispatcher, actors=SIZE)
    for known in (report(1, {0: 0, 1: 6}), report(0)):
        for agent in range(K):
            dispatcher.learner_report(agent, known)
    dispatcher.want(("new", 1))
    assert [ticket.ticket_id for _, ticket in dispatcher.assignments(1.0)] == ["train/0/0"]


def test_a_new_head_leaves_actors_what_they_hold():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.holds(("a", 1), ["train/0/0"], now=5.0)
    assert set(lease_all(dispatcher, now=6.0)) == {"train/0/1", "train/0/2"}
    dispatcher.gone(("a", 1))
    assert set(lease_all(dispatcher, now=7.0)) == {"train/0/0"}


def test_what_is_held_stays_so_until_every_learner_has_reported():
    dispatcher = make_dispatcher(make_config("sync"))
    dispatcher.holds(("a", 1), ["train/0/0"], now=0.0)
    dispatcher.learner_report(0, report(received={0: {0}}))
    dispatcher.learner_report(1, report())
    assert set(lease_all(dispatcher)) == {"train/0/1", "train/0/2"}


def test_what_is_held_expires_too():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.holds(("a", 1), ["train/0/0"], now=5.0)
    assert "train/0/0" in lease_all(dispatcher, now=6.0 + LEASE)


def test_the_first_to_claim_a_ticket_keeps_it():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.holds(("a", 1), ["train/0/0"], now=0.0)
    dispatcher.holds(("b", 1), ["train/0/0"], now=0.0)
    assert dispatcher.gone(("b", 1)) == 0
    assert dispatcher.gone(("a", 1)) == 1


def test_training_stops_where_the_env_steps_are_reached():
    steps = {0: 0, 1: 30}
    dispatcher = make_dispatcher(
        make_config(max_env_steps=30, interval=1000), report(1, steps), report(1, steps)
    )
    assert dispatcher.trained_out
    assert set(lease_all(dispatcher)) == {"evaluate/1/0", "evaluate/1/1"}


def test_the_next_iteration_stays_closed_once_this_one_is_known_to_be_the_last():
    nearly = report(received={0: {0, 1}}, received_steps={0: 29})
    over = report(received={0: {0, 1}}, received_steps={0: 30})
    config = make_config(max_env_steps=30)
    assert "train/1/0" in lease_all(make_dispatcher(config, nearly, nearly))
    assert set(lease_all(make_dispatcher(config, nearly, over))) == {"train/0/2"}


def test_the_end_is_evaluated_even_between_two_multiples():
    config = make_config(max_env_steps=30, interval=1000)
    last = report(1, {0: 0, 1: 31})
    dispatcher = make_dispatcher(config, last, last)
    assert dispatcher.trained_out
    assert not dispatcher.finished
    assert set(lease_all(dispatcher)) == {"evaluate/1/0", "evaluate/1/1"}
    dispatcher.evaluated.add(1)
    assert dispatcher.finished


def test_learners_that_counted_other_playings_end_with_the_same_version():
    """In `async` a ticket that is played again may be longer or shorter for some learners."""
    config = make_config("async", max_env_steps=30, interval=1000)
    reports = [report(2, {1: 15, 2: 31}), report(2, {1: 14, 2: 29})]
    for order in (reports, reports[::-1]):
        dispatcher = make_dispatcher(config, *order)
        assert dispatcher.trained_out
        assert dispatcher.env_steps_of(2) == 31
        assert set(lease_all(dispatcher)) == {"evaluate/2/0", "evaluate/2/1"}


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [(0, 11, []), (0, 12, [1]), (11, 12, [1]), (12, 23, []), (12, 40, [1])],
)
def test_an_evaluation_is_due_where_a_multiple_of_the_interval_is_crossed(before, after, due):
    config = make_config(max_env_steps=1000, interval=12)
    known = report(1, {0: before, 1: after})
    assert make_dispatcher(config, known, known).pending_evaluations() == due


def test_an_evaluate_ticket_is_not_played_twice():
    steps = {0: 0, 1: 15}
    dispatcher = make_dispatcher(make_config(), report(1, steps), report(1, steps))
    dispatcher.evaluate_result(1, 0)
    leased = lease_all(dispatcher)
    assert "evaluate/1/0" not in leased
    assert "evaluate/1/1" in leased


def test_the_parameters_of_a_pending_evaluation_are_kept():
    steps = {0: 0, 1: 15, 2: 18, 3: 20}
    dispatcher = make_dispatcher(make_config(), report(3, steps), report(3, steps))
    assert dispatcher.keep_from <= 1
    dispatcher.evaluated.add(1)
    assert dispatcher.keep_from == 2


def test_a_new_head_finds_an_old_evaluation_that_is_still_due():
    """It hears of retained versions only: what shows that one is due must be retained too."""
    steps = {version: 5 * version for version in range(8)}
    known = report(7, steps)
    config = make_config(max_env_steps=1000, interval=12)
    before = make_dispatcher(config, known, known)
    before.evaluated.add(5)
    assert before.pending_evaluations() == [3]
    retained = {version: 5 * version for version in range(before.keep_from, 8)}
    after = make_dispatcher(config, report(7, retained), report(7, retained))
    after.evaluated.add(5)
    assert after.pending_evaluations() == [3]


def test_tickets_are_counted_by_state():
    dispatcher = make_dispatcher(make_config("sync"), report(), report())
    dispatcher.want(("a", 1))
    list(dispatcher.assignments(0.0))
    assert dispatcher.ticket_counts() == {"waiting": SIZE - 1, "leased": 1}


# --- a whole run, simulated ---


@dataclass
class Learner:
    """What a learner has: commits on disk, trajectories in memory.

    retained: version -> env steps of the parameters on disk.
    commits: the newest three, (version, history) each.
    thrown_back: it lost a commit; what was played for what came after may find no room.
    """

    lag: int
    keep_from: int = 0
    version: int = 0
    retained: dict[int, int] = field(default_factory=lambda: {0: 0})
    commits: list[tuple[int, dict[int, int]]] = field(default_factory=lambda: [(0, {0: 0})])
    received: dict[int, dict[int, int]] = field(default_factory=dict)
    thrown_back: bool = False

    def commit(self, env_steps):
        self.version += 1
        self.retained[self.version] = env_steps
        self.commits = [*self.commits, (self.version, dict(self.retained))][-3:]
        oldest = min(self.keep_from, self.version - (2 * self.lag + 4) + 1)
        self.retained = {v: steps for v, steps in self.retained.items() if v >= oldest}

    def restart(self, damaged):
        """Start again from the newest commit that is not damaged."""
        self.commits = self.commits[: len(self.commits) - damaged]
        self.thrown_back |= damaged > 0
        self.version, history = self.commits[-1]
        self.retained = {v: steps for v, steps in self.retained.items() if v in history}
        self.received = {}

    def report(self, config):
        return report(
            self.version,
            dict(self.retained),
            {i: set(found) for i, found in self.received.items()},
            {i: sum(found.values()) for i, found in self.received.items()},
        )


@dataclass
class Actor:
    """A live actor: what it plays, and per learner what it must keep.

    known: it has introduced itself to the present head.
    """

    key: tuple[str, int]
    known: bool = True
    hungry: bool = False
    playing: tickets.Ticket | None = None
    unsettled: list[set[tuple[int, int]]] = field(default_factory=lambda: [set() for _ in range(K)])

    def holding(self):
        held = {f"train/{i}/{n}" for lane in self.unsettled for i, n in lane}
        return held | ({self.playing.ticket_id} if self.playing else set())


def env_steps_of_ticket(iteration, index):
    return 1 + seeding.derive("length", iteration, index) % 4


def env_steps_until(iteration):
    return sum(env_steps_of_ticket(i, n) for i in range(iteration) for n in range(SIZE))


class Run(RuleBasedStateMachine):
    """Head, two learners and a few actors; every rule is one event of one of them."""

    @initialize(
        schedule=st.sampled_from(["sync", "pipelined", "async"]),
        max_env_steps=st.sampled_from([1, 30, 80]),
        interval=st.sampled_from([7, 12, 1000]),
    )
    def begin(self, schedule, max_env_steps, interval):
        self.config = make_config(schedule, max_env_steps, interval)
        self.lag = self.config.max_lag
        self.now = 0.0
        self.learners = [Learner(self.lag) for _ in range(K)]
        self.actors, self.dead, self.started = {}, [], 0
        self.evaluations = []
        self.start_head()
        for agent in range(K):
            self.learner_reports(agent)
        self.actor_joins()

    def start_head(self):
        self.head = Dispatcher(self.config, K, LEASE, evaluated=set(self.evaluations))
        self.leases, self.results = {}, {}
        self.reported = [None] * K
        for actor in self.actors.values():
            actor.known = actor.hungry = False

    # --- events ---

    @rule()
    @precondition(lambda self: len(self.actors) < 4)
    def actor_joins(self):
        self.started += 1
        key = (f"actor-{self.started % 3}", self.started)
        self.actors[key] = Actor(key)

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: self.actors)
    def actor_asks(self, pick):
        actor = self.pick(pick)
        if not actor.known:
            actor.known = True
            held = sorted(actor.holding())
            self.head.holds(actor.key, held, self.now)
            for name in set(self.leases) - set(held):
                self.forget_lease(actor.key, name)
            for name in held:
                self.leases.setdefault(name, (actor.key, self.now + LEASE))
        elif actor.playing is None:
            actor.hungry = True
            self.head.want(actor.key)

    @rule()
    def head_assigns(self):
        self.forget_fulfilled_leases()
        for key, ticket in self.head.assignments(self.now):
            self.check_assignment(ticket)
            self.leases[ticket.ticket_id] = (key, self.now + LEASE)
            actor = self.actors.get(key)
            if actor is not None:
                assert actor.hungry
                assert actor.playing is None
                actor.hungry, actor.playing = False, ticket

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: any(actor.playing for actor in self.actors.values()))
    def actor_finishes(self, pick):
        """It keeps what it played for the learners; a result that no head hears is lost."""
        actor = self.pick(pick)
        ticket = actor.playing
        if ticket is None:
            return
        if ticket.kind == tickets.TRAIN:
            for lane in actor.unsettled:
                lane.add((ticket.iteration, ticket.index))
        elif actor.known:
            self.note_result(actor, ticket)
        actor.playing = None

    @rule(pick=st.integers(0, 99), agent=st.integers(0, K - 1))
    @precondition(lambda self: self.actors)
    def trajectory_is_refused(self, pick, agent):
        """It was damaged: its learner settles it as dropped, its actor gives the ticket back."""
        actor = self.pick(pick)
        if not actor.unsettled[agent] or not actor.known:
            return
        iteration, index = sorted(actor.unsettled[agent])[0]
        if index not in self.learners[agent].received.get(iteration, ()):
            self.drop(actor, agent, iteration, index)

    def drop(self, actor, agent, iteration, index):
        name = f"train/{iteration}/{index}"
        actor.unsettled[agent].discard((iteration, index))
        self.head.give_back(actor.key, name)
        self.forget_lease(actor.key, name)

    @rule(pick=st.integers(0, 99), agent=st.integers(0, K - 1))
    def trajectory_arrives(self, pick, agent):
        waiting = [
            (actor, ticket)
            for actor in self.actors.values()
            for ticket in sorted(actor.unsettled[agent])
            if ticket[1] not in self.learners[agent].received.get(ticket[0], {})
        ]
        if not waiting:
            return
        actor, (iteration, index) = waiting[pick % len(waiting)]
        learner = self.learners[agent]
        if iteration < learner.version:
            actor.unsettled[agent].discard((iteration, index))
            return
        if iteration > learner.version + self.lag + 1:
            assert learner.thrown_back, "beyond the learner's room"
            self.drop(actor, agent, iteration, index)
            return
        learner.received.setdefault(iteration, {})[index] = env_steps_of_ticket(iteration, index)

    @rule(agent=st.integers(0, K - 1))
    def learner_trains(self, agent):
        learner = self.learners[agent]
        steps = learner.retained[learner.version]
        batch = learner.received.get(learner.version, {})
        if len(batch) < SIZE or steps >= self.config.max_env_steps:
            return
        del learner.received[learner.version]
        learner.commit(steps + sum(batch.values()))
        for actor in self.actors.values():
            lane = actor.unsettled[agent]
            actor.unsettled[agent] = {entry for entry in lane if entry[0] >= learner.version}

    @rule(agent=st.integers(0, K - 1))
    def learner_reports(self, agent):
        known = self.learners[agent].report(self.config)
        self.reported[agent] = known
        self.head.learner_report(agent, known)
        self.forget_fulfilled_leases()
        self.learners[agent].keep_from = self.head.keep_from

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: self.actors)
    def actor_dies(self, pick):
        actor = self.pick(pick)
        del self.actors[actor.key]
        self.dead.append(actor.key)

    @rule()
    @precondition(lambda self: self.dead)
    def death_is_noticed(self):
        key = self.dead.pop(0)
        self.head.gone(key)
        self.leases = {name: lease for name, lease in self.leases.items() if lease[0] != key}

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: self.actors)
    def actor_is_given_up_after_a_silence(self, pick):
        actor = self.pick(pick)
        actor.known = actor.hungry = False
        self.dead.insert(0, actor.key)
        self.death_is_noticed()

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: any(actor.playing for actor in self.actors.values()))
    def connection_breaks_with_a_lease(self, pick):
        actor = self.pick(pick, lambda actor: actor.playing is not None)
        actor.playing, actor.known = None, False

    @rule(agent=st.integers(0, K - 1), damaged=st.sampled_from([0, 0, 0, 1, 2]))
    def learner_restarts(self, agent, damaged):
        learner = self.learners[agent]
        learner.restart(min(damaged, len(learner.commits) - 1))

    @rule()
    def head_restarts(self):
        self.start_head()

    @rule(rounds=st.integers(1, 6), evaluate=st.booleans())
    def all_is_well_for_a_while(self, rounds, evaluate):
        for _ in range(rounds):
            self.one_round(evaluate=evaluate)

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1.0]))
    def time_passes(self, seconds):
        self.now += seconds

    # --- what must hold ---

    def check_assignment(self, ticket):
        holder = self.leases.get(ticket.ticket_id)
        assert holder is None or holder[1] < self.now, "leased to two"
        if ticket.kind == tickets.EVALUATE:
            assert ticket.iteration not in self.evaluations
            assert ticket.iteration in self.expected_evaluations()
        else:
            version = min(known.version for known in self.reported)
            assert version <= ticket.iteration <= version + self.lag
            before = range(ticket.iteration)
            everything_known = all(
                any(r.version > i or len(r.received.get(i, ())) == SIZE for r in self.reported)
                for i in before
            )
            if everything_known:
                assert env_steps_until(ticket.iteration) < self.config.max_env_steps
        assert self.head.keep_from <= min(ticket.versions)
        for agent in range(K):
            self.check_retained(agent, ticket.versions[agent])

    def check_retained(self, agent, version):
        """A version is there, or will be made again by a learner that was thrown back."""
        learner = self.learners[agent]
        assert version in learner.retained or version > learner.version, "parameters are gone"

    @invariant()
    def every_lease_is_accounted_for(self):
        assert self.head.account().imbalance == 0

    @invariant()
    def parameters_of_tickets_in_play_are_kept(self):
        if None in self.reported:
            return
        for actor in self.actors.values():
            ticket = actor.playing
            lease = self.leases.get(ticket.ticket_id) if ticket else None
            if lease is not None and lease[0] == actor.key and not self.fulfilled(ticket.ticket_id):
                assert self.head.keep_from <= min(ticket.versions)
                for agent in range(K):
                    self.check_retained(agent, ticket.versions[agent])

    @invariant()
    def evaluations_are_those_that_are_due(self):
        assert max(Counter(self.evaluations).values(), default=1) == 1
        assert set(self.evaluations) <= self.expected_evaluations()

    def teardown(self):
        """Once everybody is up again, the run ends, all trained and all evaluated."""
        if not hasattr(self, "head"):
            return
        while self.dead:
            self.death_is_noticed()
        if not self.actors:
            self.actor_joins()
        for _ in range(200):
            self.one_round()
            if self.head.finished:
                break
        assert self.head.finished, self.head.ticket_counts()
        last = self.last_version()
        assert [learner.version for learner in self.learners] == [last] * K
        assert [learner.retained[last] for learner in self.learners] == [env_steps_until(last)] * K
        assert set(self.evaluations) == self.expected_evaluations()
        assert self.head.ticket_counts()["waiting"] == 0

    def one_round(self, *, evaluate=True):
        """Everybody does what there is to do, and a little time passes.

        Unless told to `evaluate`, actors do not come to an end with evaluate tickets.
        """
        self.now += 1.0
        for agent in range(K):
            self.learner_reports(agent)
        for pick in range(len(self.actors)):
            self.actor_asks(pick)
        self.head_assigns()
        for pick, actor in enumerate(list(self.actors.values())):
            if actor.playing and (evaluate or actor.playing.kind == tickets.TRAIN):
                self.actor_finishes(pick)
        for agent in range(K):
            for _ in range(3 * SIZE * len(self.actors)):
                self.trajectory_arrives(0, agent)
            self.learner_trains(agent)

    # --- facts ---

    def pick(self, number, wanted=lambda actor: True):
        candidates = [actor for actor in self.actors.values() if wanted(actor)]
        return candidates[number % len(candidates)]

    def fulfilled(self, ticket_id):
        """What the learners' reports and the results say about a ticket."""
        kind, first, second = ticket_id.split("/")
        iteration, index = int(first), int(second)
        if kind == tickets.EVALUATE:
            return iteration in self.evaluations or index in self.results.get(iteration, ())
        return all(
            known is not None
            and (known.version > iteration or index in known.received.get(iteration, ()))
            for known in self.reported
        )

    def forget_lease(self, key, name):
        if name in self.leases and self.leases[name][0] == key:
            del self.leases[name]

    def forget_fulfilled_leases(self):
        for name in [name for name in self.leases if self.fulfilled(name)]:
            del self.leases[name]

    def note_result(self, actor, ticket):
        version = ticket.iteration
        if version in self.evaluations:
            return
        if version > self.head.version:
            self.head.give_back(actor.key, ticket.ticket_id)
            self.forget_lease(actor.key, ticket.ticket_id)
            return
        self.head.evaluate_result(version, ticket.index)
        assert self.head.env_steps_of(version) == env_steps_until(version)
        self.results.setdefault(version, set()).add(ticket.index)
        if len(self.results[version]) == self.config.evaluation.episodes:
            self.evaluations.append(version)
            self.head.evaluated.add(version)

    def last_version(self):
        version = 0
        while env_steps_until(version) < self.config.max_env_steps:
            version += 1
        return version

    def expected_evaluations(self):
        interval, last = self.config.evaluation.interval_env_steps, self.last_version()
        crossings = {
            version
            for version in range(1, last + 1)
            if env_steps_until(version) // interval > env_steps_until(version - 1) // interval
        }
        return crossings | {last}


def test_a_run_in_which_anything_may_die_trains_and_evaluates_everything():
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=100,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
