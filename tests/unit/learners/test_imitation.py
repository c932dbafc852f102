import dataclasses

import numpy as np
import pytest
import torch

from dm2_dist.sections import ImitationConfig
from dm2_dist.trajectory import Slice
from learners import imitation
from learners.imitation import Imitation

CPU = torch.device("cpu")


def make_slice(observations, alive=None):
    """Episodes of given observations, each float32 [T_e + 1, O]."""
    length = np.array([len(o) - 1 for o in observations], dtype=np.int32)
    num_rows, flags = int(length.sum()), np.ones(len(length), dtype=np.uint8)
    num_observations = num_rows + len(length)
    return Slice(
        observation=np.concatenate(observations).astype(np.float32),
        available_actions=np.ones((num_observations, 2), dtype=np.uint8),
        alive=np.ones(num_observations, dtype=np.uint8) if alive is None else alive,
        action=np.zeros(num_rows, dtype=np.uint8),
        behaviour_log_prob=np.zeros(num_rows, dtype=np.float32),
        reward=np.zeros(num_rows, dtype=np.float32),
        length=length,
        terminated=flags,
        truncated=1 - flags,
        won=flags,
    )


def cluster(centre, num_episodes, seed):
    generator = np.random.default_rng(seed)
    return make_slice(
        [
            centre + 0.3 * generator.normal(size=(int(generator.integers(3, 9)), 2))
            for _ in range(num_episodes)
        ]
    )


def make(expert, **changes):
    config = ImitationConfig(**({"episodes_per_step": 4, "steps": 30} | changes))
    return Imitation(config, 0, 0, CPU, expert)


def test_expert_is_rated_above_zero_and_agent_below_on_disjoint_clusters():
    expert, agent = cluster(np.array([1.0, 1.0]), 20, 0), cluster(np.array([-1.0, -1.0]), 20, 1)
    ours = make(expert)
    for iteration in range(4):
        metrics = ours.update(agent, iteration)
    assert float(metrics["logit_expert_mean"]) > 0.0 > float(metrics["logit_agent_mean"])
    assert float(metrics["discriminator_accuracy"]) > 0.95
    assert ours.logit(torch.tensor([[1.0, 1.0]])) > 0.0 > ours.logit(torch.tensor([[-1.0, -1.0]]))


def test_logit_converges_to_the_log_ratio_of_row_frequencies():
    letters = np.eye(3, dtype=np.float32)

    def corpus(frequencies):
        counts = np.round(np.array(frequencies) * 20).astype(int)
        episode = np.repeat(letters, counts, axis=0)
        return make_slice([np.concatenate([episode, letters[:1]]) for _ in range(4)])

    expert, agent = (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)
    ours = make(corpus(expert), gradient_penalty=0.0, steps=400, learning_rate=3e-3)
    ours.update(corpus(agent), 0)
    expected = np.log(np.array(expert) / np.array(agent))
    np.testing.assert_allclose(ours.logit(torch.eye(3)).numpy(), expected, atol=0.02)


