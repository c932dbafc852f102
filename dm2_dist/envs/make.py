"""The one place that turns the name of an environment into a batch of battles, or into its sizes.

`describe` reads tables only (no NumPy, no compiled code), so a command line can check a map in
milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dm2_dist.envs.interface import EnvironmentSpec

if TYPE_CHECKING:
    from dm2_dist.envs.interface import BattleBatch

ENVIRONMENTS = ("skirmish",)


def describe(environment: str, map_name: str) -> EnvironmentSpec:
    """Give the sizes of a map without starting a game.

    Args:
        environment: name of the game, one of `ENVIRONMENTS`.
        map_name: name of the map, or path of a scenario (.toml or .json).

    Raises:
        ValueError: no such environment.
        UnknownMapError: no such map.
        ScenarioError: the file does not describe a battle.
    """
    match environment:
        case "skirmish":
            from dm2_dist.envs.skirmish import battle_map, feature

            row = battle_map.find(map_name)
            sizes = feature.sizes(row, feature.FeatureFlags())
            return EnvironmentSpec(
                map_name=row.name,
                num_agents=row.num_agents,
                num_enemies=row.num_enemies,
                num_actions=row.num_actions,
                observation_size=sizes.observation,
                state_size=sizes.state,
                episode_limit=row.episode_limit,
            )
        case _:
            raise ValueError(_unknown(environment))


def make_batch(environment: str, map_name: str, num_envs: int) -> BattleBatch:
    """Make a batch of battles; call its `reset` before the first step.

    Args:
        environment: name of the game, one of `ENVIRONMENTS`.
        map_name: name of the map, or path of a scenario (.toml or .json).
        num_envs: B, battles stepped together.

    Raises:
        ValueError: no such environment.
        UnknownMapError: no such map.
        ScenarioError: the file does not describe a battle.
    """
    match environment:
        case "skirmish":
            from dm2_dist.envs.skirmish import SkirmishBatch

            return SkirmishBatch(map_name, num_envs)
        case _:
            raise ValueError(_unknown(environment))


def _unknown(environment: str) -> str:
    known = ", ".join(ENVIRONMENTS)
    return f"unknown environment {environment!r}; known environments: {known}"
