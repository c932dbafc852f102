"""Everything that code written for SMAC asks an environment, before a battle or during one.

The members of SMAC's `StarCraft2Env` that change nothing; `environment.SkirmishEnv` adds those that
do.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import feature, state_table, unit_view
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.presentation import Presentation, Shown
from dm2_dist.envs.skirmish.unit_view import UnitView

Features = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class BattleReadings:
    """What can be asked of one battle, and of its map before there is a battle.

    Without a battle there are no units, and what is about them raises RuntimeError.

    Attributes:
        map_name: name of the map.
        n_agents: K.
        n_enemies: M.
        n_actions: A.
        episode_limit: environment steps after which an undecided battle is cut off.
        max_reward: unscaled reward of a flawless battle.
        battles_won: battles won so far.
        battles_game: battles that have ended so far.
        timeouts: battles that ran into the time limit so far.
        force_restarts: calls of `full_restart` so far.
        last_action: float64 [K, A] last actions, one-hot; zeros after a reset.
    """

    def __init__(self, batch: SkirmishBatch, options: Options) -> None:
        """Read a batch of one.

        Args:
            batch: the battle.
            options: those that the batch was made with.
        """
        self._batch = batch
        self._row = batch.row
        self._features = options.features
        self._catalogue = unit_view.catalogue(batch.row)
        self._sizes = feature.sizes(batch.row, options.features)
        self.map_name = batch.map_name
        self.n_agents = batch.num_agents
        self.n_enemies = batch.num_enemies
        self.n_actions = batch.num_actions
        self.episode_limit = batch.episode_limit
        self.max_reward = options.rewards.max_reward(batch.row)
        self.battles_won = 0
        self.battles_game = 0
        self.timeouts = 0
        self.force_restarts = 0
        self._episode_steps = 0
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        self._presentation = self._presented(np.arange(self.n_enemies, dtype=np.int64))
        self._shown: Shown | None = None

    def _presented(self, order: npt.NDArray[np.int64]) -> Presentation:
        return Presentation(self._row, self._features, order)

    def _current(self) -> Shown:
        """Return what the battle shows, if there is one."""
        if self._shown is None:
            raise RuntimeError("there is no battle yet: call reset first")
        return self._shown

    def get_obs(self) -> list[Features]:
        """What each agent sees: K arrays float32 [O]."""
        return [self.get_obs_agent(agent) for agent in range(self.n_agents)]

    def get_obs_agent(self, agent_id: int) -> Features:
        """What one agent sees: float32 [O]."""
        seen: Features = self._current().observation[agent_id].copy()
        return seen

    def get_state(self) -> npt.NDArray[np.float32]:
        """The global state: float32 [S]."""
        return self._current().state.copy()

    def get_state_dict(self) -> dict[str, npt.NDArray[np.float64] | float]:
        """The global state by part.

        Returns:
            `allies` float64 [K, nf], `enemies` float64 [M, nf], and, by flag, `last_action` float64
            [K, A] and `timestep`.
        """
        state = state_table.tables(self._row, self.agents, self.enemies)
        if self._features.state_last_action:
            state["last_action"] = self.last_action
        if self._features.state_timestep_number:
            state["timestep"] = self._episode_steps / self.episode_limit
        return state

    def get_avail_actions(self) -> list[list[int]]:
        """Legal actions of all agents, K lists of A zeros and ones."""
        return [self.get_avail_agent_actions(agent) for agent in range(self.n_agents)]

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """Legal actions of one agent: a list of A zeros and ones."""
        listed: list[int] = self._current().available[agent_id].tolist()
        return listed

    def get_stats(self) -> dict[str, float]:
        """Counters since the environment was made; the win rate is 0 before a battle has ended."""
        return {
            "battles_won": self.battles_won,
            "battles_game": self.battles_game,
            "battles_draw": self.timeouts,
            "win_rate": self.battles_won / max(self.battles_game, 1),
            "timeouts": self.timeouts,
            "restarts": self.force_restarts,
        }

    def _views(self) -> tuple[list[UnitView], list[UnitView]]:
        """List the team's units, and the enemies in the caller's order; none before a battle."""
        if self._shown is None:
            return [], []
        units = unit_view.views(self._batch, self._catalogue, 0)
        enemies = [units[self.n_agents + place] for place in self._presentation.order]
        return units[: self.n_agents], enemies

    @property
    def agents(self) -> dict[int, UnitView]:
        """The team's units by agent; empty before the first reset."""
        return dict(enumerate(self._views()[0]))

    @property
    def enemies(self) -> dict[int, UnitView]:
        """The computer's units by number; empty before the first reset."""
        return dict(enumerate(self._views()[1]))

    @property
    def death_tracker_ally(self) -> npt.NDArray[np.float64]:
        """float64 [K] 1 for every dead agent."""
        return self._dead(slice(0, self.n_agents))

    @property
    def death_tracker_enemy(self) -> npt.NDArray[np.float64]:
        """float64 [M] 1 for every dead enemy."""
        return self._dead(self.n_agents + self._presentation.order)

    def _dead(self, units: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        dead = np.equal(self._batch.unit_health[0, units], 0) & (self._shown is not None)
        return dead.astype(np.float64)

    def get_unit_by_id(self, a_id: int) -> UnitView:
        """The unit of one agent."""
        return self.agents[a_id]

    def get_unit_types(self) -> list[int] | None:
        """Type numbers of all units, agents first; None and a warning before the first reset."""
        if self._shown is None:
            warnings.warn("there are no units yet: call reset first", stacklevel=2)
            return None
        return [unit.unit_type for side in self._views() for unit in side]

    def get_visibility_matrix(self) -> npt.NDArray[np.bool_]:
        """Bool [K, K + M]: which units each living agent sees; an agent does not list itself."""
        return unit_view.visibility(self.agents, self.enemies)

    def get_total_actions(self) -> int:
        """A, actions of each agent."""
        return self.n_actions

    def get_obs_size(self) -> int:
        """O, length of an observation."""
        return self._sizes.observation

    def get_state_size(self) -> int:
        """S, length of the state."""
        return self._sizes.state

    def get_obs_move_feats_size(self) -> int:
        """Move features of an observation."""
        return self._sizes.move

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        """Enemies, and features of each."""
        return self.n_enemies, self._sizes.enemy

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        """Other agents, and features of each."""
        return self.n_agents - 1, self._sizes.ally

    def get_obs_own_feats_size(self) -> int:
        """Features of the agent itself."""
        return self._sizes.own

    def get_ally_num_attributes(self) -> int:
        """State features of each agent."""
        return self._sizes.state_ally

    def get_enemy_num_attributes(self) -> int:
        """State features of each enemy."""
        return self._sizes.state_enemy

    def get_env_info(self) -> dict[str, Any]:
        """Sizes and feature names.

        Returns:
            `state_shape`, `obs_shape`, `n_actions`, `n_agents`, `episode_limit` (integers), and
            `agent_features` and `enemy_features` (lists of names, one for each state feature).
        """
        bits = [f"type_{bit}" for bit in range(self._row.num_type_bits)]
        ally_shield = ["shield"] if self._row.ally_race == "P" else []
        enemy_shield = ["shield"] if self._row.enemy_race == "P" else []
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.n_actions,
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "agent_features": ["health", "energy/cooldown", "rel_x", "rel_y", *ally_shield, *bits],
            "enemy_features": ["health", "rel_x", "rel_y", *enemy_shield, *bits],
        }
