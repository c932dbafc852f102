"""V-trace policy gradient through the same learner: one pass, the same state, the same promises."""

import dataclasses
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch

from dm2_dist.sections import ImpalaConfig
from learners.finiteness import NonFiniteError

METRICS = {
    "policy_loss",
    "value_loss",
    "entropy",
    "clip_fraction",
    "policy_gradient_norm",
    "critic_gradient_norm",
    "explained_variance",
    "log_prob_mismatch",
    "behaviour_ratio_mean",
    "behaviour_log_ratio_mean",
    "behaviour_ratio_capped_fraction",
    "effective_sample_size",
    "skipped_steps",
}


@pytest.fixture
def impala(configure):
    """Make a configuration of this algorithm; keywords go to its section."""

    def make(**changes):
        section = ImpalaConfig(**({"chunk_length": 4, "minibatches": 3} | changes))
        return replace(configure("impala"), impala=section)

    return make


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_metrics_are_finite_floats(batches, impala, make_learner):
    metrics = make_learner(impala()).update(batches[0], 0)
    assert set(metrics) == METRICS
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
    assert metrics["behaviour_ratio_capped_fraction"] == 0.0


@pytest.mark.parametrize("minibatches", [1, 3])
def test_a_batch_is_seen_once(minibatches, batches, impala, make_learner):
    learner = make_learner(impala(minibatches=minibatches))
    learner.update(batches[0], 0)
    state = learner.state()
    assert float(state["policy_optimiser.head.weight.step"]) == minibatches
    assert float(state["critic_optimiser.head.weight.step"]) == minibatches
    assert float(state["value_statistics.debias"]) == pytest.approx(1e-5)


def test_a_state_has_the_names_that_ppo_has(batches, configure, impala, make_learner):
    learner = make_learner(impala())
    learner.update(batches[0], 0)
    assert learner.state().keys() == make_learner(configure()).state().keys()


def test_an_update_is_deterministic_and_a_loaded_learner_goes_on_bit_for_bit(
    batches, impala, make_learner
):
    undisturbed, restored = make_learner(impala()), make_learner(impala())
    undisturbed.update(batches[0], 0)
    torch.randn(7)
    restored.load(undisturbed.state())
    for learner in (undisturbed, restored):
        learner.update(batches[0], 1)
    assert equal(undisturbed.state(), restored.state())
    assert undisturbed.parameters_sha256() == restored.parameters_sha256()


def test_every_parameter_is_trained_and_the_iteration_keys_the_draws(batches, impala, make_learner):
    first, second = make_learner(impala()), make_learner(impala())
    before = first.state()
    first.update(batches[0], 0)
    second.update(batches[0], 1)
    for name, tensor in first.state().items():
        if name.startswith(("policy.", "critic.")):
            assert not torch.equal(tensor, before[name]), name
    assert first.parameters_sha256() != second.parameters_sha256()


def test_settings_of_ppo_are_not_read(batches, impala, make_learner):
    config = impala()
    other = replace(
        config, ppo=replace(config.ppo, learning_rate=1.0, chunk_length=7, lag_correction="none")
    )
    hashes = set()
    for own in (config, other):
        learner = make_learner(own)
        learner.update(batches[0], 0)
        hashes.add(learner.parameters_sha256())
    assert len(hashes) == 1


def test_what_the_policy_would_never_have_done_teaches_nothing(batches, impala, make_learner):
    """Ratios of nearly zero: no gradient but the entropy's, and targets that are the values."""
    never = dataclasses.replace(
        batches[0], behaviour_log_prob=np.full_like(batches[0].behaviour_log_prob, 80.0)
    )
    metrics = make_learner(impala(minibatches=1, entropy_coefficient=0.0)).update(never, 0)
    assert metrics["policy_gradient_norm"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["behaviour_ratio_mean"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["explained_variance"] == pytest.approx(1.0, abs=1e-5)


def test_steps_that_are_not_finite_are_skipped_and_three_in_a_row_end_the_run(
    batches, impala, make_learner
):
    reward = batches[0].reward.copy()
    reward[::2] = 3e38
    huge = dataclasses.replace(batches[0], reward=reward)
    learner = make_learner(impala(minibatches=2))
    before = learner.state()
    assert learner.update(huge, 0)["skipped_steps"] == 4.0
    skips = {name for name in before if name.startswith("skips.")}
    after = learner.state()
    assert all(torch.equal(before[n], after[n]) for n in before.keys() - skips)
    with pytest.raises(NonFiniteError, match=r"the policy loss .* 3 gradient"):
        make_learner(impala()).update(huge, 0)


@pytest.mark.parametrize("lag", [0, 4])
def test_a_team_learns_to_follow_its_cue_from_old_data_too(lag, toy, impala, make_team):
    toy.deaths = False
    team = make_team(impala(learning_rate=1e-2, discount=0.5, entropy_coefficient=0.003))
    versions = deque([[learner.snapshot() for learner in team]], maxlen=lag + 1)
    means = []
    for iteration in range(60):
        played = toy.play(versions[0], 16, seed=iteration)
        means.append(played[0].reward.mean())
        for learner, batch in zip(team, played, strict=True):
            learner.update(batch, iteration)
        versions.append([learner.snapshot() for learner in team])
    assert np.mean(means[:3]) < 0.5
    assert np.mean(means[-3:]) > 0.85


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_computes_the_same(batches, impala, make_learner):
    metrics = {}
    for device in ("cpu", "cuda"):
        learner = make_learner(impala(), 0, None, device)
        metrics[device] = learner.update(batches[0], 0)
        assert learner.state()["policy.head.weight"].device.type == device
    for name, value in metrics["cpu"].items():
        assert metrics["cuda"][name] == pytest.approx(value, abs=1e-3), name
