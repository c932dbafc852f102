"""The actor's rows of `dm2 bench inference`."""

import pytest

from dm2_dist import presets
from launch import inference_bench


@pytest.fixture(scope="module")
def rows():
    found = inference_bench.rows(presets.by_name("quickstart"), 0.02)
    return {row.name: row for row in found}


def test_every_number_of_battles_has_its_rows_beside_a_limit(rows):
    words = ("1 battle", "8 battles", "64 battles")
    kinds = ("inference", "actor", "actor's time")
    assert list(rows) == [f"{kind}, {of}" for of in words for kind in kinds]
    for row in rows.values():
        assert row.value > 0
        assert row.limit is not None
        assert row.limit > 0


def test_steps_and_their_time_are_two_words_for_one_measurement(rows):
    for of in ("1 battle", "8 battles", "64 battles"):
        rate, time = rows[f"actor, {of}"], rows[f"actor's time, {of}"]
        assert rate.value * time.value == pytest.approx(1e6)
        assert rate.limit * time.limit == pytest.approx(1e6)
        assert time.unit == "us per env step"


def test_the_simulator_alone_plays_the_same_battles(rows):
    """What is replayed are the actor's own steps, to the last one of every battle."""
    config = presets.by_name("quickstart")
    policy = inference_bench.untrained.policies(config)
    battles = inference_bench.make.make_batch("skirmish", config.map, 8)
    tickets = inference_bench._tickets(8, policy.num_agents)
    played = [inference_bench._play(policy, battles, ticket) for ticket in tickets[:1]]
    steps = battles.episode_steps.copy()
    battles.reset()
    assert inference_bench._replay_all(battles, played) == steps.sum()
    assert battles.finished.all()
    assert (battles.episode_steps == steps).all()
