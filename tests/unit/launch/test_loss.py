"""Losses while a run goes on: counted once nobody can have what a killed actor produced."""

from pathlib import Path

import pytest

from dm2_dist import checkpoint
from dm2_dist.comms import ledger
from dm2_dist.comms.ledger import Counters, LearnerBook
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason
from launch.loss import Losses

OLD, NEW = Source(name="actor-0", incarnation=1), Source(name="actor-0", incarnation=2)
HORIZON = 4


class Disk:
    """The checkpoints of two learners, and their books."""

    def __init__(self, root: Path) -> None:
        self.folders = [root / "0", root / "1"]
        self.books = [LearnerBook(), LearnerBook()]
        self.sequences = [0, 0]

    def commit(self, agent: int, iteration: int) -> None:
        self.books[agent].commit(iteration)
        self.write(agent)

    def write(self, agent: int) -> None:
        self.sequences[agent] += 1
        facts = {"books": self.books[agent].to_json()}
        checkpoint.save(self.folders[agent], self.sequences[agent], facts, {})


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def counters(
    source: Source, produced: int, settled: int = 0, *, closed: bool = False, afar: bool = False
) -> Counters:
    return Counters(source, (produced,) * 2, (settled,) * 2, closed=closed, announced=afar)


def test_what_a_killed_actor_had_is_lost_once_no_learner_can_have_it(disk: Disk) -> None:
    losses = Losses(disk.folders, HORIZON)
    for agent in (0, 1):  # of three trajectories, both learners have one and learner 1 another
        disk.books[agent].receive(OLD, 0, 0, 0)
    disk.books[1].receive(OLD, 1, 2, 1)
    entries = [counters(OLD, 3), counters(NEW, 0)]
    for version in range(HORIZON):
        losses.look(entries, version, 0)
        assert losses.totals.total() == 0
        for agent in (0, 1):
            disk.commit(agent, version)
    losses.look(entries, HORIZON, 0)
    assert losses.totals[ledger.ACTOR_DIED] == 2 + 1
    for version in range(HORIZON, 3 * HORIZON):
        losses.look(entries, version, 0)
        for agent in (0, 1):
            disk.commit(agent, version)
    assert losses.totals[ledger.ACTOR_DIED] == 3
    books = dict(enumerate(disk.books))
    assert ledger.close(entries, books).lost == {ledger.ACTOR_DIED: 3}


def test_what_was_dropped_is_not_lost(disk: Disk) -> None:
    losses = Losses(disk.folders, 1)
    entries = [counters(OLD, 1), counters(NEW, 0)]
    losses.look(entries, 0, 0)
    for agent in (0, 1):
        disk.books[agent].receive(OLD, 0, 0, 0)
        disk.books[agent].drop(OLD, 0, Reason.CORRUPT)
        disk.commit(agent, 0)
    losses.look(entries, 1, 0)
    assert losses.totals.total() == 0


@pytest.mark.parametrize(
    "entries",
    [
        [counters(NEW, 9)],
        [counters(OLD, 9, closed=True), counters(NEW, 0)],
        [counters(OLD, 9, afar=True), counters(NEW, 0, afar=True)],
    ],
)
def test_who_lives_or_left_or_is_far_away_has_lost_nothing(
    disk: Disk, entries: list[Counters]
) -> None:
    losses = Losses(disk.folders, 1)
    for version in range(3):
        losses.look(entries, version, 0)
        for agent in (0, 1):
            disk.commit(agent, version)
    assert losses.totals.total() == 0


def test_without_every_learners_newest_commit_it_waits(disk: Disk) -> None:
    losses = Losses(disk.folders, 1)
    entries = [counters(OLD, 1), counters(NEW, 0)]
    losses.look(entries, 0, 0)
    losses.look(entries, 1, 0)  # nobody has committed
    disk.commit(0, 0)
    losses.look(entries, 1, 0)
    disk.commit(1, 0)
    losses.look(entries, 2, 0)  # newer commits are on their way
    assert losses.totals.total() == 0
    manifest = checkpoint.commits(disk.folders[1])[-1] / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:20])
    losses.look(entries, 1, 0)
    assert losses.totals.total() == 0
    manifest.write_bytes(whole)
    losses.look(entries, 1, 0)
    assert losses.totals[ledger.ACTOR_DIED] == 2


def test_a_learner_that_fell_back_has_lost_what_actors_forgot(disk: Disk) -> None:
    losses = Losses(disk.folders, HORIZON)
    entries = [counters(NEW, 5, settled=3)]
    for agent in (0, 1):
        for sequence in range(3 - agent):  # learner 1 has one less than the actor heard of
            disk.books[agent].receive(NEW, sequence, 0, sequence)
        disk.commit(agent, 0)
    losses.look(entries, 1, 0)
    assert losses.totals.total() == 0
    disk.books[1].note_rollback()
    disk.write(1)
    losses.look(entries, 1, learner_restarts=1)
    losses.look(entries, 1, learner_restarts=1)
    assert losses.totals == {ledger.ROLLED_BACK: 1}
