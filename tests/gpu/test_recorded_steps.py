"""Recorded steps say what the same steps say operation by operation; learners share a device."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from dm2_dist import presets
from dm2_dist.envs import make
from launch import host, untrained
from learners import recorded_step
from learners.independent import IndependentLearner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")


def make_config(algorithm, minibatches=1):
    base = presets.by_name("paper-5v6")
    return replace(
        base,
        map="3m",
        algorithm=algorithm,
        schedule="async" if algorithm == "impala" else base.schedule,
        demonstrations="untrained" if algorithm == "dm2" else "",
        collection=replace(base.collection, episodes_per_iteration=8, episodes_per_ticket=8),
        ppo=replace(base.ppo, minibatches=minibatches),
        imitation=replace(base.imitation, steps=20, episodes_per_step=4, demonstration_episodes=8),
    )


def make_learner(config, slice_, device=CUDA):
    spec = make.describe(config.env, config.map)
    return IndependentLearner(config, spec, 0, device, slice_)


def all_recorded(learner):
    """Every step of this learner that has been loaded."""
    steps = [learner._ppo.policy, learner._ppo.critic, learner._impala.policy]
    steps.append(learner._impala.critic)
    if learner.imitation is not None:
        steps.append(learner.imitation._padded._recorded)
    return [step for step in steps if step.recordings]


@pytest.mark.parametrize(
    ("algorithm", "minibatches"), [("ippo", 1), ("ippo", 3), ("dm2", 1), ("impala", 1)]
)
def test_twenty_steps_replayed_are_twenty_steps_launched(algorithm, minibatches, monkeypatch):
    config = make_config(algorithm, minibatches)
    slice_ = untrained.one_iteration(config)[0]
    replayed = make_learner(config, slice_)
    metrics = [replayed.update(slice_, iteration) for iteration in range(2)]
    steps = all_recorded(replayed)
    assert len(steps) == (3 if algorithm == "dm2" else 2)
    for step in steps:  # recorded, not given up on
        assert not step._refused
        assert all(each._graph is not None for each in step._recordings.values())
    monkeypatch.setattr(recorded_step.RecordedStep, "_record", lambda *_: None)
    launched = make_learner(config, slice_)
    expected = [launched.update(slice_, iteration) for iteration in range(2)]
    for ours, theirs in zip(metrics, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6, rel=1e-5)
    for name, tensor in launched.state().items():
        torch.testing.assert_close(replayed.state()[name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
def test_the_same_update_has_the_same_bits(algorithm):
    config = make_config(algorithm)
    slice_ = untrained.one_iteration(config)[0]
    hashes = set()
    for _ in range(2):
        learner = make_learner(config, slice_)
        for iteration in range(2):
            learner.update(slice_, iteration)
        hashes.add(learner.parameters_sha256())
    assert len(hashes) == 1


def test_a_recorded_step_that_is_not_finite_is_skipped():
    config = make_config("ippo")
    slice_ = untrained.one_iteration(config)[0]
    learner = make_learner(replace(config, ppo=replace(config.ppo, epochs=2)), slice_)
    learner.update(slice_, 0)
    before = learner.parameters_sha256()
    broken = replace(slice_, reward=np.full_like(slice_.reward, np.nan))
    assert learner.update(broken, 1)["skipped_steps"] == 4.0
    assert learner.parameters_sha256() == before
    learner.update(slice_, 2)
    assert learner.parameters_sha256() != before


def _learn(seed):
    """Two updates in a process of its own; the parameters' hash."""
    torch.set_deterministic_debug_mode("error")
    config = replace(make_config("ippo"), seed=seed)
    slice_ = untrained.one_iteration(config)[0]
    learner = make_learner(config, slice_)
    for iteration in range(2):
        learner.update(slice_, iteration)
    return learner.parameters_sha256()


def test_several_learners_share_a_device():
    host.prepare_environment()

    def started(seed):
        words = [sys.executable, __file__, str(seed)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def said(process):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return output.split()[-1]

    together = [said(process) for process in [started(seed) for seed in (1, 2, 3)]]
    assert together == [said(started(seed)) for seed in (1, 2, 3)]
    assert len(set(together)) == 3


if __name__ == "__main__":
    print(_learn(int(sys.argv[1])))
