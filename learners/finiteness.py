"""Numbers gone wrong: which gradient steps were skipped, and when that is too many.

A step whose loss or gradient is not finite changes nothing (`learners.optimiser`); which ones those
were is read once per iteration, with the metrics. Three in a row of one network end the run: the
numbers will not come back by themselves. Used by `learners.independent`.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from dm2_dist.functional.value_norm import ValueStatistics

_LOG = logging.getLogger(__name__)
_NETWORKS = ("policy", "critic", "discriminator")
_SKIPPED = "_skipped"
STEPS_IN_A_ROW = 3
"""So many skipped gradient steps of one network, one after the other, end the run."""


class NonFiniteError(ArithmeticError):
    """Losses, gradients or parameters are not finite; the message says whose, when and which."""


class Skips:
    """The skipped gradient steps of one learner: how many in a row, up to now, by network.

    counts: skipped steps of the newest iteration by network, also of one that ended the run.
    """

    def __init__(self, agent: int) -> None:
        self.counts: dict[str, int] = {}
        self._agent = agent
        self._in_a_row = {name: torch.zeros((), dtype=torch.int64) for name in _NETWORKS}

    def state(self) -> dict[str, torch.Tensor]:
        """Skipped steps in a row up to now, int64 [] each, on the host (not copied)."""
        return dict(self._in_a_row)

    def read(
        self,
        metrics: Mapping[str, torch.Tensor],
        trained: Mapping[str, Sequence[torch.Tensor]],
        iteration: int,
    ) -> dict[str, float]:
        """Bring the metrics of an iteration to the host, all at once, and judge its steps.

        Args:
            metrics: float32 [] each; `<network>_skipped` float32 [steps], 1 where one was skipped.
            trained: parameters and moments by network.
            iteration: i, for the message.

        Returns:
            The metrics that are finite, and `skipped_steps`.

        Raises:
            NonFiniteError: too many skipped steps in a row, or a network is not finite.
        """
        largest = {name: nn.utils.get_total_norm(t, math.inf) for name, t in trained.items()}
        values = _to_host({**metrics, **{f"{name}_largest": t for name, t in largest.items()}})
        whose = f"agent {self._agent}, iteration {iteration}"
        steps = {name: values.pop(f"{name}{_SKIPPED}", []) for name in trained}
        self.counts = {name: int(sum(flags)) for name, flags in steps.items()}
        for name, flags in steps.items():
            longest, at_the_end = _runs(int(self._in_a_row[name]), flags)
            self._in_a_row[name].fill_(at_the_end)
            if longest >= STEPS_IN_A_ROW:
                raise NonFiniteError(
                    f"{whose}: the {name} loss or its gradient was not finite in {longest} "
                    "gradient steps in a row"
                )
            if not math.isfinite(values.pop(f"{name}_largest")[0]):
                raise NonFiniteError(
                    f"{whose}: the {name} loss was finite, but a step down it was not: the "
                    f"{name}'s parameters or their moments have overflowed"
                )
        skipped = sum(self.counts.values())
        if skipped:
            _LOG.warning("skipped_steps=%s iteration=%s", skipped, iteration)
        finite = {name: number for name, (number,) in values.items() if math.isfinite(number)}
        return finite | {"skipped_steps": float(skipped)}


def mean(values: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    """Mean over the steps that were not skipped; not a number if there is none.

    Args:
        values: float32 [steps, ...].
        skipped: float32 [steps] 1 where a step was skipped.

    Returns:
        float32 [...].
    """
    flags = skipped.view(-1, *(1,) * (values.dim() - 1)) != 0.0
    kept = skipped.shape[0] - skipped.sum()
    return values.masked_fill(flags, 0.0).sum(0) / kept


def means(steps: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of each metric over the steps that report it and were not skipped.

    Args:
        steps: metrics of one gradient step each, float32 [], among them one `<network>_skipped`.

    Returns:
        The means, float32 [], and every `<network>_skipped` as one float32 [steps].
    """
    names = {name: None for step in steps for name in step}
    columns = {name: torch.stack([s[name] for s in steps if name in s]) for name in names}
    flags_of = {
        name: columns[flag]
        for step in steps
        for flag in step
        if flag.endswith(_SKIPPED)
        for name in step
    }
    return {
        name: column if name.endswith(_SKIPPED) else mean(column, flags_of[name])
        for name, column in columns.items()
    }


def newer(old: ValueStatistics, new: ValueStatistics) -> ValueStatistics:
    """`new` if all of it is finite, else `old`; decided on the device."""
    usable = torch.stack(new).isfinite().all()
    return ValueStatistics(*(torch.where(usable, n, o) for o, n in zip(old, new, strict=True)))


def _runs(before: int, flags: Sequence[float]) -> tuple[int, int]:
    """The longest run of flags, and the one that lasts at the end; `before` came just before."""
    longest = lasting = before
    for flag in flags:
        lasting = lasting + 1 if flag else 0
        longest = max(longest, lasting)
    return longest, lasting


def _to_host(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    """The numbers of all tensors, float32 [] or [n], in one transfer."""
    flat = torch.cat([tensor.to(torch.float32).reshape(-1) for tensor in tensors.values()]).tolist()
    values = {}
    for name, tensor in tensors.items():
        values[name], flat = flat[: tensor.numel()], flat[tensor.numel() :]
    return values
