"""How one battle is shown to a caller who numbers the enemies in another order.

SMAC numbers the enemies as the game happens to list them, so that their order changes from battle
to battle; the simulator always uses the order of creation. `environment` puts one of these between
the two. The last actions that SMAC shows while its heuristic plays are written here too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import feature
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.kernels.field import NUM_BASIC_ACTIONS
from dm2_dist.envs.skirmish.lineup import roster

Features = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


class Shown(NamedTuple):
    """What the caller sees of a battle.

    Attributes:
        observation: float32 [K, O]; float64 [K, O + 1] with SMAC's timestep.
        state: float32 [S].
        available: uint8 [K, A].
    """

    observation: Features | npt.NDArray[np.float64]
    state: Features
    available: Bytes


class Presentation:
    """The features and actions of one battle under the caller's numbering of the enemies.

    A healer's actions name allies, so they keep their numbers.

    Attributes:
        order: int64 [M] the battle's number of the enemy at each of the caller's places.
    """

    def __init__(self, row: BattleMap, features: FeatureFlags, order: Integers) -> None:
        """Work out which feature goes where.

        Args:
            row: the map.
            features: what observations and states hold.
            order: int64 [M] a permutation.
        """
        self.order = order
        self._features = features
        self._sizes = feature.sizes(row, features)
        self._num_actions = row.num_actions
        units = [unit for unit, _ in roster(row)][: row.num_agents]
        self._heals = np.array([unit.weapon.delivery == "heal" for unit in units])
        same = np.arange(row.num_actions)
        turned = same.copy()
        turned[NUM_BASIC_ACTIONS : NUM_BASIC_ACTIONS + order.size] = NUM_BASIC_ACTIONS + order
        self._action = np.where(self._heals[:, None], same, turned).astype(np.int64)
        self._shown_action = self._action.argsort(axis=1)
        self._allies_at = self._sizes.move + order.size * self._sizes.enemy
        self._column = np.stack([self._observed(agent) for agent in range(row.num_agents)])
        self._state_column = self._stated()

    def _observed(self, agent: int) -> Integers:
        """Column of the battle's observation behind each column of one agent's: int64 [O]."""
        sizes = self._sizes
        column = np.arange(sizes.observation, dtype=np.int64)
        block = column[sizes.move : self._allies_at].reshape(-1, sizes.enemy)
        column[sizes.move : self._allies_at] = block[self.order].ravel()
        if self._features.obs_last_action:
            for place, other in enumerate(self._others(agent)):
                end = self._allies_at + (place + 1) * sizes.ally
                begin = end - self._num_actions
                column[begin:end] = begin + self._action[other]
        return column

    def _stated(self) -> Integers:
        """Column of the battle's state behind each column of the caller's: int64 [S]."""
        sizes = self._sizes
        column = np.arange(sizes.state, dtype=np.int64)
        begin = self._heals.size * sizes.state_ally
        end = begin + self.order.size * sizes.state_enemy
        if self._features.obs_instead_of_state:
            return column
        column[begin:end] = column[begin:end].reshape(-1, sizes.state_enemy)[self.order].ravel()
        if self._features.state_last_action:
            for agent in range(self._heals.size):
                begin, end = end, end + self._num_actions
                column[begin:end] = begin + self._action[agent]
        return column

    def _others(self, agent: int) -> list[int]:
        return [other for other in range(self._heals.size) if other != agent]

    def show(
        self,
        batch: SkirmishBatch,
        *,
        last_actions: Integers | None = None,
        clock: float | None = None,
    ) -> Shown:
        """Translate what a batch of one shows.

        Args:
            batch: the battle.
            last_actions: int64 [K] to show as last actions instead of what was played.
            clock: elapsed fraction of the episode, to be shown as SMAC does: in one more column,
                while the last own feature stays zero.
        """
        listed = batch.available_actions[0]
        available: Bytes = np.take_along_axis(listed, self._action, axis=1)
        seen = self._observation(batch.observation[0], listed)
        state: Features = batch.state[0][self._state_column]
        if last_actions is not None:
            self._put_last_actions(seen, state, last_actions)
        if clock is not None:
            seen[:, -1] = 0.0
            wide = np.column_stack([seen.astype(np.float64), np.full(len(seen), clock)])
            if self._features.obs_instead_of_state:
                return Shown(wide, wide.ravel().astype(np.float32), available)
            return Shown(wide, state, available)
        if self._features.obs_instead_of_state:
            state = seen.ravel()
        return Shown(seen, state, available)

    def _observation(self, seen: Features, listed: Bytes) -> Features:
        """Show the battle's observations, float32 [K, O], with its available actions [K, A]."""
        shown: Features = np.take_along_axis(seen, self._column, axis=1)
        for agent in np.flatnonzero(self._heals):
            # A healer's "attackable" bits are about allies and stay at their places, as long as the
            # enemy that is shown there is in sight.
            block = shown[agent, self._sizes.move : self._allies_at]
            block = block.reshape(-1, self._sizes.enemy)
            treatable = listed[agent, NUM_BASIC_ACTIONS : NUM_BASIC_ACTIONS + self.order.size]
            block[:, 0] = treatable * block[:, 1:].any(axis=1)
        return shown

    def to_battle(self, actions: Integers) -> Integers:
        """Translate the caller's actions, int64 [K], into the battle's."""
        return self._renumbered(self._action, actions)

    def to_caller(self, actions: Integers) -> Integers:
        """Translate the battle's actions, int64 [K], into the caller's."""
        return self._renumbered(self._shown_action, actions)

    def _renumbered(self, table: Integers, actions: Integers) -> Integers:
        numbers: Integers = np.take_along_axis(table, actions[:, None], axis=1)[:, 0]
        return numbers

    def _put_last_actions(self, observation: Features, state: Features, shown: Integers) -> None:
        """Overwrite the last actions in what is shown; int64 [K] in the caller's numbering."""
        one_hot = np.eye(self._num_actions, dtype=np.float32)[shown]
        if self._features.obs_last_action:
            for agent in range(self._heals.size):
                for place, other in enumerate(self._others(agent)):
                    begin = self._allies_at + place * self._sizes.ally
                    end = begin + self._sizes.ally
                    in_sight = observation[agent, begin]
                    observation[agent, end - self._num_actions : end] = in_sight * one_hot[other]
        if self._features.state_last_action and not self._features.obs_instead_of_state:
            begin = self._heals.size * self._sizes.state_ally
            begin += self.order.size * self._sizes.state_enemy
            state[begin : begin + one_hot.size] = one_hot.ravel()
