import copy
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist import networks
from dm2_dist.functional import compiled, episodes, network_kernels, network_walk
from dm2_dist.functional.compiled import kernel
from dm2_dist.sections import NetworkConfig

INPUT = 13


def make(hidden=16, outputs=5, scale=0.2, seed=0):
    """A network none of whose scales is one and none of whose shifts is zero."""
    network = networks.make_policy(INPUT, outputs, NetworkConfig(hidden_size=hidden), seed, 0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return network


def rows(length, chunks, hidden=16, seed=0, first_share=0.2):
    generator = torch.Generator().manual_seed(seed)
    inputs = networks.standardise(torch.randn(length, chunks, INPUT, generator=generator))
    keep = (torch.rand(length, chunks, 1, generator=generator) >= first_share).float()
    return inputs, keep, 0.5 * torch.randn(chunks, hidden, generator=generator)


def plain(network, inputs, keep, core_state):
    """The network as a textbook would write it, on standardised inputs, in double precision."""
    linear = torch.nn.functional.linear
    outputs = []
    for x, k in zip(inputs, keep, strict=True):
        normed = x * network.input_norm.weight + network.input_norm.bias
        hidden = network.norm_1(torch.relu(network.hidden_1(normed)))
        hidden = network.norm_2(torch.relu(network.hidden_2(hidden)))
        core_state = network.core(hidden, core_state * k)
        outputs.append(linear(network.core_norm(core_state), *network.head.parameters()))
    return torch.stack(outputs)


def gradients(network, function, arguments, seed=5):
    network.zero_grad(set_to_none=True)
    outputs = function(*arguments)
    weight = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed))
    (outputs * weight.to(outputs.dtype)).sum().backward()
    return outputs.detach(), {name: p.grad for name, p in network.named_parameters()}


def assert_equal_to_plain(network, got, arguments):
    doubled = copy.deepcopy(network).double()
    double = [argument.double() for argument in arguments]
    outputs, expected = gradients(doubled, lambda *a: plain(doubled, *a), double)
    torch.testing.assert_close(got[0].double(), outputs, atol=1e-5, rtol=1e-5)
    # A gradient that nearly cancels is as exact as what it is the difference of.
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        error = (got[1][name].double() - gradient).abs().max()
        assert error <= 1e-5 * gradient.abs().max() + 3e-6 * largest, name


@settings(deadline=None, max_examples=20)
@given(
    length=st.integers(1, 11),
    chunks=st.integers(1, 40),
    hidden=st.sampled_from([16, 33, 64]),
    outputs=st.sampled_from([1, 5, 12]),
    scale=st.sampled_from([0.0, 0.1, 0.4]),
    first_share=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 1000),
)
def test_outputs_and_gradients_match_the_plain_network(
    length, chunks, hidden, outputs, scale, first_share, seed
):
    network = make(hidden, outputs, scale, seed)
    arguments = rows(length, chunks, hidden, seed, first_share)
    assert_equal_to_plain(network, gradients(network, network.unroll, arguments), arguments)


def test_many_rows_do_not_add_up_rounding_errors():
    network, arguments = make(64, 12), rows(10, 900, 64)
    assert_equal_to_plain(network, gradients(network, network.unroll, arguments), arguments)


def test_the_way_of_other_devices_matches_the_plain_network():
    network, arguments = make(), rows(7, 20)
    got = gradients(network, network.unroll_by_operations, arguments)
    assert_equal_to_plain(network, got, arguments)


def test_memory_of_an_earlier_call_leaves_no_trace():
    used, fresh = make(), make()
    for length, chunks in ((9, 30), (3, 50), (20, 2)):
        gradients(used, used.unroll, rows(length, chunks, seed=chunks))
    arguments = rows(5, 11, seed=4)
    ours, theirs = (gradients(n, n.unroll, arguments) for n in (used, fresh))
    assert torch.equal(ours[0], theirs[0])
    for name, gradient in theirs[1].items():
        assert torch.equal(ours[1][name], gradient), name


