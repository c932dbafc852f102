"""The gradient of the discriminator loss on the CPU, in tiles that stay in the cache.

The mathematics is that of `functional.discriminator_gradient`; here the products are the library's,
and everything between two of them is one kernel of `functional.discriminator_kernels`. Used by
`functional.discriminator_gradient`.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch

from dm2_dist.functional import discriminator_kernels as kernels
from dm2_dist.functional import gail

TILE_ROWS = 512
"""Rows of one side in a tile: five planes of three tiles fit into a cache of a megabyte."""
_REGISTER = 8
_NORM_FLOOR = 1e-12


class Draw(NamedTuple):
    """Rows of one gradient step, of two tables; gathered where they are used.

    expert: float32 [.., O] the expert's observations.
    agent: float32 [.., O] the agent's.
    expert_row: int64 [n] rows of the first.
    agent_row: int64 [m] rows of the second.
    alpha: float32 [q, 1] share of the expert in mixed row i, which joins the i-th row of either
        side; q is at most min(n, m).
    """

    expert: torch.Tensor
    agent: torch.Tensor
    expert_row: torch.Tensor
    agent_row: torch.Tensor
    alpha: torch.Tensor


class Result(NamedTuple):
    """What the rows of a draw say, before anything is weighted.

    sums: float64 [2, 3] of the expert's rows and of the agent's: classification loss, logits, and
        how many logits have the right sign.
    penalty: without its weight.
    gradient: of the whole loss.
    """

    sums: torch.Tensor
    penalty: float
    gradient: "DiscriminatorParameters"


class DiscriminatorParameters(NamedTuple):
    """Float32 tensors, H hidden units; also the shape of a gradient.

    weight_1: [H, O]
    bias_1: [H]
    weight_2: [H, H]
    bias_2: [H]
    weight_3: [1, H]
    bias_3: [1]
    """

    weight_1: torch.Tensor
    bias_1: torch.Tensor
    weight_2: torch.Tensor
    bias_2: torch.Tensor
    weight_3: torch.Tensor
    bias_3: torch.Tensor


class _Sums:
    """What the tiles add up: gradients of the matrices and vectors, and the parts of the loss.

    weight_1: float32 [O', H] transposed, see `_Planes`; weight_2: float32 [H, H].
    vectors: float32 [4, H] of b2, w3, b3 (first element) and b1; tile: the same of one tile, so
    that rounding errors do not grow with the number of rows. sides: as in `Result`.
    """

    def __init__(self, p: DiscriminatorParameters) -> None:
        hidden, self._size = p.weight_1.shape
        self.weight_1 = torch.zeros(_padded(self._size), hidden)
        self.weight_2 = torch.zeros_like(p.weight_2)
        self.vectors, self.tile = torch.zeros(2, 4, p.bias_1.shape[0])
        self.tile_rows = self.tile.numpy()
        self.sides = torch.zeros(2, 3, dtype=torch.float64)
        self.penalty = 0.0

    def close_tile(self) -> None:
        """Add this tile's vectors to those of all."""
        self.vectors += self.tile
        self.tile.zero_()

    def gradient(self) -> DiscriminatorParameters:
        """The gradient of all tiles so far."""
        bias_2, weight_3, bias_3, bias_1 = self.vectors
        return DiscriminatorParameters(
            self.weight_1[: self._size].t(),
            bias_1,
            self.weight_2,
            bias_2,
            weight_3.view(1, -1),
            bias_3[:1],
        )


class _Planes:
    """Memory of one tile, [rows, H] each, and of its observations and slopes.

    observation: float32 [2 * rows, O].
    slope: float32 [rows, O'], where O' is O up to the next multiple of a vector register: products
        whose results have another width take half as long again.
    weight_1: float32 [H, O'] W1, then zeros.
    """

    def __init__(self, hidden: int, observation: int) -> None:
        rows = TILE_ROWS
        self.observation = torch.empty(2 * rows, observation)
        self.both = torch.empty(3, 2 * rows, hidden)
        self.mixed = torch.empty(6, rows, hidden)
        self.slope = torch.empty(rows, _padded(observation))
        self.weight_1 = torch.zeros(hidden, _padded(observation))


@functools.lru_cache(maxsize=2)
def _planes(hidden: int, observation: int) -> _Planes:
    """The same memory at every step: a process has one discriminator and takes one step at a time.

    Memory that is given back and taken anew costs a page fault for every 4 KiB.
    """
    return _Planes(hidden, observation)


def _padded(observation: int) -> int:
    return -(-observation // _REGISTER) * _REGISTER


class _Own(NamedTuple):
    """Parameters as the tiles take them: W1 [H, O'], and b1, b2, w3, b3 for the kernels."""

    weight_1: torch.Tensor
    bias_1: kernels.F32
    bias_2: kernels.F32
    head: kernels.F32
    head_bias: float


def gradient(p: DiscriminatorParameters, draw: Draw, weight: float) -> Result:
    """The loss and its gradient.

    Args:
        p: parameters.
        draw: rows of both sides.
        weight: of the gradient penalty.
    """
    planes = _planes(*p.weight_1.shape)
    sides = draw.expert_row.shape[0], draw.agent_row.shape[0]
    share = np.array([1.0 / max(side, 1) for side in sides], np.float32)
    planes.weight_1[:, : p.weight_1.shape[1]] = p.weight_1
    own = _Own(
        planes.weight_1, p.bias_1.numpy(), p.bias_2.numpy(), p.weight_3.numpy()[0], p.bias_3.item()
    )
    sums, alpha = _Sums(p), draw.alpha.view(-1).numpy()
    num_mixed = max(alpha.shape[0], 1)
    for start in range(0, max(sides), TILE_ROWS):
        tile = slice(start, start + TILE_ROWS)
        expert_row, agent_row = draw.expert_row[tile], draw.agent_row[tile]
        expert, size = expert_row.shape[0], expert_row.shape[0] + agent_row.shape[0]
        observation = planes.observation[:size]
        torch.index_select(draw.expert, 0, expert_row, out=observation[:expert])
        torch.index_select(draw.agent, 0, agent_row, out=observation[expert:])
        h1, h2, grad_1 = planes.both[:, :size]
        h1_rows, h2_rows, grad_rows = h1.numpy(), h2.numpy(), grad_1.numpy()
        torch.mm(observation, p.weight_1.t(), out=h1)
        mixed = planes.mixed[:, : alpha[tile].shape[0]]
        mixed_rows = mixed[0].numpy()
        kernels.first_layer(h1_rows, expert, alpha[tile], own.bias_1, mixed_rows)
        factor = 2.0 * weight / num_mixed
        of_mixed = _penalty(p, own, mixed, planes.slope[: mixed.shape[1]], factor, sums)
        torch.mm(h1, p.weight_2.t(), out=h2)
        kernels.classify(
            h2_rows,
            expert,
            share,
            own.bias_2,
            own.head,
            own.head_bias,
            sums.tile_rows,
            sums.sides.numpy(),
        )
        sums.weight_2.addmm_(h2.t(), h1)
        torch.mm(h2, p.weight_2, out=grad_1)
        kernels.first_layer_backward(
            grad_rows,
            h1_rows,
            expert,
            of_mixed.numpy(),
            mixed_rows,
            alpha[tile],
            sums.tile_rows[3],
        )
        sums.weight_1[: observation.shape[1]].addmm_(observation.t(), grad_1)
        sums.close_tile()
    return Result(sums.sides, sums.penalty / num_mixed, sums.gradient())


def _penalty(
    p: DiscriminatorParameters,
    own: _Own,
    mixed: torch.Tensor,
    slope: torch.Tensor,
    factor: float,
    sums: _Sums,
) -> torch.Tensor:
    """The penalty on one tile; returns the gradient of the mixed rows' h1, float32 [q, H].

    Args:
        p: parameters.
        own: the same as the tiles take them.
        mixed: float32 [6, q, H] h1, and memory.
        slope: float32 [q, O'] memory.
        factor: 2 * weight / mixed rows of all tiles.
        sums: takes up everything else.
    """
    h1, h2, u2, v1, u1, of_v1 = mixed
    h1_rows, h2_rows, u2_rows, v1_rows, u1_rows, of_v1_rows = mixed.numpy()
    torch.mm(h1, p.weight_2.t(), out=h2)
    kernels.second_slope(h2_rows, own.bias_2, own.head, u2_rows)
    torch.mm(u2, p.weight_2, out=v1)
    kernels.first_slope(v1_rows, h1_rows, u1_rows)
    torch.mm(u1, own.weight_1, out=slope)
    sums.penalty += kernels.penalty(slope.numpy(), gail.TARGET_GRADIENT_NORM, factor, _NORM_FLOOR)
    sums.weight_1.addmm_(slope.t(), u1)
    of_h1 = torch.mm(slope, own.weight_1.t(), out=u1)
    kernels.first_slope_backward(u1_rows, v1_rows, h1_rows, of_v1_rows)
    sums.weight_2.addmm_(u2.t(), of_v1)
    of_second = torch.mm(of_v1, p.weight_2.t(), out=v1)
    of_bias, of_head = sums.tile_rows[:2]
    kernels.second_slope_backward(v1_rows, u2_rows, h2_rows, of_head, of_bias)
    sums.weight_2.addmm_(of_second.t(), h1)
    return of_h1.addmm_(of_second, p.weight_2)
