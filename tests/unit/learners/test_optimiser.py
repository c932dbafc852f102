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


def minimise(optimiser, loss):
    return optimiser.descend(loss, torch.ones(()), loss.detach())


def test_steps_are_those_of_adam_with_a_norm_clip(network):
    reference = nn.Linear(3, 2)
    reference.load_state_dict(network.state_dict())
    adam = torch.optim.Adam(reference.parameters(), lr=0.1, eps=1e-5)
    ours = Optimiser(network, 0.1, 1e-5, 0.01)
    for _ in range(3):
        norm = minimise(ours, loss_of(network)).norm
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
    loss = loss_of(network)
    gradients = torch.autograd.grad(loss, list(names.values()))
    given = dict(zip(names, gradients, strict=True))
    Optimiser(network, 0.1, 1e-8, None).apply(given, loss.detach())
    minimise(Optimiser(other, 0.1, 1e-8, None), loss_of(other))
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True)
    )


def test_loaded_moments_continue_bit_for_bit(network):
    ours = Optimiser(network, 0.1, 1e-8, 1.0)
    minimise(ours, loss_of(network))
    copy = nn.Linear(3, 2)
    copy.load_state_dict(network.state_dict())
    theirs = Optimiser(copy, 0.1, 1e-8, 1.0)
    theirs.load(ours.state())
    minimise(ours, loss_of(network))
    minimise(theirs, loss_of(copy))
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), copy.parameters(), strict=True)
    )


def test_the_state_of_the_framework_can_be_loaded(network):
    reference = nn.Linear(3, 2)
    reference.load_state_dict(network.state_dict())
    adam = torch.optim.Adam(reference.parameters(), lr=0.1, eps=1e-8)
    ours = Optimiser(network, 0.1, 1e-8, None)
    for step in range(4):
        adam.zero_grad()
        loss_of(reference).backward()
        adam.step()
        if step == 2:
            named = reference.named_parameters()
            ours.load(
                {
                    f"{name}.{moment}": value
                    for name, parameter in named
                    for moment, value in adam.state[parameter].items()
                }
            )
            network.load_state_dict(reference.state_dict())
    minimise(ours, loss_of(network))
    for left, right in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-6)


def test_parameters_and_their_moments_begin_at_whole_cache_lines(network):
    state = Optimiser(network, 0.1, 1e-8, None).state()
    moments = [tensor for name, tensor in state.items() if not name.endswith(".step")]
    begins = {tensor.data_ptr() % 64 for tensor in [*network.parameters(), *moments]}
    assert begins == {0}


# --- steps that are not finite ---

BAD = [float("nan"), float("inf"), float("-inf")]


def frozen(optimiser, network):
    """Bytes of everything a step may change."""
    tensors = {**dict(network.named_parameters()), **optimiser.state()}
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(network, where, bad, norm):
    ours = Optimiser(network, 0.1, 1e-8, norm)
    assert float(minimise(ours, loss_of(network)).skipped) == 0.0
    before = frozen(ours, network)
    gradients = {name: torch.ones_like(p) for name, p in network.named_parameters()}
    if where == "gradient":
        gradients["weight"][1, 2] = bad
    step = ours.apply(gradients, torch.tensor(bad if where == "loss" else 1.0))
    assert float(step.skipped) == 1.0
    assert frozen(ours, network) == before


def test_an_overflow_on_the_way_back_changes_nothing(network):
    ours = Optimiser(network, 0.1, 1e-8, 0.5)
    before = frozen(ours, network)
    step = minimise(ours, 1e30 * (1e30 * loss_of(network)))
    assert float(step.skipped) == 1.0
    assert frozen(ours, network) == before


def test_after_skipped_steps_training_goes_on_as_if_they_had_not_been(network):
    other = nn.Linear(3, 2)
    other.load_state_dict(network.state_dict())
    ours, theirs = (Optimiser(n, 0.1, 1e-8, 0.5) for n in (network, other))
    for bad in (None, *BAD, None):
        loss = loss_of(network)
        minimise(ours, loss if bad is None else loss * bad)
        if bad is None:
            minimise(theirs, loss_of(other))
    assert frozen(ours, network) == frozen(theirs, other)