def test_two_unrolls_before_a_backward_pass_do_not_mix():
    network, arguments = make(), rows(4, 6)
    expected = gradients(network, network.unroll, arguments)[1]
    outputs = network.unroll(*arguments)
    network.unroll(*rows(4, 6, seed=8))
    with torch.no_grad():
        network.unroll(*rows(4, 6, seed=9))
    network.zero_grad()
    weight = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(5))
    (outputs * weight).sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, expected[name]), name


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    outputs=st.sampled_from([1, 12]),
    resumed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_walk_is_the_plain_network_along_each_episode(lengths, outputs, resumed, seed):
    network, generator = make(16, outputs, 0.3, seed), torch.Generator().manual_seed(seed)
    order = episodes.time_order(np.array(lengths, np.int32) - 1)
    size = sum(lengths)
    inputs = networks.standardise(torch.randn(size, INPUT, generator=generator))
    memory = torch.randn(len(lengths), 16, generator=generator) if resumed else None
    row = torch.from_numpy(order.row)
    entering = None if memory is None else memory[torch.from_numpy(order.episode)]
    with torch.no_grad():
        matrices = network._matrices()
        y, core = network_walk.walk(matrices, inputs[row], order.counts, entering)
        expected_y, expected_core = network.walk(inputs, order)
    placed_y, placed_core = torch.empty(size, outputs), torch.empty(size, 16)
    placed_y[row], placed_core[row] = y, core
    if memory is None:
        torch.testing.assert_close(placed_core, expected_core, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(placed_y, expected_y, atol=1e-5, rtol=1e-5)
    start, doubled = 0, copy.deepcopy(network).double()
    for episode, length in enumerate(lengths):
        x = inputs[start : start + length, None].double()
        keep = torch.ones(length, 1, 1, dtype=torch.float64)
        core_state = torch.zeros(1, 16) if memory is None else memory[episode, None]
        of_episode = plain(doubled, x, keep, core_state.double())[:, 0].detach()
        ours = placed_y[start : start + length].double()
        torch.testing.assert_close(ours, of_episode, atol=1e-5, rtol=1e-5)
        start += length


@pytest.mark.parametrize("name", ["hidden_1.weight", "norm_1.bias", "core.weight_hh", "head.bias"])
def test_a_parameter_that_is_not_a_number_shows_in_the_outputs(name):
    network = make()
    with torch.no_grad():
        dict(network.named_parameters())[name].view(-1)[0] = torch.nan
    assert network.unroll(*rows(3, 4)).isnan().any()


@kernel
def squash(values, tanh_of, sigmoid_of):
    for i in range(values.shape[0]):
        tanh_of[i] = compiled.tanh(values[i])
        sigmoid_of[i] = compiled.sigmoid(values[i])


def test_kernels_are_looked_up_on_disk_by_what_is_compiled_into_them():
    """Else a change of `compiled` would leave the machine code of the kernels as it was."""
    content = f"{zlib.crc32(Path(compiled.__file__).read_bytes()):08x}"
    for user in (network_kernels.gru_step, squash):
        assert content in user._cache._cache_file._index_name


def test_squashing_functions_are_accurate_to_rounding():
    values = np.concatenate([np.linspace(-30, 30, 100_001), np.geomspace(1e-30, 1e3, 1000)])
    values = values.astype(np.float32)
    tanh_of, sigmoid_of = np.empty((2, values.shape[0]), np.float32)
    squash(values, tanh_of, sigmoid_of)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(tanh_of, np.tanh(exact), atol=3e-7, rtol=1e-6)
    np.testing.assert_allclose(sigmoid_of, 0.5 + 0.5 * np.tanh(exact / 2), atol=2e-7, rtol=0.0)


def test_squashing_functions_keep_what_is_not_finite():
    values = np.array([np.nan, np.inf, -np.inf], np.float32)
    tanh_of, sigmoid_of = np.empty((2, 3), np.float32)
    squash(values, tanh_of, sigmoid_of)
    assert np.isnan(tanh_of[0])
    assert np.isnan(sigmoid_of[0])
    np.testing.assert_allclose(tanh_of[1:], [1.0, -1.0], atol=3e-7)
