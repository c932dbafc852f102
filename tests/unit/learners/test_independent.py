import dataclasses

import numpy as np
import pytest
import torch

from dm2_dist import trajectory
from dm2_dist.functional import ppo
from learners.finiteness import NonFiniteError

DM2_METRICS = {
    "discriminator_loss",
    "gradient_penalty",
    "discriminator_accuracy",
    "logit_expert_mean",
    "logit_agent_mean",
    "imitation_reward_mean",
    "living_time_log_ratio",
}
IPPO_METRICS = {
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
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


def equal(left, right):
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
def test_metrics_are_finite_floats(algorithm, batches, configure, make_learner):
    metrics = make_learner(configure(algorithm), 0, batches[0]).update(batches[0], 0)
    assert set(metrics) == IPPO_METRICS | (DM2_METRICS if algorithm == "dm2" else set())
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("algorithm", ["ippo", "dm2", "impala"])
def test_phases_are_told_as_they_begin(algorithm, batches, configure, make_learner):
    learner = make_learner(configure(algorithm), 0, batches[1])
    begun, before = [], learner.parameters_sha256()

    def enter(phase):
        begun.append((phase, learner.parameters_sha256() != before))

    learner.update(batches[0], 0, enter)
    imitating = [("discriminator", False), ("prepare", True)] if algorithm == "dm2" else []
    assert begun == [("prepare", False), *imitating, ("ppo", algorithm == "dm2")]
    assert learner.parameters_sha256() != before


def test_log_probs_of_acting_and_training_agree_at_every_step(batches, configure, make_team):
    for learner, batch in zip(make_team(configure()), batches, strict=True):
        metrics = learner.update(batch, 0)
        assert metrics["log_prob_mismatch"] < 1e-5
        assert metrics["behaviour_ratio_mean"] == pytest.approx(1.0, abs=1e-5)


def test_first_epoch_starts_at_the_proximal_policy(batches, configure, make_learner):
    metrics = make_learner(configure(epochs=1)).update(batches[0], 0)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    # The mean of the normalised advantages over the rows used is zero.
    assert metrics["policy_loss"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
@pytest.mark.parametrize("minibatches", [1, 3])
def test_update_is_deterministic(algorithm, minibatches, batches, configure, make_learner):
    hashes = set()
    for _ in range(2):
        torch.randn(7)  # Whatever the global generators did must not matter.
        np.random.default_rng().random(3)
        learner = make_learner(configure(algorithm, minibatches=minibatches), 0, batches[1])
        for iteration in range(2):
            learner.update(batches[0], iteration)
        hashes.add(learner.parameters_sha256())
    assert len(hashes) == 1


@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
def test_a_loaded_learner_goes_on_bit_for_bit(algorithm, batches, configure, make_learner):
    config = configure(algorithm, minibatches=2)
    undisturbed = make_learner(config, 0, batches[1])
    undisturbed.update(batches[0], 0)
    restored = make_learner(dataclasses.replace(config, seed=5), 0, batches[1])
    restored.load(undisturbed.state())
    assert restored.parameters_sha256() == undisturbed.parameters_sha256()
    restored = make_learner(config, 0, batches[1])
    restored.load(undisturbed.state())
    undisturbed.update(batches[0], 1)
    restored.update(batches[0], 1)
    assert equal(restored.state(), undisturbed.state())


def test_state_is_a_copy_with_the_same_names_before_and_after_training(
    batches, configure, make_learner
):
    learner = make_learner(configure("dm2"), 0, batches[0])
    before = learner.state()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    learner.update(batches[0], 0)
    assert equal(before, kept)
    after = learner.state()
    assert after.keys() == before.keys()
    assert float(after["policy_optimiser.head.weight.step"]) == 2.0
    assert float(after["discriminator_optimiser.head.weight.step"]) == 5.0


def test_a_state_of_another_shape_is_refused(batches, configure, make_learner):
    with pytest.raises(ValueError, match="does not fit"):
        make_learner(configure("dm2"), 0, batches[0]).load(make_learner(configure()).state())


def test_snapshot_is_a_copy_of_the_policy_in_float32(batches, configure, make_learner):
    learner = make_learner(configure())
    snapshot = learner.snapshot()
    assert all(array.dtype == np.float32 for array in snapshot.values())
    kept = {name: array.copy() for name, array in snapshot.items()}
    learner.update(batches[0], 0)
    assert all(np.array_equal(snapshot[name], kept[name]) for name in kept)
    assert any(not np.array_equal(learner.snapshot()[name], kept[name]) for name in kept)


def test_every_parameter_of_policy_and_critic_is_trained(batches, configure, make_learner):
    learner = make_learner(configure())
    before = learner.state()
    learner.update(batches[0], 0)
    for name, tensor in learner.state().items():
        if name.startswith(("policy.", "critic.")):
            assert not torch.equal(tensor, before[name]), name


def test_agents_share_no_parameter_and_no_optimiser(batches, configure, make_team):
    team = make_team(configure("dm2"), batches)
    idle = team[1].state()
    team[0].update(batches[0], 0)
    assert equal(team[1].state(), idle)
    assert team[0].parameters_sha256() != team[1].parameters_sha256()
    storages = [{tensor.data_ptr() for tensor in learner.policy.parameters()} for learner in team]
    assert not storages[0] & storages[1]


def test_what_follows_an_agents_death_does_not_touch_its_policy_but_its_reward_does(
    batches, configure, make_learner
):
    batch = batches[0]
    dead = batch.alive == 0
    assert dead.any()
    observation = batch.observation.copy()
    observation[dead] = 9.0
    changed = dataclasses.replace(batch, observation=observation)
    # Without bootstrapping and credit through time only the dead rows themselves could differ.
    config = configure(discount=0.0, gae_lambda=0.0)
    states = []
    for data in (batch, changed):
        learner = make_learner(config)
        learner.update(data, 0)
        states.append(learner.policy.state_dict())
    assert equal(*states)


def test_mixed_reward_uses_the_observation_before_the_action(
    batches, configure, make_learner, monkeypatch
):
    config = configure("dm2")
    seen = []
    monkeypatch.setattr(
        ppo, "explained_variance", lambda value, target: seen.append(target) or target.sum()
    )
    final = np.cumsum(batches[0].length + 1) - 1
    observation = batches[0].observation.copy()
    observation[final] += 1.0
    terminated = np.ones_like(batches[0].terminated)
    for array in (batches[0].observation, observation):
        learner = make_learner(config, 0, batches[1])
        learner.update(dataclasses.replace(batches[0], observation=array, terminated=terminated), 0)
    torch.testing.assert_close(seen[0], seen[1], atol=1e-6, rtol=1e-6)


def test_rewards_are_fixed_once_after_the_discriminator_was_trained(
    batches, configure, make_learner, monkeypatch
):
    learner = make_learner(configure("dm2", epochs=3), 0, batches[1])
    calls = []
    imitation = learner.imitation
    for name in ("update", "logit"):
        original = getattr(imitation, name)

        def record(*arguments, original=original, name=name):
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(imitation, name, record)
    learner.update(batches[0], 0)
    assert calls == ["update", "logit"]


def test_value_statistics_move_once_per_iteration(batches, configure, make_learner):
    learner = make_learner(configure(epochs=7))
    learner.update(batches[0], 0)
    assert float(learner.state()["value_statistics.debias"]) == pytest.approx(1e-5)


def test_a_lagging_behaviour_policy_is_noticed_and_capped(batches, configure, make_learner):
    lagging = dataclasses.replace(
        batches[0], behaviour_log_prob=batches[0].behaviour_log_prob - np.float32(3.0)
    )
    metrics = make_learner(configure()).update(lagging, 0)
    assert metrics["log_prob_mismatch"] == pytest.approx(3.0, abs=1e-4)
    assert metrics["behaviour_ratio_mean"] == pytest.approx(2.0)


def test_read_only_arrays_are_welcome(batches, configure, make_learner):
    frozen = {}
    for name, array in trajectory.arrays_of(batches[0]).items():
        frozen[name] = array.copy()
        frozen[name].flags.writeable = False
    learner = make_learner(configure("dm2"), 0, dataclasses.replace(batches[0], **frozen))
    learner.update(dataclasses.replace(batches[0], **frozen), 0)


# --- numbers gone wrong ---


def huge(batch, field="reward", value=3e38):
    """The batch with numbers that a wire lets through and arithmetic does not."""
    array = getattr(batch, field).copy()
    array[::2] = value
    return dataclasses.replace(batch, **{field: array})


def without_counts(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("skips.")}


@pytest.mark.parametrize(
    ("field", "value"), [("reward", 3e38), ("reward", np.nan), ("observation", np.nan)]
)
def test_skipped_steps_change_nothing_at_all(field, value, batches, configure, make_learner):
    """Not the networks, not the moments, not the value statistics: only the counts of skips."""
    learner = make_learner(configure(epochs=2))
    learner.update(batches[0], 0)
    before = learner.state()
    metrics = learner.update(huge(batches[0], field, value), 1)
    assert metrics["skipped_steps"] == 4.0
    assert "value_loss" not in metrics
    assert all(np.isfinite(number) for number in metrics.values())
    assert equal(without_counts(learner.state()), without_counts(before))
    assert int(learner.state()["skips.critic"]) == 2


def test_three_skipped_steps_in_a_row_end_the_run(batches, configure, make_learner):
    with pytest.raises(
        NonFiniteError, match=r"agent 0, iteration 7: the policy loss .* 3 gradient"
    ):
        make_learner(configure(epochs=3)).update(huge(batches[0]), 7)


def test_the_row_of_skipped_steps_goes_on_over_iterations_and_restarts(
    batches, configure, make_learner
):
    learner = make_learner(configure(epochs=2))
    learner.update(huge(batches[0]), 0)
    restarted = make_learner(configure(epochs=2))
    restarted.load(learner.state())
    for ours in (learner, restarted):
        with pytest.raises(NonFiniteError, match=r"agent 0, iteration 1: .* in 4 gradient steps"):
            ours.update(huge(batches[0]), 1)


def test_a_good_step_ends_the_row(batches, configure, make_learner):
    learner, undisturbed = make_learner(configure(epochs=2)), make_learner(configure(epochs=2))
    for iteration in range(3):
        learner.update(huge(batches[0]), iteration + 1000)
        learner.update(batches[0], iteration)
        undisturbed.update(batches[0], iteration)
    assert equal(learner.state(), undisturbed.state())


def test_a_state_from_before_steps_were_counted_is_taken(batches, configure, make_learner):
    learner = make_learner(configure(epochs=2))
    learner.update(huge(batches[0]), 0)
    older = without_counts(learner.state())
    learner.load(older)
    assert int(learner.state()["skips.policy"]) == 0


def test_a_learning_rate_that_overflows_ends_the_run(batches, configure, make_learner):
    """The gradients are finite, and the parameters after the step are not."""
    learner = make_learner(configure(learning_rate=3e38, epochs=1))
    with pytest.raises(NonFiniteError, match=r"agent 0, iteration 0: the policy"):
        learner.update(batches[0], 0)


def test_a_discriminator_that_overflows_is_named(batches, configure, make_learner):
    config = configure("dm2", epochs=1)
    config = dataclasses.replace(
        config, imitation=dataclasses.replace(config.imitation, learning_rate=3e38)
    )
    with pytest.raises(NonFiniteError, match=r"agent 1, iteration 0: the discriminator"):
        make_learner(config, 1, batches[0]).update(batches[1], 0)


def test_dm2_needs_demonstrations(configure, make_learner):
    with pytest.raises(ValueError, match="demonstrations"):
        make_learner(configure("dm2"))


def train(toy, team, iterations):
    """Team return per step before and after."""
    means = []
    for iteration in range(iterations):
        batches = toy.play([learner.snapshot() for learner in team], 16, seed=iteration)
        means.append(batches[0].reward.mean())
        for learner, batch in zip(team, batches, strict=True):
            learner.update(batch, iteration)
    return np.mean(means[:3]), np.mean(means[-3:])


def test_a_team_learns_to_follow_its_cue(toy, configure, make_team):
    toy.deaths = False
    config = configure(learning_rate=5e-3, epochs=8, clip=0.2, gae_lambda=0.5, discount=0.5)
    before, after = train(toy, make_team(config), 25)
    assert before < 0.5
    assert after > 0.85


def test_a_team_learns_to_remember_its_cue(remembering_toy, configure, make_team):
    config = configure(
        learning_rate=5e-3, epochs=8, clip=0.2, gae_lambda=0.5, discount=0.5, chunk_length=10
    )
    before, after = train(remembering_toy, make_team(config), 40)
    assert before < 0.5
    assert after > 0.8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
def test_an_accelerator_computes_the_same(algorithm, batches, configure, make_learner):
    metrics = {}
    for device in ("cpu", "cuda"):
        learner = make_learner(configure(algorithm), 0, batches[1], device)
        metrics[device] = learner.update(batches[0], 0)
        assert learner.state()["policy.head.weight"].device.type == device
    for name, value in metrics["cpu"].items():
        assert metrics["cuda"][name] == pytest.approx(value, abs=1e-3), name
