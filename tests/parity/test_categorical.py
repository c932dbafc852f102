import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import categorical


def slow(logits, unavailable, action):
    legal = [i for i in range(len(logits)) if not unavailable[i]]
    weights = {i: np.exp(np.float64(logits[i])) for i in legal}
    total = sum(weights.values())
    entropy = -sum(w / total * np.log(w / total) for w in weights.values() if w > 0.0)
    return np.log(weights[action] / total), entropy


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_log_prob_and_entropy_match_a_loop_over_legal_actions(seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3.0, size=6).astype(np.float32)
    unavailable = generator.random(6) < 0.5
    action = int(generator.integers(6))
    unavailable[action] = False
    got = categorical.evaluate(
        torch.from_numpy(logits), torch.from_numpy(unavailable), torch.tensor(action)
    )
    expected = slow(logits, unavailable, action)
    np.testing.assert_allclose([float(got.taken), float(got.entropy)], expected, atol=1e-5)


def test_illegal_actions_have_probability_zero_and_no_gradient():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    unavailable = torch.tensor([[False, True, False, True]] * 3)
    assert (categorical.log_probs(logits, unavailable).exp()[:, 1::2] == 0.0).all()
    evaluated = categorical.evaluate(logits, unavailable, torch.tensor([0, 2, 0]))
    (evaluated.taken.sum() + evaluated.entropy.sum()).backward()
    assert (logits.grad[:, 1::2] == 0.0).all()
    assert (logits.grad[:, ::2] != 0.0).all()


def test_a_single_legal_action_gives_exactly_zero_everywhere():
    logits = (
        100.0 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    ).requires_grad_()
    unavailable = torch.ones(5, 4, dtype=torch.bool)
    unavailable[:, 0] = False
    evaluated = categorical.evaluate(logits, unavailable, torch.zeros(5, dtype=torch.int64))
    assert (evaluated.taken == 0.0).all()
    assert (evaluated.entropy == 0.0).all()
    (evaluated.taken.sum() + evaluated.entropy.sum()).backward()
    assert (logits.grad == 0.0).all()


def test_a_row_without_legal_actions_stays_finite_and_has_no_gradient():
    logits = torch.randn(1, 4).requires_grad_()
    evaluated = categorical.evaluate(
        logits, torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    )
    assert torch.isfinite(evaluated.taken).all()
    assert torch.isfinite(evaluated.entropy).all()
    (evaluated.taken.sum() + evaluated.entropy.sum()).backward()
    assert (logits.grad == 0.0).all()
