"""Losses while a run goes on: counted once nobody can have what a killed actor produced."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

    def __init__(self, root: Path, *, in_a_hurry: bool = False) -> None:
        self.in_a_hurry = in_a_hurry
        self.folders = [root / "0", root / "1"]
        self.file = root / "losses.json"
        self.books = [LearnerBook(), LearnerBook()]
        self.sequences = [0, 0]

    def commit(self, agent: int, iteration: int) -> None:
        self.books[agent].commit(iteration)
        self.write(agent)

    def write(self, agent: int) -> None:
        self.sequences[agent] += 1
        facts = {"books": self.books[agent].to_json()}
        if not self.in_a_hurry:
            checkpoint.save(self.folders[agent], self.sequences[agent], facts, {})
            return
        folder = self.folders[agent] / f"commit-{self.sequences[agent]:08d}"  # without a flush
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"facts": facts}))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def counters(
    source: Source, produced: int, settled: int = 0, *, closed: bool = False, afar: bool = False
) -> Counters:
    return Counters(source, (produced,) * 2, (settled,) * 2, closed=closed, announced=afar)


def test_what_a_killed_actor_had_is_lost_once_no_learner_can_have_it(disk: Disk) -> None:
    losses = Losses(disk.folders, HORIZON, disk.file)
    for agent in (0, 1):  # of three trajectories, both learners have one and learner 1 another
        disk.books[agent].receive(OLD, 0, 0, 0)
    disk.books[1].receive(OLD, 1, 2, 1)
    entries = [counters(OLD, 3), counters(NEW, 0)]
    for version in range(HORIZON):
        losses.look(entries, version, 0)
        assert losses.known.total() == 0
        for agent in (0, 1):
            disk.commit(agent, version)
    losses.look(entries, HORIZON, 0)
    assert losses.known[ledger.ACTOR_DIED] == 2 + 1
    for version in range(HORIZON, 3 * HORIZON):
        losses.look(entries, version, 0)
        for agent in (0, 1):
            disk.commit(agent, version)
    assert losses.known[ledger.ACTOR_DIED] == 3
    books = dict(enumerate(disk.books))
    assert ledger.close(entries, books).lost == {ledger.ACTOR_DIED: 3}


def test_what_was_dropped_is_not_lost(disk: Disk) -> None:
    losses = Losses(disk.folders, 1, disk.file)
    entries = [counters(OLD, 1), counters(NEW, 0)]
    losses.look(entries, 0, 0)
    for agent in (0, 1):
        disk.books[agent].receive(OLD, 0, 0, 0)
        disk.books[agent].drop(OLD, 0, Reason.CORRUPT)
        disk.commit(agent, 0)
    losses.look(entries, 1, 0)
    assert losses.known.total() == 0


@pytest.mark.parametrize(
    "entries",
    [
        [counters(NEW, 9)],
        [counters(OLD, 9, closed=True), counters(NEW, 0)],
        [counters(OLD, 9, afar=True)],
    ],
)
def test_who_lives_or_left_or_is_far_away_has_lost_nothing(
    disk: Disk, entries: list[Counters]
) -> None:
    losses = Losses(disk.folders, 1, disk.file)
    for version in range(3):
        losses.look(entries, version, 0)
        for agent in (0, 1):
            disk.commit(agent, version)
    assert losses.known.total() == 0


def test_without_every_learners_newest_commit_it_waits(disk: Disk) -> None:
    losses = Losses(disk.folders, 1, disk.file)
    entries = [counters(OLD, 1), counters(NEW, 0)]
    losses.look(entries, 0, 0)
    losses.look(entries, 1, 0)  # nobody has committed
    disk.commit(0, 0)
    losses.look(entries, 1, 0)
    disk.commit(1, 0)
    manifest = checkpoint.commits(disk.folders[1])[-1] / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:20])
    losses.look(entries, 1, 0)
    assert losses.known.total() == 0
    manifest.write_bytes(whole)
    losses.look(entries, 2, 0)  # newer commits are on their way
    assert losses.known.total() == 0
    losses.look(entries, 1, 0)
    assert losses.known[ledger.ACTOR_DIED] == 2


def test_a_learner_that_fell_back_has_lost_what_actors_forgot(disk: Disk) -> None:
    losses = Losses(disk.folders, HORIZON, disk.file)
    entries = [counters(NEW, 5, settled=3)]
    for agent in (0, 1):
        for sequence in range(3 - agent):  # learner 1 has one less than the actor heard of
            disk.books[agent].receive(NEW, sequence, 0, sequence)
        disk.commit(agent, 0)
    losses.look(entries, 1, 0)
    assert losses.known.total() == 0
    disk.books[1].note_rollback()
    disk.write(1)
    losses.look(entries, 1, learner_restarts=1)
    losses.look(entries, 1, learner_restarts=1)
    assert losses.known == {ledger.ROLLED_BACK: 1}


def test_what_the_dead_made_is_in_doubt_until_it_is_settled_or_lost(disk: Disk) -> None:
    losses = Losses(disk.folders, HORIZON, disk.file)
    losses.ended(OLD.name, OLD.incarnation)
    entries = [counters(OLD, 2)]  # nobody has taken its name yet
    losses.look(entries, -1, 0)
    assert (losses.in_doubt, losses.known.total()) == (4, 0)
    disk.books[0].receive(OLD, 0, 0, 0)
    for version in range(1, HORIZON + 1):
        for agent in (0, 1):
            disk.commit(agent, version - 1)
        losses.look(entries, version, 0)
        assert (losses.in_doubt, losses.known.total()) == (3, 0)
    for agent in (0, 1):
        disk.commit(agent, HORIZON)
    losses.look(entries, HORIZON + 1, 0)
    assert (losses.in_doubt, losses.known) == (0, {ledger.ACTOR_DIED: 3})
    # A copy that lay in a socket all the while is dropped, and was not lost.
    disk.books[1].receive(OLD, 0, 0, 0)
    disk.commit(1, HORIZON + 1)
    disk.commit(0, HORIZON + 1)
    losses.look(entries, HORIZON + 2, 0)
    assert losses.known == {ledger.ACTOR_DIED: 2}
    assert ledger.close(entries, dict(enumerate(disk.books))).lost == losses.known


def test_a_new_head_waits_no_longer_than_the_old_one_would_have(disk: Disk) -> None:
    before = Losses(disk.folders, HORIZON, disk.file)
    before.ended(OLD.name, OLD.incarnation)
    entries = [counters(OLD, 2)]
    before.look(entries, 0, 0)
    for version in range(HORIZON):
        for agent in (0, 1):
            disk.commit(agent, version)
    after = Losses(disk.folders, HORIZON, disk.file)
    after.look(entries, -1, 0)  # it has not heard the learners yet
    assert (after.in_doubt, after.known.total()) == (4, 0)
    after.look(entries, HORIZON, 0)
    assert (after.in_doubt, after.known) == (0, {ledger.ACTOR_DIED: 4})
    third = Losses(disk.folders, HORIZON, disk.file)
    third.look(entries, -1, 0)
    assert (third.in_doubt, third.known) == (0, after.known), "what was told once stays told"


@pytest.mark.parametrize("text", ["", "[", "{}", "[3]", '[{"name": "a"}]', "null"])
def test_a_damaged_note_is_begun_anew(disk: Disk, text: str) -> None:
    disk.file.write_text(text)
    losses = Losses(disk.folders, 1, disk.file)
    losses.ended(OLD.name, OLD.incarnation)
    losses.look([counters(OLD, 1)], 0, 0)
    assert losses.in_doubt == 2
    assert "actor-0" in disk.file.read_text()


def test_an_actor_on_another_host_that_was_replaced_is_a_lost_host(disk: Disk) -> None:
    losses = Losses(disk.folders, 0, disk.file)
    entries = [counters(OLD, 2, afar=True), counters(NEW, 0, afar=True)]
    losses.look(entries, 0, 0)
    assert losses.known == {ledger.HOST_LOST: 4}


_life = st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans())


@given(lives=st.lists(_life, max_size=8), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_last_look_says_what_the_closed_books_say(
    lives: list[tuple[int, int, bool]], seed: int
) -> None:
    """lives: of one actor after the other: made, arrived at learner 0, and whether it was killed.

    seed: when the head is killed, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder), in_a_hurry=True)
        losses = Losses(disk.folders, 2, disk.file)
        entries: list[Counters] = []
        for number, (made, arrived, killed) in enumerate(lives):
            source = Source(name=f"actor-{number % 2}", incarnation=number + 1)
            sent = [(0, n) for n in range(min(made, arrived) if killed else made)]
            for index, (agent, sequence) in enumerate([*sent, *((1, n) for n in range(made))]):
                disk.books[agent].receive(source, sequence, number, index)
            entries.append(counters(source, made, closed=not killed))
            if (number + seed) % 3 == 0:
                losses = Losses(disk.folders, 2, disk.file)
            for entry in entries if (number + seed) % 3 == 0 else entries[-1:]:
                losses.ended(entry.source.name, entry.source.incarnation)
            losses.look(entries, number, 0)
            assert losses.known.total() <= sum(final(entries, disk).values())
            commit_both(disk, number)
            losses.look(entries, number + 1, 0)
            assert losses.known.total() + losses.in_doubt == sum(final(entries, disk).values())
        for version in range(len(lives), len(lives) + 3):
            commit_both(disk, version)
            losses.look(entries, version + 1, 0)
        assert (losses.known, losses.in_doubt) == (Counter(final(entries, disk)), 0)


def commit_both(disk: Disk, iteration: int) -> None:
    for agent in (0, 1):
        disk.commit(agent, iteration)


def final(entries: list[Counters], disk: Disk) -> dict[str, int]:
    return ledger.close(entries, dict(enumerate(disk.books))).lost
