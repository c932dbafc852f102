"""The constructor arguments of SMAC's `StarCraft2Env`, sorted into the simulator's options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypedDict

from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.options import Options, RewardFlags

DEFAULT_STEP_LOOPS = 8
"""Game loops of one environment step on every map."""

DIFFICULTIES = tuple("123456789A")
"""SMAC's names for the strength of the game's own player, which these maps do not use."""

COMPAT = {
    "timestep": "obs_timestep_number makes observations one longer than declared, and float64",
    "enemy_order": "the numbering of the enemies changes from battle to battle",
    "heuristic_list": "the heuristic writes its actions into the caller's list, while last actions "
    "show what the caller gave",
    "marauder_target": "the heuristic's marauders go for medivacs, which they cannot hit",
}
"""Defects of SMAC that can be asked for, by name."""


class Flags(TypedDict, total=False):
    """Constructor arguments of `StarCraft2Env` besides the map and the seed, and `profile`."""

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
    step_mul: int | None
    move_amount: float
    continuing_episode: bool
    difficulty: str
    game_version: str | None
    replay_dir: str
    replay_prefix: str
    window_size_x: int
    window_size_y: int
    heuristic_ai: bool
    heuristic_rest: bool
    debug: bool
    profile: str


def options(flags: Flags) -> Options:
    """Sort SMAC's flags into the simulator's options.

    Raises:
        TypeError: no such flag.
        ValueError: no such difficulty.
    """
    unknown = sorted(set(flags) - set(Flags.__annotations__))
    if unknown:
        known = ", ".join(Flags.__annotations__)
        raise TypeError(f"SkirmishEnv has no flag {', '.join(unknown)}; flags: {known}")
    difficulty = flags.get("difficulty", "7")
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty must be one of {', '.join(DIFFICULTIES)}, not {difficulty!r}")
    given: dict[str, Any] = dict(flags)

    def chosen(kind: type[FeatureFlags] | type[RewardFlags]) -> dict[str, Any]:
        names = {entry.name for entry in dataclasses.fields(kind)}
        return {name: value for name, value in given.items() if name in names}

    step_mul = flags.get("step_mul", DEFAULT_STEP_LOOPS)
    return Options(
        features=FeatureFlags(**chosen(FeatureFlags)),
        rewards=RewardFlags(**chosen(RewardFlags)),
        step_mul=DEFAULT_STEP_LOOPS if step_mul is None else step_mul,
        move_amount=flags.get("move_amount", 2.0),
        attack_any_distance=flags.get("heuristic_ai", False)
        and not flags.get("heuristic_rest", False),
        profile=flags.get("profile", "liberty"),
    )


def compat(names: Iterable[str]) -> frozenset[str]:
    """Check the names of the defects that are asked for.

    Raises:
        ValueError: there is no defect of that name; the message lists all of them.
    """
    asked = frozenset([names] if isinstance(names, str) else names)
    unknown = sorted(asked - COMPAT.keys())
    if unknown:
        known = "; ".join(f"{name}: {meaning}" for name, meaning in COMPAT.items())
        raise ValueError(f"compat has no {', '.join(map(repr, unknown))}. It knows {known}")
    return asked
