"""The discriminator's gradient steps on a device with a memory of its own.

Everything that the steps of an iteration read goes there before the first one, as tables with a row
for each step, so that one recorded step does for all: it counts the steps itself. Used by
`learners.imitation`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dm2_dist.functional import discriminator_padded
from dm2_dist.functional.discriminator_padded import PaddedDraw
from dm2_dist.functional.discriminator_tiles import DiscriminatorParameters
from learners.optimiser import Optimiser
from learners.recorded_step import RecordedStep

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_AXES = (0, 1, 1, 1, None, None)


class HostDraw(NamedTuple):
    """What one gradient step looks at, on the host.

    expert_row: int64 [n] rows of the expert's observations.
    agent_row: int64 [m] rows of the agent's.
    share: float32 [q, 1] of the expert in mixed row i, which joins the i-th row of either side.
    """

    expert_row: I64
    agent_row: I64
    share: F32


class PaddedSteps:
    """Steps of one discriminator, kept from iteration to iteration."""

    def __init__(
        self,
        parameters: DiscriminatorParameters,
        names: Sequence[str],
        optimiser: Optimiser,
        expert: torch.Tensor,
        penalty_weight: float,
    ) -> None:
        """Take no step yet.

        Args:
            parameters: changed in place by the optimiser.
            names: of the parameters, as the optimiser knows them.
            optimiser: of the discriminator.
            expert: float32 [.., O] the expert's observations.
            penalty_weight: of the gradient penalty.
        """
        self._parameters, self._names, self._optimiser = parameters, tuple(names), optimiser
        self._expert, self._penalty_weight = expert, penalty_weight
        self._recorded = RecordedStep(self._step, _AXES, optimiser.changed(), pads=True)

    def load(self, agent: torch.Tensor, draws: Sequence[HostDraw]) -> None:
        """The next steps take these draws, one after the other.

        Args:
            agent: float32 [.., O] the agent's observations.
            draws: of every step, on the host.
        """
        device = agent.device
        expert_row, agent_row, share = (
            torch.from_numpy(_table([draw[side] for draw in draws])).to(device) for side in range(3)
        )
        sizes = np.array([[len(side) for side in draw] for draw in draws], np.float32)
        count = torch.from_numpy(np.maximum(sizes, 1.0)).to(device)
        turn = torch.zeros(1, dtype=torch.int64, device=device)
        self._recorded.load((agent, expert_row, agent_row, share, count, turn))

    def take(self) -> torch.Tensor:
        """One step; returns what `Imitation.step` does."""
        return self._recorded.take()

    def unload(self) -> None:
        """Let go of the draws."""
        self._recorded.unload()

    def _step(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        agent, *tables, turn = tensors
        expert_row, agent_row, share, count = (t.index_select(0, turn)[0] for t in tables)
        draw = PaddedDraw(
            self._expert.index_select(0, expert_row),
            agent.index_select(0, agent_row),
            share,
            count,
        )
        loss, gradient = discriminator_padded.loss_and_gradient(
            self._parameters, draw, self._penalty_weight
        )
        named = dict(zip(self._names, gradient, strict=True))
        step = self._optimiser.apply(named, loss.total)
        turn.add_(1)
        return torch.stack([*loss, *step])


def _table(rows: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """One row for each of these, [n, ...], with zeros behind the shorter ones: [S, n', ...]."""
    longest = max(len(row) for row in rows)
    table = np.zeros((len(rows), longest, *rows[0].shape[1:]), rows[0].dtype)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table
