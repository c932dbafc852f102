"""What PPO does about data of an older policy, and what every update says about its age."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from dm2_dist.functional import value_norm
from learners import batch as batching
from learners import estimation

CORRECTIONS = ("none", "decoupled", "vtrace")


def aged(batch, seed=0):
    """The batch as an older policy's: probabilities that differ from row to row, by up to e."""
    shift = np.random.default_rng(seed).uniform(-1, 1, batch.action.shape).astype(np.float32)
    living = batch.behaviour_log_prob != 0  # The dead have one action, of probability one.
    return dataclasses.replace(
        batch, behaviour_log_prob=np.where(living, batch.behaviour_log_prob + shift, 0.0)
    )


def trained(learner, batch):
    metrics = learner.update(batch, 0)
    return learner.parameters_sha256(), metrics


def estimate(learner, batch, config):
    prepared = batching.prepare(batch, 0, 2, config.chunk_length, torch.device("cpu"))
    walked = estimation.walk(learner.policy, learner.critic, prepared)
    statistics = value_norm.initial(torch.device("cpu"))
    reward = prepared.reward
    return (
        prepared,
        walked,
        estimation.for_ppo(prepared, reward, walked, statistics, config.ppo),
    )


def test_data_of_an_older_policy_trains_differently_under_each_correction(
    batches, configure, make_learner
):
    hashes = {
        trained(make_learner(configure(lag_correction=choice)), aged(batches[0]))[0]
        for choice in CORRECTIONS
    }
    assert len(hashes) == len(CORRECTIONS)


def test_on_policy_all_corrections_estimate_the_same(batches, configure, make_learner):
    estimates = []
    for correction in CORRECTIONS:
        config = configure(lag_correction=correction)
        estimates.append(estimate(make_learner(config), batches[0], config)[2])
    for own in estimates[1:]:
        for name in ("advantage", "target", "ratio"):
            got, expected = getattr(own, name), getattr(estimates[0], name)
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_without_correction_nobody_asks_who_acted(batches, configure, make_learner):
    config = configure(lag_correction="none")
    hashes = {trained(make_learner(config), aged(batches[0], seed))[0] for seed in range(3)}
    assert len(hashes) == 1


def test_with_correction_who_acted_matters(batches, configure, make_learner):
    for correction in ("decoupled", "vtrace"):
        config = configure(lag_correction=correction)
        hashes = {trained(make_learner(config), aged(batches[0], seed))[0] for seed in range(3)}
        assert len(hashes) == 3


def test_v_trace_weighs_a_row_once(batches, configure, make_learner):
    """Its own ratio is the weight; the advantage has only what the ratios of later rows say."""
    config = configure(lag_correction="vtrace", gae_lambda=1.0, max_behaviour_ratio=1e9)
    batch = aged(batches[0])
    prepared, walked, got = estimate(make_learner(config), batch, config)
    ratio = (walked.log_prob - prepared.behaviour_log_prob).exp()
    torch.testing.assert_close(got.ratio, ratio)
    last = prepared.rows.last_row
    row = prepared.rows.observation_row[last]
    following = walked.value[row + 1] * (~prepared.terminated)
    plain = prepared.reward[last] + 0.99 * following - walked.value[row]
    torch.testing.assert_close(got.advantage[last], plain)
    torch.testing.assert_close(
        got.target[last], walked.value[row] + ratio[last].clamp_max(1.0) * plain
    )


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_every_update_says_how_stale_its_data_is(correction, batches, configure, make_learner):
    config = configure(lag_correction=correction)
    fresh = trained(make_learner(config), batches[0])[1]
    assert fresh["behaviour_log_ratio_mean"] < 1e-5
    assert fresh["behaviour_ratio_capped_fraction"] == 0.0
    assert fresh["effective_sample_size"] == pytest.approx(1.0)
    batch = aged(batches[0])
    alive = batch.alive[batching.trajectory.action_rows(batch.length)] != 0
    assert not alive.all()
    log_ratio = (batches[0].behaviour_log_prob - batch.behaviour_log_prob)[alive]
    ratio = np.exp(log_ratio)
    stale = trained(make_learner(config), batch)[1]
    mean, capped = np.abs(log_ratio).mean(), (ratio > 2.0).mean()
    size = ratio.sum() ** 2 / (ratio.size * (ratio**2).sum())
    assert stale["behaviour_log_ratio_mean"] == pytest.approx(mean, rel=1e-3)
    assert stale["behaviour_ratio_capped_fraction"] == pytest.approx(capped, abs=1e-3)
    assert stale["effective_sample_size"] == pytest.approx(size, rel=1e-3)


def test_an_imitating_agent_is_corrected_on_its_mixed_reward(batches, configure, make_learner):
    hashes = set()
    for coefficient in (0.0, 0.3):
        config = configure("dm2", lag_correction="vtrace")
        imitation = replace(config.imitation, reward_coefficient=coefficient)
        learner = make_learner(replace(config, imitation=imitation), 0, batches[1])
        metrics = learner.update(aged(batches[0]), 0)
        assert all(np.isfinite(value) for value in metrics.values())
        hashes.add(learner.parameters_sha256())
    assert len(hashes) == 2
