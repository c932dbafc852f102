"""Padded draws in tables say what the CPU's tiles say of the draws themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist import networks
from dm2_dist.functional import adam, discriminator_gradient
from dm2_dist.functional.discriminator_gradient import DiscriminatorParameters, Draw
from learners import padded_imitation
from learners.optimiser import Optimiser
from learners.padded_imitation import HostDraw, PaddedSteps

OBSERVATION, HIDDEN, PENALTY = 5, 8, 10.0
_EPSILON = 1e-3
"""So large that a rounding error of a gradient near zero is not blown up to a whole step."""


def discriminator():
    """Parameters in the order of the closed form, and their optimiser."""
    network = networks.make_discriminator(OBSERVATION, HIDDEN, seed=0, agent=0)
    optimiser = Optimiser(network, 1e-3, _EPSILON, None)
    named = dict(network.named_parameters())
    return DiscriminatorParameters(*named.values()), tuple(named), optimiser


def drawn(expert_rows, agent_rows, sizes, generator):
    for ours, theirs in sizes:
        yield HostDraw(
            generator.integers(expert_rows, size=ours),
            generator.integers(agent_rows, size=theirs),
            generator.random((min(ours, theirs), 1), dtype=np.float32),
        )


sides = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(
    iterations=st.lists(st.lists(sides, min_size=1, max_size=3), min_size=1, max_size=2),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_steps_are_those_of_the_cpu(iterations, seed):
    generator = np.random.default_rng(seed)
    expert = torch.from_numpy(generator.standard_normal((60, OBSERVATION), dtype=np.float32))
    plain, names, plain_optimiser = discriminator()
    padded, _, optimiser = discriminator()
    steps = PaddedSteps(padded, names, optimiser, expert, PENALTY)
    with pytest.MonkeyPatch.context() as patch:
        for sizes in iterations:
            rows = int(generator.integers(1, 70))
            agent = torch.from_numpy(
                generator.standard_normal((rows, OBSERVATION), dtype=np.float32)
            )
            draws = list(drawn(60, rows, sizes, generator))
            steps.load(agent, draws)
            for each in draws:
                patch.setattr(adam, "update", adam.update_by_operations)
                numbers = steps.take()
                patch.undo()
                draw = Draw(expert, agent, *(torch.from_numpy(array) for array in each))
                loss, gradient = discriminator_gradient.loss_and_gradient(plain, draw, PENALTY)
                step = plain_optimiser.apply(dict(zip(names, gradient, strict=True)), loss.total)
                expected = torch.stack([*loss, *step])
                torch.testing.assert_close(numbers, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(optimiser.changed(), plain_optimiser.changed(), atol=2e-6, rtol=1e-4)


def test_a_table_has_a_row_for_each_step():
    rows = [np.array([3, 4]), np.array([5]), np.array([], dtype=np.int64)]
    assert padded_imitation._table(rows).tolist() == [[3, 4], [5, 0], [0, 0]]
