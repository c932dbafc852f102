"""Many battles of one map, stepped together: arrays and checks around the compiled engine.

Feeds the actors through `interface.BattleBatch`, and `environment.SkirmishEnv` with a batch of one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import battle_map, lineup, profile, world
from dm2_dist.envs.skirmish.kernels import draw, engine, field
from dm2_dist.envs.skirmish.kernels.layout import Battles, Report, Side
from dm2_dist.envs.skirmish.opponents import OpponentReward, Opponents, make_report
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.world import Rule


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
        opponents: Literal["computer", "policy"] = "computer",
        opponent_reward: OpponentReward = "own",
        trace: bool = False,
    ) -> None:
        """Prepare the arrays; call `reset` before the first step.

        Args:
            map_name: name of the map, or path of a scenario (.toml or .json).
            num_envs: B.
            seed: names the sequence of seeds that `reset()` draws from.
            compute_state: whether to keep `state` up to date; without it `state` stays zero.
            options: features, rewards, timing and unit data; SMAC's defaults if not given.
            opponents: who plays the enemies. With `policy`, `step` takes their actions too, and the
                attribute `opponents` holds what they see; else it is None.
            opponent_reward: what the opponents are rewarded for, where a policy plays them.
            trace: whether to write down every game loop of the last step in the attribute `trace`,
                float32 [B, L, T, U] (see `kernels.field`); without it L is 0.

        Raises:
            UnknownMapError: no such map.
            ValueError: no battles asked for, or a choice that does not exist.
        """
        row = battle_map.find(map_name)
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        if opponents not in ("computer", "policy"):
            raise ValueError(f"opponents must be 'computer' or 'policy', not {opponents!r}")
        if opponent_reward not in ("own", "zero_sum"):
            raise ValueError(
                f"opponent_reward must be 'own' or 'zero_sum', not {opponent_reward!r}"
            )
        self.options = options if options is not None else Options()
        row = row.with_profile(profile.by_name(self.options.profile))
        rule = Rule(
            compute_state=compute_state,
            controlled=opponents == "policy",
            zero_sum=opponent_reward == "zero_sum",
            traced=trace,
        )
        self.row = row
        self.map_name = row.name
        self.num_envs = num_envs
        self.num_agents = row.num_agents
        self.num_enemies = row.num_enemies
        self.num_actions = row.num_actions
        self.episode_limit = row.episode_limit
        self._seed = seed
        self._resets = 0
        self._started = False
        self._world = world.build(row, self.options, rule)
        self._make_arrays()
        self.opponents: Opponents | None = None
        if rule.controlled:
            mirrored = world.build_mirrored(row, self.options, rule)
            self.opponents = Opponents(lineup.swapped(row), self.options, num_envs, mirrored)
        self._other_side = None if self.opponents is None else self.opponents.side

    def _make_arrays(self) -> None:
        b, k = self.num_envs, self.num_agents
        units = k + self.num_enemies
        report = make_report(self.row, self.options, b)
        self.observation_size = report.observation.shape[2]
        self.state_size = report.state.shape[1]
        self.observation: npt.NDArray[np.float32] = report.observation
        self.state: npt.NDArray[np.float32] = report.state
        self.available_actions: npt.NDArray[np.uint8] = report.available_actions
        self.alive: npt.NDArray[np.uint8] = report.alive
        self.reward: npt.NDArray[np.float32] = report.reward
        self.terminated: npt.NDArray[np.uint8] = report.terminated
        self.truncated: npt.NDArray[np.uint8] = report.truncated
        self.won: npt.NDArray[np.uint8] = report.won
        self.finished: npt.NDArray[np.uint8] = report.finished
        self.episode_steps: npt.NDArray[np.int32] = report.episode_steps
        loops = self.options.step_mul if self._world.number[field.TRACED] else 0
        self.trace: npt.NDArray[np.float32] = np.zeros(
            (b, loops, field.NUM_TRACES, units), np.float32
        )
        self._actions = np.zeros((b, k), np.int64)
        self._battles = Battles(
            real=np.zeros((b, field.NUM_REALS, units)),
            integer=np.zeros((b, field.NUM_INTEGERS, units), np.int64),
            seed=np.zeros(b, np.uint64),
            last_action=np.full((b, k), -1, np.int64),
            score=np.zeros(b),
            body=np.zeros((field.NUM_BODIES, units)),
            near=np.zeros(units + 1, np.int64),
            order=np.tile(np.arange(units), (b, 1)),
            trace=self.trace,
        )
        self._side = Side(self._world, self._battles, report)

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
        engine.reset(self._side, self._other_side)
        self._started = True

    def restart(self, env: int, seed: int) -> None:
        """Start a fresh battle in one place and leave the others where they are.

        Args:
            env: the place, 0 to B - 1.
            seed: unsigned 64-bit seed of the battle.

        Raises:
            ValueError: a policy plays the opponents; `reset` starts all of their battles.
            RuntimeError: `reset` has not been called.
        """
        if self.opponents is not None:
            raise ValueError("a policy plays the opponents of this batch; start it with `reset`")
        if not self._started:
            raise RuntimeError("restart was called before the first reset")
        self._battles.seed[env] = seed
        engine.reset(self._place(env), None)

    def _place(self, env: int) -> Side:
        """The team's side as if battle `env` were the only one; its arrays are views."""
        here, battles = slice(env, env + 1), self._battles
        own = {
            name: array if name in ("body", "near") else array[here]
            for name, array in battles._asdict().items()
        }
        shown = self._side.report._asdict()
        report = Report(**{name: array[here] for name, array in shown.items()})
        return Side(self._world, Battles(**own), report)

    def step(
        self,
        actions: npt.NDArray[np.integer],
        opponent_actions: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Play one environment step in every unfinished battle.

        Args:
            actions: integer [B, K].
            opponent_actions: integer [B, M], where a policy plays the opponents.

        Raises:
            ValueError: an action is not available, or the opponents' actions are missing or too
                many; nothing has been played then.
            RuntimeError: `reset` has not been called.
        """
        if not self._started:
            raise RuntimeError("step was called before the first reset")
        _take(self._actions, actions, "actions")
        opposing = self._actions
        if self.opponents is None:
            if opponent_actions is not None:
                raise ValueError(
                    "the computer plays the opponents of this batch; make it with "
                    "opponents='policy' to give them actions"
                )
        else:
            opposing = self.opponents.actions
            if opponent_actions is None:
                raise ValueError("the opponents of this batch need actions too: step(own, theirs)")
            _take(opposing, opponent_actions, "opponent_actions")
        illegal = engine.step(self._side, self._other_side, self._actions, opposing)
        if illegal == engine.ALL_LEGAL:
            return
        who, given = "agent", self._actions
        if illegal < engine.ALL_LEGAL:
            who, given, illegal = "opponent", opposing, -2 - illegal
        env, unit = divmod(illegal, given.shape[1])
        raise ValueError(
            f"environment {env}: {who} {unit} cannot perform action {given[env, unit]}"
        )

    @property
    def seeds(self) -> npt.NDArray[np.uint64]:
        """uint64 [B] seed of every battle."""
        return self._battles.seed

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

    @property
    def unit_energy(self) -> npt.NDArray[np.float64]:
        """float64 [B, K + enemies] energy of every unit."""
        return self._battles.real[:, field.ENERGY, :]


def _take(into: npt.NDArray[np.int64], given: npt.NDArray[np.integer], name: str) -> None:
    """Copy actions, if they are what is expected."""
    if given.shape != into.shape or given.dtype.kind not in "iu":
        expected = f"integers {list(into.shape)}"
        raise ValueError(f"{name} must be {expected}, not {given.dtype} {list(given.shape)}")
    into[:] = given
