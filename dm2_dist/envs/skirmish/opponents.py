"""What the opponents of a batch see, where a policy plays them.

The arrays mirror those of the batch: the opponents are agents, the team are their enemies, and the
map is mirrored along the axis on which the sides face each other (x, or y where they stand north
and south), so that on a symmetric map both sides see the same battle and one policy can play
either. Made by `batch`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import feature
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.kernels.layout import Battles, Report, Side, World
from dm2_dist.envs.skirmish.matchup import BattleMap
from dm2_dist.envs.skirmish.options import Options

OpponentReward = Literal["own", "zero_sum"]
"""`own`: SMAC's reward from their side; `zero_sum`: the team's reward, negated."""


def make_report(row: BattleMap, options: Options, num_envs: int) -> Report:
    """Make the arrays that one side is shown, all zero.

    Args:
        row: the map as that side sees it.
        options: what observations and states hold.
        num_envs: B.
    """
    sizes = feature.sizes(row, options.features)
    b, k = num_envs, row.num_agents
    return Report(
        observation=np.zeros((b, k, sizes.observation), np.float32),
        state=np.zeros((b, sizes.state), np.float32),
        available_actions=np.zeros((b, k, row.num_actions), np.uint8),
        alive=np.zeros((b, k), np.uint8),
        reward=np.zeros(b, np.float32),
        terminated=np.zeros(b, np.uint8),
        truncated=np.zeros(b, np.uint8),
        won=np.zeros(b, np.uint8),
        finished=np.zeros(b, np.uint8),
        episode_steps=np.zeros(b, np.int32),
    )


class Opponents:
    """The other side of B battles.

    Attributes:
        num_agents: M, units of this side.
        num_enemies: K, agents of the team.
        num_actions: A', actions of each unit.
        observation_size: O'.
        state_size: S'.
        observation: float32 [B, M, O'].
        state: float32 [B, S'].
        available_actions: uint8 [B, M, A'].
        alive: uint8 [B, M].
        reward: float32 [B].
        won: uint8 [B].
    """

    def __init__(self, row: BattleMap, options: Options, num_envs: int, mirrored: World) -> None:
        """Make the arrays.

        Args:
            row: the map as the opponents see it, see `lineup.swapped`.
            options: what observations and states hold.
            num_envs: B.
            mirrored: the same for the kernels, see `world.build_mirrored`.
        """
        units = row.num_agents + row.num_enemies
        report = make_report(row, options, num_envs)
        self.num_agents = row.num_agents
        self.num_enemies = row.num_enemies
        self.num_actions = row.num_actions
        self.observation_size = report.observation.shape[2]
        self.state_size = report.state.shape[1]
        self.observation = report.observation
        self.state = report.state
        self.available_actions = report.available_actions
        self.alive = report.alive
        self.reward = report.reward
        self.won = report.won
        self.actions = np.zeros((num_envs, row.num_agents), np.int64)
        battles = Battles(
            real=np.zeros((1, field.NUM_REALS, units)),
            integer=np.zeros((1, field.NUM_INTEGERS, units), np.int64),
            seed=np.zeros(num_envs, np.uint64),
            last_action=np.full((num_envs, row.num_agents), -1, np.int64),
            score=np.zeros(num_envs),
            body=np.zeros((1, 1)),
            near=np.zeros(1, np.int64),
            order=np.zeros((1, 1), np.int64),
            trace=np.zeros((1, 0, field.NUM_TRACES, units), np.float32),
        )
        self.side = Side(mirrored, battles, report)

    @property
    def unit_at(self) -> npt.NDArray[np.int64]:
        """int64 [M + K] column of the batch's unit arrays for each unit as this side counts."""
        return self.side.world.slot

    @property
    def exact_reward(self) -> npt.NDArray[np.float64]:
        """float64 [B] reward of the last step before it is rounded to float32."""
        return self.side.battles.score
