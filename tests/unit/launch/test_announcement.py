"""Actors on other hosts: what their heartbeats announced is all that is known of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.comms import ledger, messages
from dm2_dist.comms.counter_file import CounterFile
from dm2_dist.comms.ledger import ACTOR_DIED, HOST_LOST, Counters, LearnerBook
from dm2_dist.comms.refusal import Reason
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import announcement
from launch.announcement import Announcements
from launch.record import actor_counters

FAR = messages.Source(name="far-0", incarnation=7)
AGENTS = 2


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path)
    made.ledger.mkdir()
    return made


def beat(produced: int, unsettled: int = 0) -> messages.ActorBeat:
    return messages.ActorBeat(
        source=FAR, env_steps=0, episodes=0, produced=produced, unsettled=unsettled, phases={}
    )


def test_what_was_announced_is_there_for_the_next_head(directory: RunDirectory) -> None:
    head = Announcements.open(directory, AGENTS)
    head.greet(FAR)
    [known] = actor_counters(directory)
    assert known == Counters(FAR, (0, 0), (), closed=False, announced=True)
    head.note(beat(6))
    head.save(100.0)
    head = Announcements.open(directory, AGENTS)
    head.greet(FAR)
    [known] = actor_counters(directory)
    assert known.produced == (3, 3)
    head.note(beat(4))  # said before, arrived late
    head.note(beat(8))
    head.leave(FAR, 0)
    [known] = actor_counters(directory)
    assert known == Counters(FAR, (4, 4), (), closed=True, announced=True)


def test_it_is_written_at_most_once_a_second(directory: RunDirectory) -> None:
    head = Announcements.open(directory, AGENTS)
    head.greet(FAR)
    for count, now in ((2, 10.0), (4, 10.5), (6, 11.0)):
        head.note(beat(count))
        head.save(now)
        [known] = announcement.read(directory)
        assert known.produced == {10.0: (1, 1), 10.5: (1, 1), 11.0: (3, 3)}[now]


def test_an_actor_with_a_counter_file_here_is_not_counted_twice(directory: RunDirectory) -> None:
    path = directory.ledger / f"{FAR.name}@{FAR.incarnation}.cnt"
    counters = CounterFile(path, FAR, AGENTS)
    counters.set_produced(0, 5)
    head = Announcements.open(directory, AGENTS)
    head.greet(FAR)
    head.note(beat(10))
    head.leave(FAR, 0)
    head.save(100.0)
    [known] = actor_counters(directory)
    assert not known.announced
    assert known.produced == (5, 0)
    counters.close(clean=False)


def test_whoever_leaves_with_something_unsettled_stays_open(directory: RunDirectory) -> None:
    head = Announcements.open(directory, AGENTS)
    head.greet(FAR)
    head.note(beat(4, unsettled=1))
    head.leave(FAR, 1)
    head.save(100.0)
    [known] = announcement.read(directory)
    assert not known.closed


def test_a_damaged_file_is_named(directory: RunDirectory) -> None:
    (directory.ledger / "announced.json").write_text('[{"name": 1}]')
    with pytest.raises(RunDirectoryError, match=r"announced\.json is damaged"):
        announcement.read(directory)


def book_of(trained: int, dropped: int) -> LearnerBook:
    """One iteration per trajectory trained; the drops are copies of the first."""
    book = LearnerBook()
    for sequence in range(trained):
        book.receive(FAR, sequence, sequence, 0)
        book.commit(sequence)
    for sequence in range(trained, trained + dropped):
        book.drop(FAR, sequence, Reason.DUPLICATE)
    book.commit_drops()
    return book


@given(
    announced=st.integers(0, 8),
    trained=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dropped=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_the_books_of_a_lost_host_close_whatever_it_had_announced(
    announced: int, trained: tuple[int, int], dropped: tuple[int, int]
) -> None:
    books = {agent: book_of(trained[agent], dropped[agent]) for agent in range(AGENTS)}
    entry = Counters(FAR, (announced,) * AGENTS, (), closed=False, announced=True)
    totals = ledger.close([entry], books)
    settled = [trained[agent] + dropped[agent] for agent in range(AGENTS)]
    missing = sum(max(announced - count, 0) for count in settled)
    assert totals.error == 0
    assert totals.lost == ({HOST_LOST: missing} if missing else {})
    assert totals.produced == totals.trained + sum(totals.dropped.values()) + missing
    assert totals.produced == sum(max(announced, count) for count in settled)


@given(announced=st.integers(0, 6), settled=st.integers(0, 6))
def test_of_an_actor_that_left_cleanly_every_difference_is_an_error(
    announced: int, settled: int
) -> None:
    entry = Counters(FAR, (announced,), (), closed=True, announced=True)
    totals = ledger.close([entry], {0: book_of(settled, 0)})
    assert totals.error == abs(announced - settled)
    assert totals.lost == {}


def test_a_child_that_died_is_no_lost_host() -> None:
    entry = Counters(FAR, (3,), (0,), closed=False)
    assert ledger.close([entry], {0: book_of(1, 0)}).lost == {ACTOR_DIED: 2}
