"""On a GPU losses and steps are chains of operations; they must say what the CPU's kernels say."""

import pytest
import torch

from dm2_dist.functional import adam, ppo
from dm2_dist.functional.categorical import Choices

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on(device, tensors):
    return type(tensors)(*(tensor.to(device) for tensor in tensors))


def test_a_step_of_adam():
    ours, theirs = (
        adam.Flat(*torch.zeros(3, 500, device=device), torch.zeros((), device=device))
        for device in ("cpu", "cuda")
    )
    settings = adam.Settings(1e-2, 1e-8, 0.5)
    for gradient in torch.randn(5, 500, generator=torch.Generator().manual_seed(0)):
        adam.update(ours, gradient, torch.ones(()), settings)
        adam.update(theirs, gradient.cuda(), torch.ones((), device="cuda"), settings)
    torch.testing.assert_close(on("cpu", theirs), ours, atol=1e-6, rtol=1e-5)


def test_the_loss_of_a_policy():
    generator = torch.Generator().manual_seed(0)
    logits, row = torch.randn(6, 9, 4, generator=generator), torch.arange(54).view(6, 9)
    choices = Choices(torch.zeros(54, 4, dtype=torch.bool), row.view(-1) % 4, row)
    targets = ppo.PolicyTargets(*torch.randn(3, 6, 9, generator=generator), torch.ones(6, 9))
    expected, gradient = ppo.policy_gradient(logits, choices, targets, 0.1, 0.01)
    on_gpu = ppo.policy_gradient(logits.cuda(), on("cuda", choices), on("cuda", targets), 0.1, 0.01)
    torch.testing.assert_close(on_gpu[1].cpu(), gradient, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack(on_gpu[0]).cpu(), torch.stack(expected))
