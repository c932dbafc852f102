"""The switches of a simulator: features, rewards and timing, with SMAC's names and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.feature import FeatureFlags

MAX_STEP_MUL = 10_000
"""Game loops of the longest environment step: seven minutes of a battle."""

MAX_MOVE_AMOUNT = 1e6
"""Cells of the longest move order; nobody goes farther than across the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardFlags:
    """Reward switches of `StarCraft2Env`.

    Attributes:
        reward_sparse: +1 for a win, -1 for a loss, nothing else.
        reward_only_positive: count only what the enemy suffers.
        reward_death_value: points for a death.
        reward_win: points for a win.
        reward_defeat: points for a loss.
        reward_negative_scale: factor on what the own team suffers.
        reward_scale: divide by the largest possible reward over `reward_scale_rate`.
        reward_scale_rate: scaled reward of a flawless battle.
    """

    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_death_value: float = 10.0
    reward_win: float = 200.0
    reward_defeat: float = 0.0
    reward_negative_scale: float = 0.5
    reward_scale: bool = True
    reward_scale_rate: float = 20.0

    def max_reward(self, row: BattleMap) -> float:
        """Unscaled reward of a flawless battle: enemy health and shields, kills, win."""
        total = row.num_enemies * self.reward_death_value + self.reward_win
        for group in row.enemies:
            for _ in range(group.count):
                total += group.unit.health + group.unit.shield
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about a simulator that is not the map.

    Attributes:
        features: what observations and states hold.
        rewards: how the reward is computed.
        step_mul: game loops of one environment step.
        move_amount: length of a move order in cells.
        attack_any_distance: accept attacks on living enemies at any distance, as SMAC's
            unrestricted heuristic gives them; the reported available actions do not change.
        profile: whose numbers the units have.
    """

    features: FeatureFlags = field(default_factory=FeatureFlags)
    rewards: RewardFlags = field(default_factory=RewardFlags)
    step_mul: int = 8
    move_amount: float = 2.0
    attack_any_distance: bool = False
    profile: str = "liberty"

    def __post_init__(self) -> None:
        if not 1 <= self.step_mul <= MAX_STEP_MUL:
            raise ValueError(
                f"step_mul must be 1 to {MAX_STEP_MUL:,} game loops, not {self.step_mul}"
            )
        if not 0 < self.move_amount <= MAX_MOVE_AMOUNT:
            raise ValueError(
                f"move_amount must be positive and at most {MAX_MOVE_AMOUNT:,.0f} cells, "
                f"not {self.move_amount}"
            )
        if self.rewards.reward_scale and not self.rewards.reward_scale_rate > 0:
            raise ValueError(
                f"reward_scale_rate must be positive, not {self.rewards.reward_scale_rate}"
            )
