"""Many battles of one map, stepped together: arrays and checks around the compiled engine.

Feeds the actors through `interface.BattleBatch`, and `environment.SkirmishEnv` with a batch of one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import battle_map, draw, engine, feature, field, world
from dm2_dist.envs.skirmish.options import Options


class SkirmishBatch:
    """B battles of one map, each a pure function of its 64-bit seed and the actions played in it.

    The arrays, described in `interface.BattleBatch`, are rewritten in place by every `reset` and
    `step`.
    """

    def __init__(
        self,
        map_name: str,
        num_envs: int,
        seed: int = 0,
        *,
        compute_state: bool = True,
        options: Options | None = None,
    ) -> None:
        """Prepare the arrays; call `reset` before the first step.

        Args:
            map_name: name of the map.
            num_envs: B.
            seed: names the sequence of seeds that `reset()` draws from.
            compute_state: whether to keep `state` up to date; without it `state` stays zero.
            options: features, rewards and timing; SMAC's defaults if not given.

        Raises:
            UnknownMapError: no such map, or one that cannot be played yet.
            ValueError: no battles asked for.
        """
        row = battle_map.find_playable(map_name)
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        self.options = options if options is not None else Options()
        sizes = feature.sizes(row, self.options.features)
        self.map_name = row.name
        self.num_envs = num_envs
        self.num_agents = row.num_agents
        self.num_enemies = row.num_enemies
        self.num_actions = row.num_actions
        self.observation_size = sizes.observation
        self.state_size = sizes.state
        self.episode_limit = row.episode_limit
        self._seed = seed
        self._resets = 0
        self._started = False
        self._world = world.build(row, self.options, compute_state=compute_state)
        self._make_arrays()

    def _make_arrays(self) -> None:
        b, k, a = self.num_envs, self.num_agents, self.num_actions
        units = self.num_agents + self.num_enemies
        self.observation: npt.NDArray[np.float32] = np.zeros(
            (b, k, self.observation_size), np.float32
        )
        self.state: npt.NDArray[np.float32] = np.zeros((b, self.state_size), np.float32)
        self.available_actions: npt.NDArray[np.uint8] = np.zeros((b, k, a), np.uint8)
        self.alive: npt.NDArray[np.uint8] = np.zeros((b, k), np.uint8)
        self.reward: npt.NDArray[np.float32] = np.zeros(b, np.float32)
        self.terminated: npt.NDArray[np.uint8] = np.zeros(b, np.uint8)
        self.truncated: npt.NDArray[np.uint8] = np.zeros(b, np.uint8)
        self.won: npt.NDArray[np.uint8] = np.zeros(b, np.uint8)
        self.finished: npt.NDArray[np.uint8] = np.zeros(b, np.uint8)
        self.episode_steps: npt.NDArray[np.int32] = np.zeros(b, np.int32)
        self._actions = np.zeros((b, k), np.int64)
        self._battles = engine.Battles(
            real=np.zeros((b, field.NUM_REALS, units)),
            integer=np.zeros((b, field.NUM_INTEGERS, units), np.int64),
            seed=np.zeros(b, np.uint64),
            last_action=np.full((b, k), -1, np.int64),
            score=np.zeros(b),
        )
        self._report = engine.Report(
            self.observation,
            self.state,
            self.available_actions,
            self.alive,
            self.reward,
            self.terminated,
            self.truncated,
            self.won,
            self.finished,
            self.episode_steps,
        )

    def reset(self, seeds: npt.NDArray[np.uint64] | None = None) -> None:
        """Start B fresh battles.

        Args:
            seeds: uint64 [B]; None: seeds derived from the constructor's seed and a counter of
                resets.
        """
        if seeds is None:
            first = self._resets * self.num_envs
            words = [draw.derived_seed(self._seed, first + index) for index in range(self.num_envs)]
            seeds = np.array(words, np.uint64)
            self._resets += 1
        if seeds.shape != (self.num_envs,) or seeds.dtype != np.uint64:
            raise ValueError(
                f"seeds must be uint64 [{self.num_envs}], not {seeds.dtype} {list(seeds.shape)}"
            )
        self._battles.seed[:] = seeds
        engine.reset(self._world, self._battles, self._report)
        self._started = True

    def step(self, actions: npt.NDArray[np.integer]) -> None:
        """Play one environment step in every unfinished battle.

        Args:
            actions: integer [B, K].

        Raises:
            ValueError: an action is not available; nothing has been played then.
            RuntimeError: `reset` has not been called.
        """
        if not self._started:
            raise RuntimeError("step was called before the first reset")
        if actions.shape != self._actions.shape or actions.dtype.kind not in "iu":
            expected = f"integers {list(self._actions.shape)}"
            given = f"{actions.dtype} {list(actions.shape)}"
            raise ValueError(f"actions must be {expected}, not {given}")
        self._actions[:] = actions
        illegal = engine.step(self._world, self._battles, self._report, self._actions)
        if illegal != engine.ALL_LEGAL:
            env, agent = divmod(illegal, self.num_agents)
            raise ValueError(
                f"environment {env}: agent {agent} cannot perform action {actions[env, agent]}"
            )

    @property
    def unit_x(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] x of every unit, agents first, rounded to float32."""
        return self._battles.real[:, field.X, :]

    @property
    def unit_y(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] y of every unit."""
        return self._battles.real[:, field.Y, :]

    @property
    def unit_health(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] health of every unit, 0 when dead."""
        return self._battles.real[:, field.HEALTH, :]

    @property
    def unit_shield(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] shield of every unit."""
        return self._battles.real[:, field.SHIELD, :]

    @property
    def unit_cooldown(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] loops until the weapon of every unit is ready."""
        return self._battles.real[:, field.COOLDOWN, :]

    @property
    def exact_reward(self) -> npt.NDArray[np.float64]:
        """float64 [B] reward of the last step before it is rounded to float32."""
        return self._battles.score
