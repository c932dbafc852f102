import pytest
import torch

from dm2_dist.functional import gru
from dm2_dist.functional.gru import GRUParameters

L, C, H = 6, 5, 8


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def parameters(generator):
    shapes = [(3 * H, H), (3 * H, H), (3 * H,), (3 * H,)]
    return GRUParameters(*(0.5 * torch.randn(shape, generator=generator) for shape in shapes))


def by_steps(inputs, keep, core_state, parameters):
    after = []
    for x, k in zip(inputs, keep, strict=True):
        core_state = torch.gru_cell(x, core_state * k, *parameters)
        after.append(core_state)
    return torch.stack(after)


def gradients(function, tensors, seed=torch.Generator):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    (output * weight).sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves)]


def test_unroll_and_its_gradient_match_the_framework_cell(generator, parameters):
    inputs = torch.randn(L, C, H, generator=generator)
    keep = (torch.rand(L, C, 1, generator=generator) > 0.3).float()
    core_state = torch.randn(C, H, generator=generator)

    def ours(x, h, *p):
        return gru.unroll(x, keep, h, GRUParameters(*p))

    def theirs(x, h, *p):
        return by_steps(x, keep, h, p)

    tensors = [inputs, core_state, *parameters]
    for got, expected in zip(gradients(ours, tensors), gradients(theirs, tensors), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-6, rtol=1e-5)


def test_core_state_is_reset_on_the_first_row_inside_a_chunk(generator, parameters):
    inputs = torch.randn(L, C, H, generator=generator)
    keep = torch.ones(L, C, 1)
    keep[3] = 0.0
    whole = gru.unroll(inputs, keep, torch.randn(C, H, generator=generator), parameters)
    rest = gru.unroll(inputs[3:], keep[3:], torch.zeros(C, H), parameters)
    assert torch.equal(whole[3:], rest)


def test_two_chunks_continue_one_another(generator, parameters):
    inputs, keep = torch.randn(L, C, H, generator=generator), torch.ones(L, C, 1)
    whole = gru.unroll(inputs, keep, torch.zeros(C, H), parameters)
    head = gru.unroll(inputs[:4], keep[:4], torch.zeros(C, H), parameters)
    tail = gru.unroll(inputs[4:], keep[4:], head[-1], parameters)
    torch.testing.assert_close(torch.cat([head, tail]), whole, atol=1e-6, rtol=0.0)


def test_walk_matches_an_unroll_of_each_episode(generator, parameters):
    lengths = [5, 3, 3, 1]
    counts = [4, 3, 3, 1, 1]
    episodes = [torch.randn(n, 1, H, generator=generator) for n in lengths]
    rows = torch.cat([episode[t] for t in range(5) for episode in episodes if t < len(episode)])
    walked = iter(gru.walk(rows, counts, parameters))
    expected = [
        gru.unroll(e, torch.ones(len(e), 1, 1), torch.zeros(1, H), parameters) for e in episodes
    ]
    for t in range(5):
        for episode in expected:
            if t < len(episode):
                torch.testing.assert_close(next(walked), episode[t, 0], atol=1e-6, rtol=0.0)


def test_walk_goes_on_from_what_enters(generator, parameters):
    inputs = torch.randn(7, H, generator=generator)
    entering = torch.rand(3, H, generator=generator)
    counts = [3, 2, 2]
    kept = entering.clone()
    walked = gru.walk(inputs, counts, parameters, entering)
    assert torch.equal(entering, kept)
    core_state, expected = entering, []
    for rows in inputs.split(counts):
        core_state = torch.gru_cell(rows, core_state[: len(rows)], *parameters)
        expected.append(core_state)
    torch.testing.assert_close(walked, torch.cat(expected), atol=1e-6, rtol=0.0)
    zero = gru.walk(inputs, counts, parameters, torch.zeros(3, H))
    assert torch.equal(zero, gru.walk(inputs, counts, parameters))
