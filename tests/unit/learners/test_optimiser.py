import pytest
import torch
from torch import nn

from learners.optimiser import Optimiser


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def loss_of(network):
    return network(torch.ones(4, 3)).square().mean()


def test_steps_are_those_of_adam_with_a_norm_clip(network):
    reference = nn.Linear(3, 2)
    reference.load_state_dict(network.state_dict())
    adam = torch.optim.Adam(reference.parameters(), lr=0.1, eps=1e-5)
    ours = Optimiser(network, 0.1, 1e-5, 0.01)
    for _ in range(3):
        norm = ours.minimise(loss_of(network))
        adam.zero_grad()
        loss_of(reference).backward()
        expected = nn.utils.clip_grad_norm_(reference.parameters(), 0.01)
        adam.step()
        torch.testing.assert_close(norm, expected)
    for left, right in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_given_gradients_and_back_propagation_do_the_same(network):
    other = nn.Linear(3, 2)
    other.load_state_dict(network.state_dict())
    names = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss_of(network), list(names.values()))
    Optimiser(network, 0.1, 1e-8, None).apply(dict(zip(names, gradients, strict=True)))
    Optimiser(other, 0.1, 1e-8, None).minimise(loss_of(other))
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True)
    )


def test_loaded_moments_continue_bit_for_bit(network):
    ours = Optimiser(network, 0.1, 1e-8, 1.0)
    ours.minimise(loss_of(network))
    copy = nn.Linear(3, 2)
    copy.load_state_dict(network.state_dict())
    theirs = Optimiser(copy, 0.1, 1e-8, 1.0)
    theirs.load(ours.state())
    ours.minimise(loss_of(network))
    theirs.minimise(loss_of(copy))
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), copy.parameters(), strict=True)
    )
