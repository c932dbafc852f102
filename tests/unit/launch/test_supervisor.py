"""The supervisor with real children, forked from the test; each notes in a file what it does."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from launch.supervisor import ChildSpec, Supervisor

pytestmark = pytest.mark.integration

FORK = multiprocessing.get_context("fork")
PATIENCE = 60.0


def stay(notes, incarnation):
    """Run until somebody ends it."""
    note(notes, incarnation)
    while True:
        time.sleep(60.0)


def leave(notes, incarnation, code=0):
    note(notes, incarnation)
    os._exit(code)


def leave_once(notes, incarnation):
    """Fail in the first life only."""
    first = not notes.exists()
    note(notes, incarnation)
    if first:
        os._exit(7)
    while True:
        time.sleep(60.0)


def leave_when_told(notes, incarnation):
    """Take a moment to leave, once there is a file that says so; note that it was done."""
    note(notes, incarnation)
    while not notes.with_suffix(".leave").exists():
        time.sleep(0.01)
    note(notes, incarnation)
    os._exit(0)


def note(notes, incarnation):
    with notes.open("a") as file:
        file.write(f"{os.getpid()} {incarnation}\n")


def lives(notes):
    """(pid, incarnation) of every life so far."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor({})
    yield supervisor
    supervisor.stop(patience=0.0)
    assert supervisor.pids() == {}


@pytest.fixture
def start(supervisor, tmp_path):
    """Start a child; gives its notes."""

    def start(
        target, name="actor-0", role="actor", deaths_allowed=5, progress=lambda: 0, **arguments
    ):
        notes = tmp_path / name
        arguments |= {"notes": notes}
        supervisor.start(ChildSpec(name, role, FORK, target, arguments, deaths_allowed, progress))
        return notes

    return start


def wait_for(supervisor, condition):
    """Supervise until a condition holds; gives the ends reported meanwhile."""
    ends = []
    deadline = time.monotonic() + PATIENCE
    while not condition(ends):
        assert time.monotonic() < deadline
        ends += supervisor.wait(0.05)
    return ends


def one_end(ends):
    return len(ends) == 1


def test_children_run_with_an_incarnation_of_their_own(supervisor, start):
    first, second = start(stay, "actor-0"), start(stay, "learner-0", "learner")
    wait_for(supervisor, lambda _: lives(first) and lives(second))
    (pid, incarnation), (other_pid, other_incarnation) = lives(first)[0], lives(second)[0]
    assert supervisor.pids() == {"actor-0": pid, "learner-0": other_pid}
    assert incarnation < other_incarnation
    assert (supervisor.alive(), supervisor.alive("actor"), supervisor.alive("head")) == (2, 1, 0)


def test_a_child_that_ends_well_is_reported_and_not_restarted(supervisor, start):
    start(leave, code=0)
    (end,) = wait_for(supervisor, one_end)
    assert (end.name, end.role, end.exit_code) == ("actor-0", "actor", 0)
    assert not end.restarting
    assert not end.gave_up
    assert supervisor.alive() == 0
    assert supervisor.restarts == {}


def test_a_child_that_fails_is_restarted_under_a_newer_incarnation(supervisor, start):
    notes = start(leave_once)
    (end,) = wait_for(supervisor, lambda _: len(lives(notes)) == 2)
    (_, before), (pid, after) = lives(notes)
    assert (end.exit_code, end.restarting, end.gave_up) == (7, True, False)
    assert (end.incarnation, before < after) == (before, True)
    assert supervisor.pids() == {"actor-0": pid}
    assert supervisor.restarts == {"actor": 1}


def test_a_killed_child_is_restarted(supervisor, start):
    notes = start(stay)
    wait_for(supervisor, lambda _: lives(notes))
    os.kill(supervisor.pids()["actor-0"], signal.SIGKILL)
    (end,) = wait_for(supervisor, lambda _: len(lives(notes)) == 2)
    assert (end.exit_code, end.restarting) == (-signal.SIGKILL, True)


def test_a_child_about_to_be_restarted_counts_as_alive(supervisor, start):
    notes = start(leave, code=1)
    wait_for(supervisor, one_end)
    assert len(lives(notes)) == 1
    assert supervisor.alive("actor") == 1
    assert supervisor.pids() == {}


