"""The whole delivery on real sockets and real files, with the faults that hypothesis thinks of.

Two actors, two learners and the head are the real ones of `stage`; killed means that the sockets
close without a word and everything in memory is gone. What the pure machine of the ledger checks
must hold here, too: I1 to I3 at every step, I4 and nothing trained twice whatever is on disk.
"""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from stage import TICKETS, Actor, K, Learner, kill_head, make_config, make_head

from dm2_dist import checkpoint
from dm2_dist.comms.ledger import ACTOR_DIED, LearnerBook, close
from dm2_dist.comms.sockets import AddressError, close_context
from dm2_dist.run_directory import RunDirectory
from launch.record import actor_counters

ACTORS = 2
ACTOR, AGENT = st.integers(0, ACTORS - 1), st.integers(0, K - 1)
PATIENCE_SECONDS = 20.0


class KilledError(Exception):
    """The process died at this instruction."""


def die(*_arguments):
    raise KilledError


class Delivery(RuleBasedStateMachine):
    @initialize(schedule=st.sampled_from(["sync", "pipelined"]))
    def begin(self, schedule):
        self.folder = Path(tempfile.mkdtemp(prefix="dm2-machine-"))
        self.root = self.folder / "run"
        self.config = make_config(schedule)
        self.births = 0
        self.stopped = set()
        self.address = f"ipc://{self.folder}/head"
        self.head = make_head(self.root, self.config, self.address)
        self.learners = [self.learner(agent) for agent in range(K)]
        self.actors = [Actor(self.root, f"actor-{slot}", self.address) for slot in range(ACTORS)]
        self.settle_down(1)

    def learner(self, agent):
        """A learner that was restarted listens elsewhere."""
        self.births += 1
        listen = tuple(f"ipc://{self.folder}/{what}{self.births}" for what in "tp")
        return Learner(self.root, self.config, agent, self.address, listen, self.root.name)

    # --- what goes on ---

    def everybody(self):
        """One turn of everybody who is not stopped."""
        self.head.step(0.0)
        for agent, learner in enumerate(self.learners):
            if ("learner", agent) not in self.stopped:
                learner.train()
                try:
                    learner.turn()
                except KilledError:
                    self.kill_learner(agent)
        for slot, actor in enumerate(self.actors):
            if ("actor", slot) not in self.stopped:
                actor.turn()
                actor.play()
        time.sleep(0.0005)

    @rule(turns=st.integers(1, 40))
    def go_on(self, turns):
        for _ in range(turns):
            self.everybody()

    def settle_down(self, iterations):
        """Go on until every learner has trained so many iterations more."""
        goal = min(self.versions()) + iterations
        deadline = time.monotonic() + PATIENCE_SECONDS
        while min(self.versions()) < goal:
            assert time.monotonic() < deadline, f"stuck before {goal}: {self.situation()}"
            self.everybody()

    def situation(self):
        """Who waits for what, for the message of a failure."""
        head = self.head.dispatcher
        lines = [f"versions {self.versions()} head {head.version} {self.head.phase}"]
        lines += [
            f"leases {head._leases} hungry {list(head._hungry)} peers {list(self.head.peers)}"
        ]
        for actor in self.actors:
            session, book = actor.session, actor.session.book
            lines += [f"{actor.source} waiting={session._waiting} leases={list(session._leases)}"]
            lines += [f"  welcome={session._head.welcome is not None} {session._head.learners}"]
            for agent in range(K):
                held = [parcel.ticket.ticket_id for parcel in book._lanes[agent].unsettled.values()]
                lane = book._lanes[agent]
                lines += [f"  {held} {lane.credits} {lane.opening} {lane.queue} {lane.incarnation}"]
        for learner in self.learners:
            book = learner.journal.book
            lines += [f"{learner.source} {learner.intake.addresses} {book.buffered()}"]
            lines += [f"  {book.account()} handed={learner.intake._handed} {learner.link.phase}"]
            lines += [f"  {learner.intake.correspondents.bans.refusals}"]
        return "\n".join(lines)

    def versions(self):
        return [learner.journal.version for learner in self.learners]

    # --- what goes wrong ---

    @rule(slot=ACTOR, reported=st.booleans())
    def kill_actor(self, slot, reported):
        dead = self.actors[slot]
        dead.kill()
        self.stopped.discard(("actor", slot))
        self.actors[slot] = Actor(self.root, f"actor-{slot}", self.address)
        peer = self.head.peers.get(dead.source.name)
        if reported and peer is not None:
            self.head._lose(peer)

    @rule(agent=AGENT)
    def kill_learner(self, agent):
        self.learners[agent].kill()
        self.stopped.discard(("learner", agent))
        self.learners[agent] = self.learner(agent)

    @rule(agent=AGENT, moment=st.sampled_from(["before the write", "before it is told"]))
    def doom_learner(self, agent, moment):
        """It dies in its next commit, just before or just after it is on disk."""
        learner = self.learners[agent]
        if moment == "before the write":
            learner.journal._write = die
        else:
            learner.intake.correspondents.settle = die

    @rule()
    def kill_head(self):
        kill_head(self.head)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:  # the socket lives for a moment longer than one of a killed process
            try:
                self.head = make_head(self.root, self.config, self.address)
                return
            except AddressError:
                assert time.monotonic() < deadline
                time.sleep(0.001)

    @rule(slot=ACTOR, agent=AGENT)
    def break_connection(self, slot, agent):
        self.actors[slot].break_connection(agent)

    @rule(slot=ACTOR, agent=AGENT, garbage=st.binary(max_size=40))
    def garble_towards_learner(self, slot, agent, garbage):
        """A message of an actor arrives as something else: it is lost, and that is noticed."""
        learners = self.actors[slot].session._learners
        if agent in learners and learners[agent].dealer._writable():
            book = self.actors[slot].session.book
            waiting = book.to_send(agent)
            learners[agent].dealer._socket.send(garbage)
            if waiting is not None:
                book.sent(agent, waiting[0])

    @rule(slot=ACTOR, agent=AGENT, garbage=st.binary(max_size=40))
    def garble_towards_actor(self, slot, agent, garbage):
        """What an actor would hear next from a learner arrives as something else."""
        learners = self.actors[slot].session._learners
        if agent in learners:
            learners[agent].dealer.recv()
            learners[agent]._garbled = True

    @rule(slot=ACTOR)
    def garble_the_head(self, slot):
        """What an actor would hear next from the head arrives as something else."""
        link = self.actors[slot].session._head
        if link.dealer.recv() is not None:
            link.hear(b"noise")

    @rule(who=st.sampled_from([("actor", 0), ("actor", 1), ("learner", 0), ("learner", 1)]))
    def stop_or_wake(self, who):
        self.stopped ^= {who}

    # --- what must hold ---

    @invariant()
    def every_process_balances(self):
        if not hasattr(self, "actors"):
            return
        for actor in self.actors:
            for agent in range(K):
                assert actor.session.book.account(agent).imbalance == 0
        for learner in self.learners:
            assert learner.journal.book.account().imbalance == 0
        assert self.head.dispatcher.account().imbalance == 0

    @invariant()
    def the_run_closes(self):
        if hasattr(self, "actors"):
            self.assert_closed()

    def assert_closed(self):
        books = {}
        for agent in range(K):
            commit = checkpoint.load_newest(RunDirectory(self.root).checkpoints(agent))
            book = LearnerBook.from_json(commit.facts["books"]) if commit else LearnerBook()
            assert book.account().trained == TICKETS * book.version, "not trained exactly once"
            books[agent] = book
        totals = close(actor_counters(RunDirectory(self.root)), books)
        gone = sum(totals.dropped.values()) + sum(totals.lost.values())
        assert totals.error == 0
        assert totals.produced == totals.trained + gone
        return totals

    def teardown(self):
        if not hasattr(self, "actors"):
            return
        try:
            self.stopped.clear()
            self.settle_down(2)
            self.drain()
            totals = self.assert_closed()
            assert set(totals.lost) <= {ACTOR_DIED}
            assert set(totals.dropped) <= {"duplicate", "shutdown", "corrupt"}
        finally:
            for actor in self.actors:
                with contextlib.suppress(ValueError, AttributeError):
                    actor.kill()
            for learner in self.learners:
                learner.kill()
            kill_head(self.head)
            close_context()
            shutil.rmtree(self.folder)

    def drain(self):
        self.head.drain("the test")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(actor.session.book.unsettled for actor in self.actors):
            assert time.monotonic() < deadline, "something is never settled"
            self.everybody()
        for actor in self.actors:
            actor.session._counters.close(clean=True)


FEW = settings(
    max_examples=5,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@pytest.mark.chaos
def test_any_faults_on_real_sockets():
    run_state_machine_as_test(Delivery, settings=FEW)


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_faults_on_real_sockets():
    many = settings(FEW, max_examples=200, stateful_step_count=30)
    run_state_machine_as_test(Delivery, settings=many)
