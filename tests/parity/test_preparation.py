import torch

from dm2_dist.functional import (
    adam,
    discriminator_kernels,
    loss_kernels,
    network_kernels,
    policy_gradient,
    ppo,
    preparation,
)
from dm2_dist.functional.categorical import Choices
from dm2_dist.functional.discriminator_gradient import (
    DiscriminatorParameters,
    Draw,
    loss_and_gradient,
)
from dm2_dist.networks import make_discriminator, make_policy
from dm2_dist.sections import NetworkConfig
from learners.optimiser import Optimiser


def compiled_kernels():
    modules = (adam, loss_kernels, network_kernels, discriminator_kernels)
    found = [thing for module in modules for thing in vars(module).values()]
    kernels = [thing for thing in found if hasattr(thing, "signatures")]
    called_by_python = [k for k in kernels if not k.targetoptions.get("forceinline")]
    return {kernel.__name__: len(kernel.signatures) for kernel in called_by_python}


def test_a_real_step_finds_every_kernel_compiled():
    preparation.compile_kernels()
    before = compiled_kernels()
    assert len(before) > 10
    assert all(before.values())
    policy = make_policy(9, 5, NetworkConfig(hidden_size=16), 0, 0)
    logits = policy.unroll(torch.randn(3, 7, 9), torch.ones(3, 7, 1), torch.zeros(7, 16))
    zeros, row = torch.zeros(3, 7), torch.arange(21).view(3, 7)
    none = torch.zeros(30, 5, dtype=torch.bool)
    choices = Choices(none, torch.zeros(30, dtype=torch.int64), row)
    targets = ppo.PolicyTargets(zeros, zeros, zeros, zeros)
    loss, gradient = ppo.policy_gradient(logits, choices, targets, 0.1, 0.01)
    Optimiser(policy, 1e-3, 1e-5, 10.0).descend(logits, gradient, loss.total)
    aims = policy_gradient.PolicyTargets(zeros, zeros, zeros)
    policy_gradient.policy_gradient(logits, choices, aims, 1.0, 0.01)
    ppo.value_gradient(zeros, ppo.ValueTargets(zeros, zeros, zeros), 0.1, 10.0)
    network = make_discriminator(6, 8, 0, 0)
    parameters = (p.detach() for p in network.parameters())
    observation, row = torch.randn(20, 6), torch.arange(12)
    rows = Draw(observation, observation, row, row[:8], torch.rand(8, 1))
    loss_and_gradient(DiscriminatorParameters(*parameters), rows, 10.0)
    assert compiled_kernels() == before
