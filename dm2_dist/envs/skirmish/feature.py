"""Which features the observation and the state hold, and how long they are.

The flags and the arithmetic are those of SMAC's `StarCraft2Env`; tables only, no compiled code. The
kernels in `observation` write exactly the features counted here.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.kernels.field import NUM_MOVES

NUM_PATHING_PROBES = 8
NUM_HEIGHT_PROBES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlags:
    """Feature switches, names and defaults of `StarCraft2Env`.

    Attributes:
        obs_all_health: health (and shield) of every seen unit; forces `obs_own_health`.
        obs_own_health: own health (and shield).
        obs_last_action: last action of every seen ally, one-hot.
        obs_pathing_grid: eight pathability probes around the agent.
        obs_terrain_height: nine terrain heights around the agent.
        obs_instead_of_state: the state is the concatenation of all observations.
        obs_timestep_number: elapsed fraction of the episode as the last own feature.
        state_last_action: last action of every agent, one-hot, in the state.
        state_timestep_number: elapsed fraction of the episode as the last feature of the state.
    """

    obs_all_health: bool = True
    obs_own_health: bool = True
    obs_last_action: bool = False
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_instead_of_state: bool = False
    obs_timestep_number: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False

    @property
    def own_health(self) -> bool:
        """Whether an agent sees its own health."""
        return self.obs_all_health or self.obs_own_health


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of the feature vectors of one map.

    Attributes:
        move: move features of one agent.
        enemy: features of one enemy.
        ally: features of one other agent.
        own: features of the agent itself.
        observation: O, the whole observation.
        state_ally: state features of one agent.
        state_enemy: state features of one enemy.
        state: S, the whole state.
    """

    move: int
    enemy: int
    ally: int
    own: int
    observation: int
    state_ally: int
    state_enemy: int
    state: int


def sizes(row: BattleMap, flags: FeatureFlags) -> Sizes:
    """Count the features of a map under the given flags."""
    bits = row.num_type_bits
    ally_shield = int(row.ally_race == "P")
    enemy_shield = int(row.enemy_race == "P")
    move = (
        NUM_MOVES
        + NUM_PATHING_PROBES * flags.obs_pathing_grid
        + NUM_HEIGHT_PROBES * flags.obs_terrain_height
    )
    enemy = 4 + bits + flags.obs_all_health * (1 + enemy_shield)
    ally = (
        4
        + bits
        + flags.obs_all_health * (1 + ally_shield)
        + flags.obs_last_action * row.num_actions
    )
    own = bits + flags.own_health * (1 + ally_shield) + flags.obs_timestep_number
    observation = move + row.num_enemies * enemy + (row.num_agents - 1) * ally + own
    state_ally = 4 + ally_shield + bits
    state_enemy = 3 + enemy_shield + bits
    state = row.num_agents * state_ally + row.num_enemies * state_enemy
    state += (
        flags.state_last_action * row.num_agents * row.num_actions + flags.state_timestep_number
    )
    if flags.obs_instead_of_state:
        state = observation * row.num_agents
    return Sizes(move, enemy, ally, own, observation, state_ally, state_enemy, state)