def test_a_child_that_keeps_failing_is_given_up(supervisor, start):
    notes = start(leave, code=3, deaths_allowed=1)
    ends = wait_for(supervisor, lambda ends: len(ends) == 2)
    assert [(end.restarting, end.gave_up) for end in ends] == [(True, False), (False, True)]
    assert len(lives(notes)) == 2
    assert supervisor.alive() == 0
    assert supervisor.restarts == {"actor": 1}


def test_ends_with_something_done_between_them_are_not_held_against_a_child(supervisor, start):
    done = [0, 0, 1, 2, 3, 3]  # asked at the start, and at each end
    notes = start(leave, code=3, deaths_allowed=1, progress=lambda: done.pop(0))
    ends = wait_for(supervisor, lambda ends: len(ends) == 5)
    assert [end.gave_up for end in ends] == [False, False, False, False, True]
    assert len(lives(notes)) == 5


def test_a_child_that_got_something_done_is_back_without_a_longer_pause(supervisor, start):
    done = iter(range(100))
    start(leave, code=3, deaths_allowed=1, progress=lambda: next(done))
    ends = wait_for(supervisor, lambda ends: len(ends) == 7)
    assert all(end.restarting for end in ends)


def test_one_childs_deaths_are_not_anothers(supervisor, start):
    start(leave, "actor-0", code=3, deaths_allowed=0)
    survivor = start(leave_once, "actor-1", deaths_allowed=1)
    ends = wait_for(supervisor, lambda ends: len(ends) == 2 and len(lives(survivor)) == 2)
    assert {end.name: end.gave_up for end in ends} == {"actor-0": True, "actor-1": False}


def test_restarts_before_a_resume_are_counted_on(start, supervisor):
    supervisor.restarts |= Supervisor({"actor": 3, "head": 1}).restarts
    notes = start(leave_once)
    wait_for(supervisor, lambda _: len(lives(notes)) == 2)
    assert supervisor.restarts == {"actor": 4, "head": 1}


def test_a_role_that_is_expected_to_end_is_not_restarted(supervisor, start):
    actor, learner = start(leave_once, "actor-0"), start(leave_once, "learner-0", "learner")
    supervisor.end_expected("actor")
    ends = wait_for(supervisor, lambda _: len(lives(learner)) == 2)
    assert {end.name: end.restarting for end in ends} == {"actor-0": False, "learner-0": True}
    assert len(lives(actor)) == 1


def test_expecting_the_end_calls_off_a_restart(supervisor, start):
    notes = start(leave, code=1)
    wait_for(supervisor, one_end)
    supervisor.end_expected("actor")
    assert supervisor.alive() == 0
    other = start(stay, "learner-0", "learner")
    wait_for(supervisor, lambda _: lives(other))
    assert len(lives(notes)) == 1


def test_stopping_waits_for_children_that_are_leaving(supervisor, start):
    notes = [start(leave_when_told, f"actor-{index}") for index in range(3)]
    wait_for(supervisor, lambda _: all(map(lives, notes)))
    for path in notes:
        path.with_suffix(".leave").touch()
    supervisor.stop(patience=PATIENCE)
    assert supervisor.alive() == 0
    assert [len(lives(path)) for path in notes] == [2, 2, 2]


def test_stopping_ends_children_that_do_not_leave(supervisor, start):
    notes = [start(stay, f"actor-{index}") for index in range(3)]
    wait_for(supervisor, lambda _: all(map(lives, notes)))
    supervisor.stop(patience=0.2)
    assert supervisor.alive() == 0
    assert not any(alive(pid) for ((pid, _),) in map(lives, notes))


def test_stopping_calls_off_restarts(supervisor, start):
    notes = start(leave, code=1)
    wait_for(supervisor, one_end)
    supervisor.stop(patience=PATIENCE)
    assert len(lives(notes)) == 1


def test_stopping_twice_is_stopping(supervisor, start):
    start(leave, code=0)
    supervisor.stop(patience=PATIENCE)
    supervisor.stop(patience=PATIENCE)
    assert supervisor.alive() == 0


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