def test_pieces_in_which_the_agent_is_dead_train_nothing_and_tell_nothing():
    ours = make_slice([np.ones((4, 3))] * 2)
    dead = make_slice([np.ones((4, 3))] * 2, alive=np.zeros(8, dtype=np.uint8))
    trained = Imitation(ImitationConfig(episodes_per_step=2), 0, 0, CPU, ours)
    before = [parameter.clone() for parameter in trained.discriminator.parameters()]
    assert trained.update(dead, 0) == {}
    assert trained.living_time_log_ratio(dead) == 0.0
    for old, new in zip(before, trained.discriminator.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_step_draws_only_pieces_in_which_the_agent_lives():
    alive = np.repeat(np.array([0, 1, 0], dtype=np.uint8), 4)
    rows = imitation.alive_rows(make_slice([np.ones((4, 3))] * 3, alive=alive), CPU)
    drawn = rows.draw(2, np.random.default_rng(0))
    assert sorted(drawn) == [0, 1, 2]


def test_a_draw_holds_all_rows_of_distinct_episodes():
    rows = imitation.alive_rows(cluster(np.zeros(2), 10, 0), CPU)
    generator = np.random.default_rng(0)
    episode = np.repeat(np.arange(10), rows.num_rows)
    for _ in range(20):
        drawn = rows.draw(4, generator)
        chosen = np.unique(episode[drawn])
        assert len(chosen) == 4
        assert len(np.unique(drawn)) == len(drawn) == rows.num_rows[chosen].sum()


def test_draws_differ_between_steps_iterations_and_agents():
    rows = imitation.alive_rows(cluster(np.zeros(2), 10, 0), CPU)
    generator = np.random.default_rng(0)
    assert not np.array_equal(rows.draw(4, generator), rows.draw(4, generator))


def test_asking_for_more_episodes_than_stored_raises():
    few = cluster(np.zeros(2), 3, 0)
    with pytest.raises(ValueError, match="distinct episodes"):
        imitation.alive_rows(few, CPU).draw(4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="3 demonstrations"):
        make(few)
    with pytest.raises(ValueError, match="distinct episodes"):
        make(cluster(np.zeros(2), 8, 0)).update(few, 0)


def plant_nan(slice_):
    """NaN in every row that must not be used: the dead ones and the final observations."""
    observation, alive = slice_.observation.copy(), slice_.alive.copy()
    start = 0
    for steps in slice_.length:
        alive[start + 2 : start + steps + 1] = 0
        start += steps + 1
    final = np.cumsum(slice_.length + 1) - 1
    observation[alive == 0] = np.nan
    observation[final] = np.nan
    return dataclasses.replace(slice_, observation=observation, alive=alive)


def test_dead_rows_and_final_observations_are_never_used():
    expert, agent = (plant_nan(cluster(np.zeros(2), 8, seed)) for seed in (0, 1))
    rows = imitation.alive_rows(agent, CPU)
    assert rows.num_rows.tolist() == [2] * 8
    metrics = make(expert).update(agent, 0)
    assert all(torch.isfinite(value).all() for value in metrics.values())


def test_nothing_of_an_iteration_is_kept_for_the_next():
    ours, theirs = make(cluster(np.ones(2), 8, 0)), make(cluster(np.ones(2), 8, 0))
    ours.update(cluster(np.zeros(2), 8, 1), 0)
    theirs.discriminator.load_state_dict(ours.discriminator.state_dict())
    theirs.optimiser.load(ours.optimiser.state())
    agent = cluster(np.zeros(2), 8, 2)
    ours.update(agent, 1)
    theirs.update(agent, 1)
    for left, right in zip(
        ours.discriminator.parameters(), theirs.discriminator.parameters(), strict=True
    ):
        assert torch.equal(left, right)


def test_logit_is_that_of_the_module():
    ours, observation = make(cluster(np.ones(2), 8, 0)), torch.randn(9, 2)
    torch.testing.assert_close(
        ours.logit(observation), ours.discriminator(observation).detach(), atol=1e-6, rtol=0.0
    )


def test_a_life_half_as_long_is_no_gain():
    expert = make_slice([np.zeros((9, 2)) for _ in range(8)])
    short = make_slice([np.zeros((5, 2)) for _ in range(8)])
    assert make(expert).living_time_log_ratio(short) == pytest.approx(np.log(2.0))
    assert make(short).living_time_log_ratio(expert) == pytest.approx(-np.log(2.0))
    assert make(expert, match_living_time=False).living_time_log_ratio(short) == 0.0


def test_living_time_counts_steps_before_death_only():
    expert = make_slice([np.zeros((9, 2))] * 4)
    alive = np.tile(np.array([1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=np.uint8), 4)
    dying = make_slice([np.zeros((9, 2))] * 4, alive)
    assert make(expert).living_time_log_ratio(dying) == pytest.approx(np.log(8 / 2))
