from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dm2_dist import networks, presets
from dm2_dist.envs import make
from dm2_dist.functional import gail
from dm2_dist.sections import NetworkConfig
from launch import device_bench, learner_bench, untrained


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_work_of_a_network_is_what_its_products_count():
    spec, hidden, num_rows = make.describe("skirmish", "3m"), 16, 21
    size = spec.observation_size + spec.num_actions + spec.num_agents
    config = NetworkConfig(hidden_size=hidden)
    policy = networks.make_policy(size, spec.num_actions, config, 0, 0)
    core_state = torch.zeros(num_rows, hidden)
    with FlopCounterMode(display=False) as counter:
        hidden_1 = torch.relu(policy.hidden_1(torch.ones(num_rows, size)))
        after = policy.core(torch.relu(policy.hidden_2(hidden_1)), core_state.requires_grad_())
        policy.head(after).sum().backward()
    expected = num_rows * learner_bench.network_flops(spec, hidden, spec.num_actions)
    assert counter.get_total_flops() == expected


def test_work_of_the_discriminator_is_at_most_what_plain_differentiation_counts():
    size, hidden, num_rows = 30, 16, 40
    network = networks.make_discriminator(size, hidden, seed=0, agent=0)
    rows, mixed = torch.rand(num_rows, size), torch.rand(num_rows // 2, size, requires_grad=True)
    linear, (w1, b1, w2, b2, w3, b3) = torch.nn.functional.linear, network.parameters()

    def logit(x):
        return linear(torch.tanh(linear(torch.tanh(linear(x, w1, b1)), w2, b2)), w3, b3)

    with FlopCounterMode(display=False) as counter:
        (slope,) = torch.autograd.grad(logit(mixed).sum(), mixed, create_graph=True)
        (logit(rows).mean() + gail.gradient_penalty(slope)).backward()
    ours = learner_bench.discriminator_flops(num_rows, num_rows // 2, size, hidden)
    assert 0.6 < ours / counter.get_total_flops() <= 1.0


@pytest.mark.parametrize("algorithm", ["ippo", "dm2"])
def test_every_step_stands_beside_its_limit(algorithm):
    base = presets.by_name("paper-5v6")
    config = replace(
        base,
        map="3m",
        algorithm=algorithm,
        collection=replace(base.collection, episodes_per_iteration=8, episodes_per_ticket=8),
        ppo=replace(base.ppo, epochs=1),
        imitation=replace(base.imitation, steps=2, episodes_per_step=4, demonstration_episodes=8),
    )
    rows = {row.name: row for row in learner_bench.rows(config, seconds=0.01)}
    steps = ["policy epoch", "critic epoch"]
    steps += ["discriminator step", "discriminator steps"] if algorithm == "dm2" else []
    for name in steps:
        row = rows[f"learner, {name}"]
        assert row.value > 0.0
        assert row.ratio is not None
    assert ("learner, discriminator step" in rows) == (algorithm == "dm2")
    assert rows["learner, update: ppo"].value > 0.0


def test_recorded_steps_are_set_beside_launched_ones():
    """On the device that is there; what a GPU adds is its name and the recording."""
    base = presets.by_name("quickstart")
    config = replace(
        base,
        algorithm="ippo",
        collection=replace(base.collection, episodes_per_iteration=8, episodes_per_ticket=8),
    )
    slice_ = untrained.one_iteration(config)[0]
    found = device_bench.rows(config, slice_, torch.device("cpu"), seconds=0.01)
    assert [row.name for row in found] == [
        "learner on cpu, update",
        "learner on cpu, policy steps",
        "learner on cpu, critic steps",
    ]
    assert all(row.value > 0.0 for row in found)
    assert all(row.ratio is not None for row in found[1:])
