from dataclasses import replace

import pytest

from dm2_dist.comms import slice_body
from dm2_dist.comms.codec import BODY_LIMIT
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make
from dm2_dist.sections import AsynchronyConfig, CollectionConfig
from launch import body_size, placement, untrained
from learners.expectation import expectation_of

SPEC = make.describe("skirmish", "3m")


def whole(episodes: int) -> RunConfig:
    return RunConfig(
        map="3m",
        algorithm="ippo",
        collection=CollectionConfig(episodes_per_iteration=episodes, episodes_per_ticket=episodes),
    )


def pieces(length: int) -> RunConfig:
    asynchrony = AsynchronyConfig(unit="unrolls", unroll_length=length)
    return replace(whole(8), schedule="async", asynchrony=asynchrony)


def test_the_largest_ticket_that_is_let_through_can_be_sent_and_the_next_cannot() -> None:
    fits = 0
    for episodes in range(1, 4000):
        try:
            body_size.check(whole(episodes), SPEC)
        except ConfigError:
            break
        fits = episodes
    steps = SPEC.episode_limit
    for episodes, sent in ((fits, True), (fits + 1, False)):
        expectation = expectation_of(whole(episodes), SPEC, 0)
        size = slice_body.size_of(episodes * steps, episodes, expectation)
        assert (size <= BODY_LIMIT) is sent
        rows = episodes * (steps + 1)
        assert size >= 4 * rows * SPEC.observation_size + rows * SPEC.num_actions


def test_what_is_too_large_is_said_with_the_keys() -> None:
    with pytest.raises(ConfigError, match=r"MiB .*lower collection.episodes_per_ticket$"):
        body_size.check(whole(4096), SPEC)
    body_size.check(pieces(20), SPEC)
    with pytest.raises(ConfigError, match=r"8 unrolls of 5000 steps .*or asynchrony.unroll_length"):
        body_size.check(pieces(5000), SPEC)


def test_the_size_is_that_of_what_is_sent() -> None:
    config = whole(2)
    for played in untrained.one_iteration(config):
        _, body, _ = slice_body.encode_slice(played)
        expectation = expectation_of(config, SPEC, 0)
        assert len(body) == slice_body.size_of(int(played.length.sum()), 2, expectation)


def test_what_is_chosen_for_free_actors_can_be_sent() -> None:
    large = replace(pieces(20), map="27m_vs_30m", asynchrony=AsynchronyConfig())
    spec = make.describe("skirmish", large.map)
    with pytest.raises(ConfigError, match="64 episodes of 180 steps"):
        body_size.check(sized(large, 64), spec)
    fitting = body_size.largest_ticket(large, spec, placement.LARGEST_TICKET)
    assert 1 < fitting < placement.LARGEST_TICKET
    body_size.check(sized(large, fitting), spec)
    with pytest.raises(ConfigError):
        body_size.check(sized(large, 2 * fitting), spec)
    assert body_size.largest_ticket(pieces(20), SPEC, 64) == 64


def sized(config: RunConfig, episodes: int) -> RunConfig:
    return replace(config, collection=whole(episodes).collection)
