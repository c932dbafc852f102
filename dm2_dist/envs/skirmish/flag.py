"""The constructor arguments of SMAC's `StarCraft2Env`, sorted into the simulator's options."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.options import Options, RewardFlags


class Flags(TypedDict, total=False):
    """Constructor arguments of `StarCraft2Env` besides the map and the seed."""

    obs_all_health: bool
    obs_own_health: bool
    obs_last_action: bool
    obs_pathing_grid: bool
    obs_terrain_height: bool
    obs_instead_of_state: bool
    obs_timestep_number: bool
    state_last_action: bool
    state_timestep_number: bool
    reward_sparse: bool
    reward_only_positive: bool
    reward_death_value: float
    reward_win: float
    reward_defeat: float
    reward_negative_scale: float
    reward_scale: bool
    reward_scale_rate: float
    step_mul: int
    move_amount: float
    continuing_episode: bool
    difficulty: str
    game_version: str | None
    replay_dir: str
    replay_prefix: str
    window_size_x: int
    window_size_y: int
    debug: bool


def options(flags: Flags) -> Options:
    """Sort SMAC's flags into the simulator's options.

    Raises:
        TypeError: no such flag.
    """
    unknown = sorted(set(flags) - set(Flags.__annotations__))
    if unknown:
        known = ", ".join(Flags.__annotations__)
        raise TypeError(f"SkirmishEnv has no flag {', '.join(unknown)}; flags: {known}")
    given: dict[str, Any] = dict(flags)

    def chosen(kind: type[FeatureFlags] | type[RewardFlags]) -> dict[str, Any]:
        names = {entry.name for entry in dataclasses.fields(kind)}
        return {name: value for name, value in given.items() if name in names}

    return Options(
        features=FeatureFlags(**chosen(FeatureFlags)),
        rewards=RewardFlags(**chosen(RewardFlags)),
        step_mul=given.get("step_mul", 8),
        move_amount=given.get("move_amount", 2.0),
    )
