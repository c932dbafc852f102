"""The one place that turns the name of an environment into a batch of battles, or into its sizes.

`describe` reads tables only (no NumPy, no compiled code, no game), so a command line can check a
map in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dm2_dist.envs.interface import EnvironmentSpec

if TYPE_CHECKING:
    from dm2_dist.envs.interface import BattleBatch
    from dm2_dist.envs.starcraft.site import Site
    from dm2_dist.sections import GamesConfig

ENVIRONMENTS = ("skirmish", "smac", "sleep")


def describe(environment: str, map_name: str) -> EnvironmentSpec:
    """Give the sizes of a map without starting a game.

    SMAC's own maps have the same sizes in every environment: the simulator has SMAC's features.

    Args:
        environment: name of the game, one of `ENVIRONMENTS`.
        map_name: name of the map, or path of a scenario (.toml or .json; not `smac`).

    Raises:
        ValueError: no such environment, or a scenario for `smac`.
        UnknownMapError: no such map.
        ScenarioError: the file does not describe a battle.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(_unknown(environment))
    from dm2_dist.envs.skirmish import battle_map, feature

    if environment == "smac" and map_name.endswith((".toml", ".json")):
        raise ValueError(f"{map_name} is a scenario, which only the embedded simulator plays")
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


def make_batch(
    environment: str,
    map_name: str,
    num_envs: int,
    games: GamesConfig | None = None,
    site: Site | None = None,
) -> BattleBatch:
    """Make a batch of battles; call its `reset` before the first step.

    Args:
        environment: name of the game, one of `ENVIRONMENTS`.
        map_name: name of the map, or path of a scenario (.toml or .json; not `smac`).
        num_envs: B, battles stepped together; 1 for `smac` and `sleep`.
        games: how a game outside of this process is kept; read by `smac` only.
        site: where such a game keeps its files; a temporary folder unless given.

    Raises:
        ValueError: no such environment, or one that cannot play that.
        UnknownMapError: no such map.
        ScenarioError: the file does not describe a battle.
    """
    match environment:
        case "skirmish":
            from dm2_dist.envs.skirmish import SkirmishBatch

            return SkirmishBatch(map_name, num_envs)
        case "smac":
            from dm2_dist.envs.smac import SmacBatch

            return SmacBatch(map_name, num_envs, games=games, site=site)
        case "sleep":
            from dm2_dist.envs.sleep import SleepBatch

            return SleepBatch(map_name, num_envs)
        case _:
            raise ValueError(_unknown(environment))


def _unknown(environment: str) -> str:
    known = ", ".join(ENVIRONMENTS)
    return f"unknown environment {environment!r}; known environments: {known}"
