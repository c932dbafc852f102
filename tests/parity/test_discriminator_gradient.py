import pytest
import torch

from dm2_dist.functional import discriminator_gradient, discriminator_tiles, gail
from dm2_dist.functional.discriminator_gradient import DiscriminatorParameters, Draw

OBSERVATION, HIDDEN = 7, 5


def parameters(scale, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    shapes = [(HIDDEN, OBSERVATION), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (1, HIDDEN), (1,)]
    return DiscriminatorParameters(
        *(scale * torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    )


def draw(num_expert, num_agent, dtype=torch.float32):
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(num_expert + num_agent + 9, OBSERVATION, generator=generator, dtype=dtype)
    expert, agent = rows[: num_expert + 4], rows[num_expert + 4 :]
    return Draw(
        expert,
        agent,
        torch.randperm(expert.shape[0], generator=generator)[:num_expert],
        torch.randperm(agent.shape[0], generator=generator)[:num_agent],
        torch.rand(min(num_expert, num_agent), 1, generator=generator, dtype=dtype),
    )


def logit(p, x):
    h1 = torch.tanh(x @ p.weight_1.T + p.bias_1)
    return (torch.tanh(h1 @ p.weight_2.T + p.bias_2) @ p.weight_3.T + p.bias_3).squeeze(-1)


def by_automatic_differentiation(p, rows, penalty_weight):
    p = DiscriminatorParameters(*(tensor.clone().requires_grad_() for tensor in p))
    expert, agent = rows.expert[rows.expert_row], rows.agent[rows.agent_row]
    q = rows.alpha.shape[0]
    mixed = gail.interpolate(expert[:q], agent[:q], rows.alpha).requires_grad_()
    (gradient,) = torch.autograd.grad(logit(p, mixed).sum(), mixed, create_graph=True)
    penalty = gail.gradient_penalty(gradient)
    loss = gail.classification_loss(logit(p, expert), logit(p, agent)) + penalty_weight * penalty
    loss.backward()
    return loss.detach(), [tensor.grad for tensor in p]


@pytest.mark.parametrize(
    ("num_expert", "num_agent"), [(20, 13), (13, 20), (1, 1), (300, 300), (1300, 400), (512, 1024)]
)
@pytest.mark.parametrize("penalty_weight", [0.0, 10.0])
@pytest.mark.parametrize("scale", [0.3, 0.7])
def test_gradient_matches_automatic_differentiation(num_expert, num_agent, penalty_weight, scale):
    p, rows = parameters(scale), draw(num_expert, num_agent)
    loss, gradient = discriminator_gradient.loss_and_gradient(p, rows, penalty_weight)
    expected_loss, expected = by_automatic_differentiation(p, rows, penalty_weight)
    torch.testing.assert_close(loss.total, expected_loss, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradient, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tile_rows", [1, 7, 64])
def test_the_size_of_a_tile_changes_nothing_but_rounding(monkeypatch, tile_rows):
    p, rows = parameters(0.7), draw(50, 33)
    rows = rows._replace(alpha=rows.alpha[:20])
    monkeypatch.setattr(discriminator_tiles, "TILE_ROWS", tile_rows)
    discriminator_tiles._planes.cache_clear()
    loss, gradient = discriminator_gradient.loss_and_gradient(p, rows, 10.0)
    discriminator_tiles._planes.cache_clear()
    expected_loss, expected = by_automatic_differentiation(p, rows, 10.0)
    torch.testing.assert_close(loss.total, expected_loss, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradient, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_gradient_has_the_same_bits_every_time():
    p, rows = parameters(0.5), draw(700, 900)
    first, second = (discriminator_gradient.loss_and_gradient(p, rows, 10.0)[1] for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))


def test_a_parameter_that_is_not_a_number_shows_in_the_loss():
    p = parameters(0.5)
    p.weight_2[0, 0] = torch.nan
    loss, _ = discriminator_gradient.loss_and_gradient(p, draw(9, 8), 10.0)
    assert loss.total.isnan()


def test_a_slope_of_zero_is_penalised_but_has_no_direction():
    p = parameters(0.5)._replace(weight_3=torch.zeros(1, HIDDEN))
    loss, gradient = discriminator_gradient.loss_and_gradient(p, draw(8, 8), 10.0)
    assert float(loss.penalty) == 1.0
    assert all(torch.isfinite(tensor).all() for tensor in gradient)


def test_logit_matches_the_plain_network():
    p, rows = parameters(1.0), draw(10, 10)
    got = discriminator_gradient.logit(p, rows.expert)
    torch.testing.assert_close(got, logit(p, rows.expert), atol=1e-5, rtol=0.0)


def test_accuracy_counts_logits_of_the_right_sign():
    p = parameters(0.0)._replace(bias_3=torch.ones(1))
    loss, _ = discriminator_gradient.loss_and_gradient(p, draw(30, 10), 0.0)
    assert float(loss.accuracy) == pytest.approx(0.75)
    assert float(loss.logit_expert_mean) == float(loss.logit_agent_mean) == 1.0
