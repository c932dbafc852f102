import numpy as np
import pytest
import torch

from dm2_dist.functional import ppo

CLIP = 0.1
ROWS = 40


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def targets(generator, ratio=None, weight=None):
    return ppo.PolicyTargets(
        proximal_log_prob=-torch.rand(ROWS, generator=generator),
        behaviour_ratio=torch.ones(ROWS) if ratio is None else ratio,
        advantage=torch.randn(ROWS, generator=generator),
        weight=torch.ones(ROWS) if weight is None else weight,
    )


def slow_surrogate(log_prob, t):
    total, count = 0.0, 0.0
    for i in range(ROWS):
        r = np.exp(float(log_prob[i]) - float(t.proximal_log_prob[i]))
        a = float(t.advantage[i])
        gain = min(r * a, min(max(r, 1.0 - CLIP), 1.0 + CLIP) * a)
        total += float(t.behaviour_ratio[i]) * gain * float(t.weight[i])
        count += float(t.weight[i])
    return -total / count


def test_surrogate_matches_a_loop_over_rows(generator):
    weight = (torch.rand(ROWS, generator=generator) < 0.7).float()
    t = targets(generator, ratio=torch.rand(ROWS, generator=generator) + 0.5, weight=weight)
    log_prob = t.proximal_log_prob + 0.3 * torch.randn(ROWS, generator=generator)
    entropy = torch.rand(ROWS, generator=generator)
    loss = ppo.policy_loss(log_prob, entropy, t, CLIP, 0.01)
    assert float(loss.surrogate) == pytest.approx(slow_surrogate(log_prob, t), abs=1e-6)
    mean_entropy = float((entropy * weight).sum() / weight.sum())
    assert float(loss.entropy) == pytest.approx(mean_entropy, abs=1e-6)
    assert float(loss.total) == pytest.approx(float(loss.surrogate) - 0.01 * mean_entropy, abs=1e-6)


def test_diagnostics_match_their_definitions(generator):
    t = targets(generator)
    log_ratio = 0.3 * torch.randn(ROWS, generator=generator)
    loss = ppo.policy_loss(t.proximal_log_prob + log_ratio, torch.zeros(ROWS), t, CLIP, 0.0)
    ratio = log_ratio.exp().double()
    assert float(loss.clip_fraction) == pytest.approx(
        float(((ratio - 1).abs() > CLIP).double().mean())
    )
    assert float(loss.approx_kl) == pytest.approx(float((ratio - 1 - ratio.log()).mean()), abs=1e-6)


