import math

import numpy as np
import pytest
import torch

from dm2_dist.functional import gail


def test_imitation_reward_is_the_logit():
    logit = torch.linspace(-9.9, 9.9, 100, dtype=torch.float64)
    discriminator = torch.sigmoid(logit)
    reward = gail.mixed_reward(torch.zeros(100), logit, torch.ones(100), 1.0)
    expected = discriminator.log() - (1.0 - discriminator).log()
    torch.testing.assert_close(reward, expected, atol=1e-5, rtol=0.0)


def test_imitation_reward_stays_finite_where_the_sigmoid_saturates():
    logit = torch.tensor([-50.0, 50.0])
    reward = gail.mixed_reward(torch.zeros(2), logit, torch.ones(2), 1.0)
    torch.testing.assert_close(reward, logit)


def test_loss_of_an_ignorant_discriminator_is_two_log_two():
    loss = gail.classification_loss(torch.zeros(5), torch.zeros(9))
    assert float(loss) == pytest.approx(2.0 * math.log(2.0))


def test_loss_matches_a_loop_over_rows():
    generator = np.random.default_rng(0)
    expert, agent = generator.normal(size=7), generator.normal(size=4)
    slow = -np.mean([np.log(1 / (1 + np.exp(-f))) for f in expert])
    slow -= np.mean([np.log(1 - 1 / (1 + np.exp(-f))) for f in agent])
    got = gail.classification_loss(torch.from_numpy(expert), torch.from_numpy(agent))
    assert float(got) == pytest.approx(slow)


def test_loss_falls_when_the_expert_is_rated_higher():
    low = gail.classification_loss(torch.ones(3), torch.zeros(3))
    high = gail.classification_loss(torch.zeros(3), torch.ones(3))
    assert low < high


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_logit_is_the_squared_excess_of_its_slope(norm):
    slope = torch.tensor([0.6, -0.8]) * norm
    observation = torch.randn(6, 2).requires_grad_()
    (gradient,) = torch.autograd.grad((observation @ slope).sum(), observation)
    assert float(gail.gradient_penalty(gradient)) == pytest.approx((norm - 1.0) ** 2, abs=1e-6)


def test_mixed_rows_lie_between_expert_and_agent():
    expert, agent = torch.randn(4, 3), torch.randn(4, 3)
    alpha = torch.tensor([[0.0], [1.0], [0.25], [0.5]])
    mixed = gail.interpolate(expert, agent, alpha)
    torch.testing.assert_close(mixed[0], agent[0])
    torch.testing.assert_close(mixed[1], expert[1])
    torch.testing.assert_close(mixed[2], 0.25 * expert[2] + 0.75 * agent[2])


def test_mixed_reward_adds_the_scaled_logit_of_living_rows_only():
    reward = gail.mixed_reward(
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([10.0, -10.0, 50.0]),
        torch.tensor([1.0, 1.0, 0.0]),
        0.3,
    )
    torch.testing.assert_close(reward, torch.tensor([4.0, -1.0, 3.0]))


def test_living_time_turns_frequencies_given_life_into_visits_per_episode():
    generator = np.random.default_rng(3)
    expert_visits, agent_visits = generator.random((2, 7))  # of 7 observations, per episode
    given_life = np.log((expert_visits / expert_visits.sum()) / (agent_visits / agent_visits.sum()))
    ratio = gail.living_time_log_ratio(expert_visits.sum(), agent_visits.sum())
    np.testing.assert_allclose(given_life + ratio, np.log(expert_visits / agent_visits))


def test_living_time_of_equal_lives_changes_nothing():
    assert gail.living_time_log_ratio(12.5, 12.5) == 0.0
