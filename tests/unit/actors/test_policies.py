"""Which parameters a ticket is played with: exact versions, or the newest that are here."""

import numpy as np
import pytest

from actors.parameter_cache import ParameterCache
from actors.policies import Policies
from dm2_dist.comms import codec, messages
from dm2_dist.ticket import Ticket

K = 2


class Learner:
    """The learner of one agent, as far as an actor can tell: it gives out what it has."""

    def __init__(self, agent, cache):
        self.agent, self.cache = agent, cache
        self.has, self.asked, self.waiting = set(), [], []
        self.unavailable = False

    def ask(self, version):
        self.asked.append(version)
        self.waiting.append(version)

    def publish(self, version):
        body, digest = codec.encode_parameters({"weight": np.full(2, version, np.float32)})
        header = messages.Parameters(agent=self.agent, version=version, digest=digest)
        self.cache.keep(header, body)

    def pump(self):
        for version in self.waiting:
            if version in self.has:
                self.publish(version)
            else:
                self.unavailable = True
        self.waiting.clear()


class World:
    def __init__(self):
        self.cache = ParameterCache(K)
        self.learners = {agent: Learner(agent, self.cache) for agent in range(K)}
        self.policies = Policies(self.cache, self.learners)

    def pump(self, _seconds):
        for learner in self.learners.values():
            learner.pump()

    def wait(self, versions, *, newest):
        ticket = Ticket("train", 5, 0, (1,), versions, greedy=False, newest=newest)
        return self.policies.wait(ticket, self.pump)

    def announce(self, agent, version):
        self.cache._announced[agent] = version


@pytest.fixture
def world():
    world = World()
    yield world
    world.cache.subscriber.close()


def versions_of(parameters):
    return tuple(int(own["weight"][0]) for own in parameters)


def test_a_repeatable_ticket_gets_the_versions_it_names(world):
    for version in (3, 4):
        for learner in world.learners.values():
            learner.publish(version)
    ticket, parameters = world.wait((3, 3), newest=False)
    assert ticket.versions == versions_of(parameters) == (3, 3)


def test_a_free_ticket_gets_the_newest_of_every_seat(world):
    for version in (3, 4):
        world.learners[0].publish(version)
    world.learners[1].publish(3)
    ticket, parameters = world.wait((2, 2), newest=True)
    assert ticket.versions == versions_of(parameters) == (4, 3)
    assert ticket.ticket_id == "train/5/0"
    assert world.learners[0].asked == world.learners[1].asked == []


def test_what_is_too_old_is_not_played_with(world):
    world.learners[0].publish(4)
    world.learners[1].publish(1)
    world.learners[1].has = {3}
    ticket, parameters = world.wait((3, 3), newest=True)
    assert ticket.versions == versions_of(parameters) == (4, 3)
    assert world.learners[1].asked == [3]


def test_a_publication_that_was_missed_is_asked_for_without_waiting(world):
    for learner in world.learners.values():
        learner.publish(3)
        learner.has = {6}
    world.announce(1, 6)
    ticket, _ = world.wait((2, 2), newest=True)
    assert ticket.versions == (3, 3)
    assert (world.learners[0].asked, world.learners[1].asked) == ([], [6])
    ticket, _ = world.wait((2, 2), newest=True)
    assert ticket.versions == (3, 6)


def test_a_version_that_is_nowhere_ends_the_wait(world):
    assert world.wait((1, 1), newest=False) is None
    assert world.wait((1, 1), newest=True) is None


def test_unchanged_parameters_are_the_same_object(world):
    for learner in world.learners.values():
        learner.publish(3)
    _, first = world.wait((2, 2), newest=True)
    _, again = world.wait((3, 3), newest=False)
    assert again is first
    world.learners[0].publish(4)
    _, other = world.wait((2, 2), newest=True)
    assert other is not first
