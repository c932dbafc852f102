import numpy as np
import pytest
import torch

from dm2_dist.functional import categorical, policy_gradient
from dm2_dist.functional.policy_gradient import PolicyTargets

ROWS, ACTIONS = 6, 4


@pytest.fixture
def problem():
    """Logits, legality, actions and targets; the last two rows do not count."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(ROWS, ACTIONS, generator=generator, dtype=torch.float64)
    unavailable = torch.zeros(ROWS, ACTIONS, dtype=torch.bool)
    unavailable[1, 0] = unavailable[2, 1] = True
    action = torch.tensor([0, 1, 2, 3, 0, 1])
    behaviour = torch.tensor([-0.1, -2.0, -4.0, -0.5, -9.0, -0.1], dtype=torch.float64)
    advantage = torch.randn(ROWS, generator=generator, dtype=torch.float64)
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    return logits, unavailable, action, PolicyTargets(behaviour, advantage, weight)


def loss_of(logits, unavailable, action, targets, maximum=1.0, coefficient=0.01):
    taken, entropy = categorical.evaluate(logits, unavailable, action)
    return policy_gradient.policy_loss(taken, entropy, targets, maximum, coefficient)


@pytest.mark.parametrize("maximum", [0.5, 1.0, 50.0])
def test_the_gradient_is_the_one_written_out(problem, maximum):
    """d/dlogits of -w A log pi is w A (pi - onehot); of the entropy it is -pi (log pi + H)."""
    logits, unavailable, action, targets = problem
    logits.requires_grad_()
    loss = loss_of(logits, unavailable, action, targets, maximum)
    loss.total.backward()
    expected = np.zeros((ROWS, ACTIONS))
    for row in range(4):
        legal = ~unavailable[row].numpy()
        z = logits[row].detach().numpy()
        pi = np.where(legal, np.exp(z - z[legal].max()), 0.0)
        pi /= pi.sum()
        log_pi = np.log(np.where(legal, pi, 1.0))
        ratio = min(pi[action[row]] / np.exp(float(targets.behaviour_log_prob[row])), maximum)
        onehot = np.eye(ACTIONS)[action[row]]
        entropy = -(pi * log_pi).sum()
        expected[row] = ratio * float(targets.advantage[row]) * (pi - onehot)
        expected[row] += 0.01 * pi * (log_pi + entropy)
    np.testing.assert_allclose(logits.grad.numpy(), expected / 4, atol=1e-12)


def test_rows_without_weight_say_nothing(problem):
    logits, unavailable, action, targets = problem
    advantage = targets.advantage.clone()
    advantage[4:] += 7.0
    before = loss_of(logits, unavailable, action, targets)
    after = loss_of(logits, unavailable, action, targets._replace(advantage=advantage))
    assert torch.equal(torch.stack(before), torch.stack(after))


def test_capped_rows_are_counted(problem):
    logits, unavailable, action, targets = problem
    taken = categorical.evaluate(logits, unavailable, action).taken
    behaviour = taken.clone()
    behaviour[0] -= 1.0
    own = targets._replace(behaviour_log_prob=behaviour)
    assert float(loss_of(logits, unavailable, action, own).capped_fraction) == pytest.approx(0.25)


def test_the_value_loss_is_half_the_mean_square():
    value, target = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.0, 4.0, 5.5])
    weight = torch.tensor([1.0, 1.0, 0.0])
    assert float(policy_gradient.value_loss(value, target, weight)) == pytest.approx(2.5 / 2)
