import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actors.parameter_cache import KEPT_VERSIONS, ParameterCache
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Poller, Publisher, close_context


@pytest.fixture
def cache() -> Iterator[ParameterCache]:
    made = ParameterCache(2)
    yield made
    made.subscriber.close()
    close_context()


def version(number: int, agent: int = 0) -> messages.Parameters:
    return messages.Parameters(agent=agent, version=number, digest="")


def test_the_oldest_version_gives_way_and_the_bytes_are_known(cache: ParameterCache) -> None:
    for number in range(KEPT_VERSIONS + 3):
        cache.keep(version(number), b"x" * 100)
    cache.keep(version(0, agent=1), b"y" * 7)
    assert cache.missing([2, 0]) == [0]
    assert cache.missing([3, 0]) == []
    assert cache.num_bytes == KEPT_VERSIONS * 100 + 7
    assert cache.limit_bytes == 2 * KEPT_VERSIONS * codec.PARAMETERS_LIMIT


@pytest.mark.parametrize(("agent", "size"), [(2, 1), (2**40, 1), (1, codec.PARAMETERS_LIMIT + 1)])
def test_what_no_learner_of_this_run_can_publish_is_refused(
    cache: ParameterCache, agent: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.keep(version(0, agent), bytes(size))
    assert cache.num_bytes == 0
    assert "refused publication" in caplog.text


def test_a_damaged_version_is_asked_for_again(cache: ParameterCache) -> None:
    for agent in range(2):
        cache.keep(version(4, agent), b"no parameters")
    assert cache.take([4, 4]) is None
    assert cache.missing([4, 4]) == [0]


def test_a_version_is_decoded_once_and_anew_when_it_was_replaced(cache: ParameterCache) -> None:
    def hold(agent: int, number: int, value: float) -> None:
        body, digest = codec.encode_parameters({"w": np.array([value], np.float32)})
        message = messages.Parameters(agent=agent, version=number, digest=digest)
        cache.keep(message, body)

    def values(numbers: list[int]) -> list[float]:
        taken = cache.take(numbers)
        assert taken is not None
        return [float(parameters["w"][0]) for parameters in taken]

    for agent in range(2):
        for number in (4, 5):
            hold(agent, number, 10.0 * agent + number)
    first, again = cache.take([5, 5]), cache.take([5, 5])
    assert first is not None
    assert again is not None
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert values([4, 5]) == [4.0, 15.0]
    assert values([5, 4]) == [5.0, 14.0]
    hold(0, 5, 99.0)
    assert values([5, 4]) == [99.0, 14.0]


def test_what_a_poll_has_begun_to_fetch_is_read_before_its_learner_is_left(
    cache: ParameterCache, tmp_path: Path
) -> None:
    """libzmq would end this very process."""
    publisher = Publisher(f"ipc://{tmp_path}/old")
    poller = Poller()
    poller.add(cache.subscriber)
    cache.follow(0, publisher.address)
    body, digest = codec.encode_parameters({"w": np.ones(1, np.float32)})
    deadline = time.monotonic() + 20.0
    while not poller.wait(0.05):
        assert time.monotonic() < deadline
        publisher.publish(messages.Parameters(agent=0, version=3, digest=digest), body)
    cache.follow(0, f"ipc://{tmp_path}/new")
    assert cache.missing([3, 0]) == [1]
    for _ in range(10):
        poller.wait(0.01)
        cache.receive()
    publisher.close()
