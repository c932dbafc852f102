"""The closest-target policy of SMAC: its `heuristic_ai`, and the yardstick of the calibration.

Every agent keeps a target until it dies and then takes the nearest living enemy; a medivac keeps an
ally until it is dead or fully healed and then takes the nearest hurt one. An agent attacks (heals)
if it may; otherwise it walks towards the target along the longer axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.lineup import roster

_NO_OP, _STOP, _NORTH, _SOUTH, _EAST, _WEST, _ATTACK = 0, 1, 2, 3, 4, 5, 6

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class ClosestTarget:
    """Closest-target play of one batch; call `reset` whenever the batch is reset.

    With restricted orders (SMAC's `heuristic_rest`) it gives available actions only. A batch made
    with `attack_any_distance` accepts `restricted=False`: plain orders at any distance (SMAC's
    `heuristic_ai`).

    Attributes:
        intended: int64 [B, K] what SMAC records for the last `actions`: 0 without a target, also
            walks that are blocked, and numbers for dead agents too.
    """

    def __init__(
        self,
        batch: SkirmishBatch,
        *,
        restricted: bool = True,
        marauders_skip_medivacs: bool = True,
    ) -> None:
        """Play on the given batch.

        Args:
            batch: the battles.
            restricted: give available actions only.
            marauders_skip_medivacs: marauders, which cannot hit them, leave medivacs alone. SMAC
                means to do this, but compares with the wrong type number and does not.
        """
        self._batch = batch
        self._restricted = restricted
        units = [unit for unit, _ in roster(batch.row)]
        self._health = np.array([unit.health for unit in units])
        self._heals = np.array([unit.weapon.delivery == "heal" for unit in units])
        marauder = np.array([unit.name == "marauder" for unit in units])
        k = batch.num_agents
        self._skipped: Flags = np.zeros((k, len(units)), np.bool_)
        if marauders_skip_medivacs:
            self._skipped = marauder[:k, None] & self._heals
        self._target = np.full((batch.num_envs, k), -1, np.int64)
        self.intended: Integers = np.zeros((batch.num_envs, k), np.int64)

    def reset(self) -> None:
        """Forget all targets."""
        self._target[:] = -1

    def actions(self) -> Integers:
        """Choose int64 [B, K] actions for the present situation; agents without a target stop."""
        batch, k = self._batch, self._batch.num_agents
        self._choose_targets()
        target = np.maximum(self._target, 0)
        aimed = target + np.where(self._heals[:k], 0, k)
        dx = np.take_along_axis(batch.unit_x, aimed, 1) - batch.unit_x[:, :k]
        dy = np.take_along_axis(batch.unit_y, aimed, 1) - batch.unit_y[:, :k]
        chosen = target + _ATTACK
        if self._restricted:
            chosen = np.where(self._available(chosen), chosen, _walk(dx, dy))
        aiming: Flags = self._target >= 0
        self.intended = np.where(aiming, chosen, _NO_OP)
        possible = self._available(chosen) | (not self._restricted)
        alive = np.equal(batch.alive, 1)
        return np.where(alive, np.where(aiming & possible, chosen, _STOP), _NO_OP)

    def _choose_targets(self) -> None:
        """Replace every target that is no longer worth it by the nearest one, or by -1."""
        batch, k = self._batch, self._batch.num_agents
        alive: Flags = np.greater(batch.unit_health, 0)
        hurt: Flags = alive & (batch.unit_health != self._health) & ~self._heals
        kept = self._still(alive[:, k:])
        nearest = self._nearest(alive[:, None, k:] & ~self._skipped[:, k:], k)
        if self._heals[:k].any():
            kept = np.where(self._heals[:k], self._still(hurt[:, :k]), kept)
            treated = np.broadcast_to(hurt[:, None, :k], (batch.num_envs, k, k))
            nearest = np.where(self._heals[:k], self._nearest(treated, 0), nearest)
        self._target = np.where(kept, self._target, nearest)

    def _still(self, worthy: Flags) -> Flags:
        """Whether each agent's target is among the worthy, bool [B, units of one side]."""
        place = np.clip(self._target, 0, worthy.shape[1] - 1)
        within = (self._target >= 0) & (self._target < worthy.shape[1])
        still: Flags = within & np.take_along_axis(worthy, place, axis=1)
        return still

    def _nearest(self, worthy: Flags, first: int) -> Integers:
        """Place of the nearest of the worthy units, bool [B, K, N] from unit `first` on, or -1."""
        batch, k = self._batch, self._batch.num_agents
        side = slice(first, first + worthy.shape[2])
        dx = batch.unit_x[:, None, side] - batch.unit_x[:, :k, None]
        dy = batch.unit_y[:, None, side] - batch.unit_y[:, :k, None]
        distance = np.where(worthy, np.hypot(dx, dy), np.inf)
        nearest: Integers = np.where(worthy.any(axis=2), distance.argmin(axis=2), -1)
        return nearest

    def _available(self, actions: Integers) -> Flags:
        listed = np.take_along_axis(self._batch.available_actions, actions[..., None], axis=2)
        return listed[..., 0].astype(np.bool_)


def _walk(dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64]) -> Integers:
    """Choose the move along the longer axis; ties go north or south."""
    sideways = np.where(dx > 0, _EAST, _WEST)
    upright = np.where(dy > 0, _NORTH, _SOUTH)
    return np.where(np.abs(dx) > np.abs(dy), sideways, upright)