def test_at_the_proximal_policy_the_loss_is_minus_the_mean_advantage(generator):
    weight = (torch.rand(ROWS, generator=generator) < 0.7).float()
    t = targets(generator, weight=weight)
    loss = ppo.policy_loss(t.proximal_log_prob, torch.zeros(ROWS), t, CLIP, 0.0)
    assert float(loss.clip_fraction) == 0.0
    assert float(loss.approx_kl) == 0.0
    assert float(loss.surrogate) == pytest.approx(-float(t.advantage[weight > 0].mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("advantage", "log_ratio", "moves"),
    [
        (1.0, 0.2, False),
        (-1.0, 0.2, True),
        (1.0, -0.2, True),
        (-1.0, -0.2, False),
        (1.0, 0.0, True),
    ],
)
def test_clipping_stops_only_what_moves_further_away(advantage, log_ratio, moves):
    log_prob = torch.full((1,), log_ratio - 1.0, requires_grad=True)
    t = ppo.PolicyTargets(
        torch.full((1,), -1.0), torch.ones(1), torch.full((1,), advantage), torch.ones(1)
    )
    ppo.policy_loss(log_prob, torch.zeros(1), t, CLIP, 0.0).total.backward()
    assert (float(log_prob.grad) != 0.0) == moves


def plain_ppo(log_prob, behaviour_log_prob, advantage):
    ratio = (log_prob - behaviour_log_prob).exp()
    clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()


def test_decoupled_objective_is_plain_ppo_when_the_behaviour_is_proximal(generator):
    t = targets(generator)
    ratio = ppo.behaviour_ratio(t.proximal_log_prob, t.proximal_log_prob, 2.0)
    t = t._replace(behaviour_ratio=ratio)
    start = t.proximal_log_prob + 0.3 * torch.randn(ROWS, generator=generator)
    ours, reference = start.clone().requires_grad_(), start.clone().requires_grad_()
    loss = ppo.policy_loss(ours, torch.zeros(ROWS), t, CLIP, 0.0).total
    expected = plain_ppo(reference, t.proximal_log_prob, t.advantage)
    loss.backward()
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    torch.testing.assert_close(ours.grad, reference.grad, atol=1e-7, rtol=0.0)


def test_gradient_at_the_proximal_policy_is_the_importance_weighted_policy_gradient(generator):
    t = targets(generator, ratio=torch.rand(ROWS, generator=generator) + 0.5)
    log_prob = t.proximal_log_prob.clone().requires_grad_()
    ppo.policy_loss(log_prob, torch.zeros(ROWS), t, CLIP, 0.0).total.backward()
    expected = -t.behaviour_ratio * t.advantage / ROWS
    torch.testing.assert_close(log_prob.grad, expected, atol=1e-8, rtol=1e-6)


def test_behaviour_ratio_is_capped():
    proximal, behaviour = torch.tensor([-1.0, -1.0]), torch.tensor([-1.5, -9.0])
    got = ppo.behaviour_ratio(proximal, behaviour, 2.0)
    torch.testing.assert_close(got, torch.tensor([float(np.exp(0.5)), 2.0]))


def test_rows_of_weight_zero_have_no_gradient_and_no_influence(generator):
    weight = torch.ones(ROWS)
    weight[::3] = 0.0
    t = targets(generator, weight=weight)
    log_prob = (t.proximal_log_prob + 0.01).requires_grad_()
    loss = ppo.policy_loss(log_prob, torch.zeros(ROWS), t, CLIP, 0.0)
    loss.total.backward()
    assert (log_prob.grad[::3] == 0.0).all()
    assert float(loss.total.detach()) == pytest.approx(
        slow_surrogate(log_prob.detach(), t), abs=1e-6
    )


def test_normalised_advantage_has_mean_zero_and_deviation_one_over_living_rows(generator):
    advantage = 5.0 + 3.0 * torch.randn(ROWS, generator=generator)
    weight = (torch.rand(ROWS, generator=generator) < 0.6).float()
    got = ppo.normalise_advantage(advantage, weight)[weight > 0]
    assert float(got.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(got.std()) == pytest.approx(1.0, abs=1e-4)


def test_normalised_advantage_ignores_appended_padding(generator):
    advantage, weight = torch.randn(ROWS, generator=generator), torch.ones(ROWS)
    padded = ppo.normalise_advantage(
        torch.cat([advantage, torch.full((7,), 1e3)]), torch.cat([weight, torch.zeros(7)])
    )
    expected = ppo.normalise_advantage(advantage, weight)
    torch.testing.assert_close(padded[:ROWS], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("error", "expected"), [(0.5, 0.125), (10.0, 50.0), (11.0, 60.0)])
def test_huber_is_symmetric(error, expected):
    assert float(ppo.huber(torch.tensor(error), 10.0)) == pytest.approx(expected)
    assert float(ppo.huber(torch.tensor(-error), 10.0)) == pytest.approx(expected)


def test_value_loss_matches_a_loop_over_rows(generator):
    value, start, target = (2.0 * torch.randn(ROWS, generator=generator) for _ in range(3))
    weight = (torch.rand(ROWS, generator=generator) < 0.7).float()
    total = 0.0
    for v, v0, goal, w in zip(value, start, target, weight, strict=True):
        clipped = float(v0) + min(max(float(v) - float(v0), -CLIP), CLIP)
        losses = [
            e * e / 2 if abs(e) <= 1.0 else abs(e) - 0.5
            for e in (float(goal) - float(v), float(goal) - clipped)
        ]
        total += max(losses) * float(w)
    got = ppo.value_loss(value, ppo.ValueTargets(start, target, weight), CLIP, 1.0)
    assert float(got) == pytest.approx(total / float(weight.sum()), abs=1e-5)


@pytest.mark.parametrize(
    ("start", "now", "moves"),
    [(0.0, 0.2, False), (0.0, 0.05, True), (0.0, -0.2, True), (2.0, 1.8, False), (2.0, 2.2, True)],
)
def test_value_stops_once_it_moved_by_the_clip_towards_its_target(start, now, moves):
    value = torch.tensor([now], requires_grad=True)
    t = ppo.ValueTargets(torch.tensor([start]), torch.ones(1), torch.ones(1))
    ppo.value_loss(value, t, CLIP, 10.0).backward()
    assert (float(value.grad) != 0.0) == moves


def test_explained_variance(generator):
    target = torch.randn(ROWS, generator=generator)
    assert float(ppo.explained_variance(target + 3.0, target)) == pytest.approx(1.0)
    assert float(ppo.explained_variance(torch.zeros(ROWS), target)) == pytest.approx(0.0)
    assert float(ppo.explained_variance(target, torch.zeros(ROWS))) == 0.0
