"""The closest-target policy of SMAC, for tests and calibration.

Every agent keeps a target until it dies and then takes the nearest living enemy. It attacks if it
may; otherwise it walks towards the target along the longer axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch

_STOP, _NORTH, _SOUTH, _EAST, _WEST, _ATTACK = 1, 2, 3, 4, 5, 6


class ClosestTarget:
    """Closest-target play of one batch; call `reset` whenever the batch is reset.

    With restricted orders (SMAC's `heuristic_rest`) it gives available actions only. A batch made
    with `attack_any_distance` accepts `restricted=False`: plain attack orders at any distance
    (SMAC's `heuristic_ai`).
    """

    def __init__(self, batch: SkirmishBatch, *, restricted: bool = True) -> None:
        """Play on the given batch."""
        self._batch = batch
        self._restricted = restricted
        self._target = np.full((batch.num_envs, batch.num_agents), -1, np.int64)

    def reset(self) -> None:
        """Forget all targets."""
        self._target[:] = -1

    def actions(self) -> npt.NDArray[np.int64]:
        """Choose int64 [B, K] actions for the present situation."""
        batch, k = self._batch, self._batch.num_agents
        dx = batch.unit_x[:, None, k:] - batch.unit_x[:, :k, None]
        dy = batch.unit_y[:, None, k:] - batch.unit_y[:, :k, None]
        enemy_alive: npt.NDArray[np.bool_] = np.greater(batch.unit_health[:, k:], 0)
        distance = np.where(enemy_alive[:, None, :], np.hypot(dx, dy), np.inf)
        target = np.maximum(self._target, 0)
        kept = (self._target >= 0) & np.take_along_axis(enemy_alive, target, axis=1)
        self._target = np.where(kept, self._target, distance.argmin(axis=2))
        chosen = self._target[..., None]
        attack = self._target + _ATTACK
        walk = _walk(
            np.take_along_axis(dx, chosen, 2)[..., 0], np.take_along_axis(dy, chosen, 2)[..., 0]
        )
        actions = attack
        if self._restricted:
            actions = np.where(
                self._available(attack), attack, np.where(self._available(walk), walk, _STOP)
            )
        alive = np.equal(batch.alive, 1)
        fighting: npt.NDArray[np.bool_] = alive & np.any(enemy_alive, axis=1, keepdims=True)
        return np.where(fighting, actions, np.where(alive, _STOP, 0))

    def _available(self, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        listed = np.take_along_axis(self._batch.available_actions, actions[..., None], axis=2)
        return listed[..., 0].astype(np.bool_)


def _walk(dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Choose the move along the longer axis; ties go north or south."""
    sideways = np.where(dx > 0, _EAST, _WEST)
    upright = np.where(dy > 0, _NORTH, _SOUTH)
    return np.where(np.abs(dx) > np.abs(dy), sideways, upright)
