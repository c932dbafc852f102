"""One battle with the interface of SMAC's `StarCraft2Env`.

A thin wrapper around a batch of one, so that code written for SMAC runs unchanged. What differs is
listed in docs/simulator.md.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import battle_map, feature, flag, state_table, unit_view
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.observation import SIGHT_RANGE
from dm2_dist.envs.skirmish.unit_view import UnitView

Features = npt.NDArray[np.float32]


class SkirmishEnv:
    """One battle, as SMAC presents it.

    `step` says `terminated` on a time-out too, as SMAC does; the attribute `truncated` and
    `info["truncated"]` tell a time-out from a decided battle.
    """

    def __init__(
        self, map_name: str = "8m", seed: int | None = None, **flags: Unpack[flag.Flags]
    ) -> None:
        """Prepare a battle; call `reset` before the first step.

        Args:
            map_name: name of the map.
            seed: names the sequence of battles; None draws one.
            **flags: constructor arguments of `StarCraft2Env`. Those about the game's process
                (difficulty, game_version, replay_dir, replay_prefix, window_size_x, window_size_y,
                debug) are accepted and change nothing.

        Raises:
            UnknownMapError: no such map, or one that cannot be played yet.
            TypeError: no such flag.
        """
        self._row = battle_map.find_playable(map_name)
        options = flag.options(flags)
        self._features = options.features
        self._sizes = feature.sizes(self._row, options.features)
        self._seed = seed
        self._batch = SkirmishBatch(
            map_name, 1, secrets.randbits(63) if seed is None else seed, options=options
        )
        self.map_name = map_name
        self.continuing_episode = flags.get("continuing_episode", False)
        self.n_agents = self._row.num_agents
        self.n_enemies = self._row.num_enemies
        self.n_actions = self._row.num_actions
        self.episode_limit = self._row.episode_limit
        self.max_reward = self._row.max_reward
        self.battles_won = 0
        self.battles_game = 0
        self.timeouts = 0
        self.force_restarts = 0
        self.win_counted = False
        self.defeat_counted = False
        self.truncated = False
        self.reward = 0.0
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        self._episode_count = 0
        self._episode_steps = 0
        self._running = False

    def reset(self) -> tuple[list[Features], Features]:
        """Start the next battle.

        Returns:
            The observations, K arrays float32 [O], and the state, float32 [S].
        """
        self._batch.reset()
        self._episode_steps = 0
        self.last_action = np.zeros((self.n_agents, self.n_actions))
        self.win_counted = False
        self.defeat_counted = False
        self.truncated = False
        self._running = True
        return self.get_obs(), self.get_state()

    def step(self, actions: Iterable[Any]) -> tuple[float, bool, dict[str, float | bool]]:
        """Play one environment step.

        Args:
            actions: one integer for each agent; each is passed through `int`.

        Returns:
            The team reward, whether the episode has ended, and what SMAC counts (numbers and bools
            only).

        Raises:
            AssertionError: an action is not available; nothing has been played then.
            RuntimeError: no episode is running.
        """
        if not self._running:
            raise RuntimeError("no episode is running: call reset before step")
        chosen = np.array([int(action) for action in actions], np.int64)
        if chosen.shape != (self.n_agents,):
            raise ValueError(f"step needs {self.n_agents} actions, not {chosen.size}")
        available = self._batch.available_actions[0]
        for agent, action in enumerate(chosen.tolist()):
            if not (0 <= action < self.n_actions and available[agent, action]):
                raise AssertionError(f"Agent {agent} cannot perform action {action}")
        self._batch.step(chosen[None])
        self.last_action = np.eye(self.n_actions)[chosen]
        self._episode_steps += 1
        self.reward = float(self._batch.exact_reward[0])
        terminated = bool(self._batch.finished[0])
        info = self._info()
        if terminated:
            self._count(info)
        return self.reward, terminated, info

    def _info(self) -> dict[str, float | bool]:
        health = self._batch.unit_health[0]
        self.truncated = bool(self._batch.truncated[0])
        return {
            "battle_won": bool(self._batch.won[0]),
            "dead_allies": int((health[: self.n_agents] == 0).sum()),
            "dead_enemies": int((health[self.n_agents :] == 0).sum()),
            "truncated": self.truncated,
        }

    def _count(self, info: dict[str, float | bool]) -> None:
        """Close the books of an episode."""
        self._running = False
        self._episode_count += 1
        self.battles_game += 1
        if self.truncated:
            self.timeouts += 1
            if self.continuing_episode:
                info["episode_limit"] = True
        elif info["battle_won"]:
            self.battles_won += 1
            self.win_counted = True
        elif info["dead_enemies"] < self.n_enemies:
            self.defeat_counted = True

    def get_obs(self) -> list[Features]:
        """What each agent sees: K arrays float32 [O]."""
        return [self.get_obs_agent(agent) for agent in range(self.n_agents)]

    def get_obs_agent(self, agent_id: int) -> Features:
        """What one agent sees: float32 [O]."""
        seen: Features = self._batch.observation[0, agent_id].copy()
        return seen

    def get_state(self) -> Features:
        """The global state: float32 [S]."""
        state: Features = self._batch.state[0].copy()
        return state

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
        listed: list[int] = self._batch.available_actions[0, agent_id].tolist()
        return listed

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
        """Sizes and feature names, available before the first reset."""
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

    @property
    def agents(self) -> dict[int, UnitView]:
        """The team's units by agent."""
        return dict(enumerate(unit_view.views(self._batch, self._row, 0)[: self.n_agents]))

    @property
    def enemies(self) -> dict[int, UnitView]:
        """The computer's units."""
        return dict(enumerate(unit_view.views(self._batch, self._row, 0)[self.n_agents :]))

    @property
    def death_tracker_ally(self) -> npt.NDArray[np.float64]:
        """float64 [K] 1 for every dead agent."""
        return np.equal(self._batch.unit_health[0, : self.n_agents], 0).astype(np.float64)

    @property
    def death_tracker_enemy(self) -> npt.NDArray[np.float64]:
        """float64 [M] 1 for every dead enemy."""
        return np.equal(self._batch.unit_health[0, self.n_agents :], 0).astype(np.float64)

    def get_unit_by_id(self, a_id: int) -> UnitView:
        """The unit of one agent."""
        return self.agents[a_id]

    def get_unit_types(self) -> list[int]:
        """Type numbers of all units, agents first."""
        return unit_view.type_numbers(self._row)

    def get_visibility_matrix(self) -> npt.NDArray[np.bool_]:
        """Bool [K, K + M]: which units each living agent sees; an agent does not list itself."""
        units = unit_view.views(self._batch, self._row, 0)
        seen = np.zeros((self.n_agents, len(units)), np.bool_)
        for i in range(self.n_agents):
            for j, other in enumerate(units):
                apart = math.hypot(other.pos.x - units[i].pos.x, other.pos.y - units[i].pos.y)
                living = units[i].health > 0 and other.health > 0
                seen[i, j] = i != j and living and apart < SIGHT_RANGE
        return seen

    def seed(self) -> int | None:
        """The seed given to the constructor."""
        return self._seed

    def close(self) -> None:
        """Nothing to close; present for code written for SMAC."""

    def save_replay(self) -> None:
        """Not offered: there is no StarCraft II replay of a simulated battle."""
        raise NotImplementedError("the simulator writes no StarCraft II replays")

    def render(self, mode: str = "human") -> None:
        """Not offered yet."""
        raise NotImplementedError("the simulator draws no pictures yet")
