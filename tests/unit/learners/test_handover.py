import threading

import pytest

from learners.handover import Batch, Handover

PATIENCE = 20.0


@pytest.fixture
def handover():
    return Handover()


@pytest.fixture
def batch(team_slices):
    """Make the batch of an iteration."""
    return lambda iteration: Batch(iteration, team_slices([1])[0])


class Taker(threading.Thread):
    """Takes one iteration in a thread of its own."""

    def __init__(self, handover):
        super().__init__(daemon=True)
        self.handover = handover
        self.taken = "nothing yet"

    def run(self):
        self.taken = self.handover.take()


def start_waiting(handover):
    """A thread that finds nothing to take and stays."""
    taker = Taker(handover)
    taker.start()
    taker.join(0.05)
    assert taker.is_alive()
    return taker


def test_iterations_come_out_in_the_order_they_went_in(handover, batch):
    for iteration in range(3):
        handover.put(batch(iteration))
    assert [handover.take().iteration for _ in range(3)] == [0, 1, 2]


def test_taking_waits_for_an_iteration(handover, batch):
    taker = start_waiting(handover)
    offered = batch(4)
    handover.put(offered)
    taker.join(PATIENCE)
    assert taker.taken is offered


def test_closing_ends_a_wait(handover):
    taker = start_waiting(handover)
    handover.close()
    taker.join(PATIENCE)
    assert taker.taken is None


def test_nothing_is_given_out_after_closing(handover, batch):
    handover.put(batch(0))
    handover.close()
    assert handover.take() is None
    handover.put(batch(1))
    assert handover.take() is None


def test_closing_twice_is_closing(handover):
    handover.close()
    handover.close()
    assert handover.take() is None


def test_it_is_idle_until_something_is_taken_and_again_when_that_is_on_disk(handover, batch):
    assert handover.idle
    handover.put(batch(0))
    assert handover.idle
    handover.take()
    assert not handover.idle
    handover.committed(0)
    assert handover.idle


def test_closing_does_not_make_forget_what_is_in_training(handover, batch):
    handover.put(batch(0))
    handover.take()
    handover.close()
    assert not handover.idle
    handover.committed(0)
    assert handover.idle


def test_the_commit_of_another_iteration_ends_no_training(handover, batch):
    handover.put(batch(1))
    handover.take()
    handover.committed(0)
    assert not handover.idle


def test_the_first_commit_of_a_run_belongs_to_no_iteration(handover, batch):
    handover.put(batch(0))
    handover.take()
    handover.committed(-1)
    assert not handover.idle
