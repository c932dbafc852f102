"""Skirmish: StarCraft-like team battles, simulated in compiled code.

Observations, actions and rewards are those of SMAC. The tables (`MAPS`, sizes) load at once; the
classes that need the compiler load when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dm2_dist.envs.skirmish.battle_map import MAPS, UnknownMapError

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.batch import SkirmishBatch
    from dm2_dist.envs.skirmish.environment import SkirmishEnv
    from dm2_dist.envs.skirmish.parallel import parallel_env

__all__ = ["MAPS", "SkirmishBatch", "SkirmishEnv", "UnknownMapError", "parallel_env"]


def __getattr__(name: str) -> object:
    # Importing the compiler takes longer than every table together, and `describe` must not pay for
    # it.
    match name:
        case "SkirmishBatch":
            from dm2_dist.envs.skirmish.batch import SkirmishBatch

            return SkirmishBatch
        case "SkirmishEnv":
            from dm2_dist.envs.skirmish.environment import SkirmishEnv

            return SkirmishEnv
        case "parallel_env":
            from dm2_dist.envs.skirmish.parallel import parallel_env

            return parallel_env
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
