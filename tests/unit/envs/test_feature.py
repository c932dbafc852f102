"""Observations, states, available actions and rewards against a slow reference.

The reference is written from SMAC's definitions in plain Python over single units; it shares no
code with the kernels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import SkirmishEnv, battle_map
from dm2_dist.envs.skirmish.unit_view import UnitView

MAX_COOLDOWN = {
    "marine": 15,
    "marauder": 25,
    "stalker": 35,
    "zealot": 22,
    "colossus": 24,
    "hydralisk": 10,
    "zergling": 11,
    "baneling": 1,
}
MAX_ENERGY = {"medivac": 200}
MAX_SHIELD = {"stalker": 80, "zealot": 50, "colossus": 150}
KINDS = {
    # The order of the type bits: of the agents, then of the enemies.
    "MMM": (("marauder", "marine", "medivac"),) * 2,
    "MMM2": (("marauder", "marine", "medivac"),) * 2,
    "2s3z": (("stalker", "zealot"), ("zealot", "stalker")),
    "3s5z": (("stalker", "zealot"), ("zealot", "stalker")),
    "3s5z_vs_3s6z": (("stalker", "zealot"), ("zealot", "stalker")),
    "1c3s5z": (("colossus", "stalker", "zealot"),) * 2,
    "bane_vs_bane": (("baneling", "zergling"),) * 2,
}

switches = st.fixed_dictionaries(
    {
        name: st.booleans()
        for name in (
            "obs_all_health",
            "obs_own_health",
            "obs_last_action",
            "obs_pathing_grid",
            "obs_terrain_height",
            "obs_instead_of_state",
            "obs_timestep_number",
            "state_last_action",
            "state_timestep_number",
        )
    }
)


def apart(a: UnitView, b: UnitView) -> float:
    return math.hypot(b.pos.x - a.pos.x, b.pos.y - a.pos.y)


def ground(env: SkirmishEnv, x: float, y: float) -> bool:
    return battle_map.find(env.map_name).terrain.pathable(int(x), int(y))


def reference_available(env: SkirmishEnv, i: int) -> list[int]:
    unit = env.agents[i]
    if unit.health == 0:
        return [1] + [0] * (env.n_actions - 1)
    x, y = unit.pos.x, unit.pos.y
    moves = [ground(env, *p) for p in ((x, y + 1), (x, y - 1), (x + 1, y), (x - 1, y))]
    if unit.name == "medivac":
        near = [
            ally.health > 0 and ally.name != "medivac" and apart(unit, ally) <= 6
            for ally in env.agents.values()
        ]
        near += [False] * (env.n_enemies - env.n_agents)
    else:
        near = [enemy.health > 0 and apart(unit, enemy) <= 6 for enemy in env.enemies.values()]
    return [0, 1, *map(int, moves), *map(int, near)]


def kind(env: SkirmishEnv, unit: UnitView) -> list[float]:
    names = KINDS.get(env.map_name, ((), ()))[unit.owner - 1]
    return [float(unit.name == name) for name in names]


def reference_ground(env: SkirmishEnv, unit: UnitView, flags: dict[str, bool]) -> list[float]:
    x, y = int(unit.pos.x), int(unit.pos.y)
    around = [(0, 4), (0, -4), (4, 0), (-4, 0), (2, 2), (-2, -2), (2, -2), (-2, 2)]

    def probe(dx: int, dy: int, *, height: bool) -> float:
        if not (0 <= x + dx < 32 and 0 <= y + dy < 32):
            return 1.0
        if height:
            return battle_map.find(env.map_name).terrain.height(x + dx, y + dy) / 255
        return float(ground(env, x + dx, y + dy))

    features = []
    if flags["obs_pathing_grid"]:
        features += [probe(dx, dy, height=False) for dx, dy in around]
    if flags["obs_terrain_height"]:
        features += [probe(dx, dy, height=True) for dx, dy in [*around, (0, 0)]]
    return features


def vitals(unit: UnitView, *, wanted: bool) -> list[float]:
    if not wanted:
        return []
    shield = [unit.shield / MAX_SHIELD[unit.name]] if unit.name in MAX_SHIELD else []
    return [unit.health / unit.health_max, *shield]


def reference_observation(env: SkirmishEnv, i: int, flags: dict[str, bool]) -> list[float]:
    clock = [env._episode_steps / env.episode_limit] if flags["obs_timestep_number"] else []
    unit = env.agents[i]
    if unit.health == 0:
        return [0.0] * (env.get_obs_size() - len(clock)) + clock
    available = reference_available(env, i)
    row = [*map(float, available[2:6]), *reference_ground(env, unit, flags)]
    for j, enemy in env.enemies.items():
        block = [float(available[6 + j]), apart(unit, enemy) / 9]
        block += [(enemy.pos.x - unit.pos.x) / 9, (enemy.pos.y - unit.pos.y) / 9]
        block += vitals(enemy, wanted=flags["obs_all_health"]) + kind(env, enemy)
        seen = enemy.health > 0 and apart(unit, enemy) < 9
        row += block if seen else [0.0] * len(block)
    for j, ally in env.agents.items():
        if j == i:
            continue
        block = [1.0, apart(unit, ally) / 9]
        block += [(ally.pos.x - unit.pos.x) / 9, (ally.pos.y - unit.pos.y) / 9]
        block += vitals(ally, wanted=flags["obs_all_health"]) + kind(env, ally)
        if flags["obs_last_action"]:
            block += env.last_action[j].tolist()
        seen = ally.health > 0 and apart(unit, ally) < 9
        row += block if seen else [0.0] * len(block)
    row += vitals(unit, wanted=flags["obs_all_health"] or flags["obs_own_health"])
    return row + kind(env, unit) + clock


def reference_state(env: SkirmishEnv, flags: dict[str, bool]) -> list[float]:
    if flags["obs_instead_of_state"]:
        return [x for i in range(env.n_agents) for x in reference_observation(env, i, flags)]
    state: list[float] = []
    for units, is_agent in ((env.agents, True), (env.enemies, False)):
        for unit in units.values():
            block = [unit.health / unit.health_max]
            if is_agent and unit.name in MAX_ENERGY:
                block.append(unit.energy / MAX_ENERGY[unit.name])
            elif is_agent:
                block.append(unit.weapon_cooldown / MAX_COOLDOWN[unit.name])
            block += [(unit.pos.x - 16) / 32, (unit.pos.y - 16) / 32]
            block += vitals(unit, wanted=True)[1:] + kind(env, unit)
            state += block if unit.health > 0 else [0.0] * len(block)
    if flags["state_last_action"]:
        state += env.last_action.flatten().tolist()
    if flags["state_timestep_number"]:
        state.append(env._episode_steps / env.episode_limit)
    return state


def play_and_compare(env: SkirmishEnv, flags: dict[str, bool], seed: int, limit: int) -> None:
    generator = np.random.default_rng(seed)
    observations, state = env.reset()
    for _ in range(limit):
        assert len(observations) == env.n_agents
        for i, seen in enumerate(observations):
            assert seen.dtype == np.float32
            assert seen.shape == (env.get_obs_size(),)
            expected = np.array(reference_observation(env, i, flags), np.float32)
            assert np.array_equal(seen, expected), (i, np.flatnonzero(seen != expected))
        assert state.dtype == np.float32
        assert state.shape == (env.get_state_size(),)
        assert np.array_equal(state, np.array(reference_state(env, flags), np.float32))
        available = env.get_avail_actions()
        assert available == [reference_available(env, i) for i in range(env.n_agents)]
        assert {type(entry) for row in available for entry in row} == {int}
        # Attack more often than uniform play would, so that fights are seen to their end.
        actions = [
            int(generator.choice(np.flatnonzero(row)))
            if generator.random() < 0.6
            else int(np.flatnonzero(row)[-1])
            for row in available
        ]
        _, terminated, _ = env.step(actions)
        observations, state = env.get_obs(), env.get_state()
        if terminated:
            break


@settings(max_examples=30, deadline=None)
@given(
    map_name=st.sampled_from(list(battle_map.MAPS)),
    flags=switches,
    seed=st.integers(0, 2**32),
    shuffled=st.booleans(),
)
def test_features_have_the_declared_sizes_and_reference_values(
    map_name: str, flags: dict[str, Any], seed: int, shuffled: bool
) -> None:
    compat = ("enemy_order",) if shuffled else ()
    env = SkirmishEnv(map_name, seed=seed, compat=compat, **flags)
    play_and_compare(env, flags, seed, limit=6)


@pytest.mark.parametrize("map_name", ["5m_vs_6m", "3s_vs_3z", "MMM2", "1c3s5z"])
def test_default_features_of_whole_battles(map_name: str) -> None:
    defaults = dict.fromkeys(
        (
            "obs_last_action",
            "obs_pathing_grid",
            "obs_terrain_height",
            "obs_instead_of_state",
            "obs_timestep_number",
            "state_timestep_number",
        ),
        False,
    )
    flags = {**defaults, "obs_all_health": True, "obs_own_health": True, "state_last_action": True}
    play_and_compare(SkirmishEnv(map_name, seed=3), flags, seed=3, limit=400)


def points(env: SkirmishEnv) -> tuple[list[float], list[float]]:
    def total(units: dict[int, UnitView]) -> list[float]:
        return [unit.health + unit.shield for unit in units.values()]

    return total(env.agents), total(env.enemies)


@settings(max_examples=8, deadline=None)
@given(
    map_name=st.sampled_from(["3m", "3s_vs_3z"]),
    seed=st.integers(0, 2**32),
    positive=st.booleans(),
    scale=st.booleans(),
    death=st.sampled_from([10.0, 4.0]),
)
def test_reward_is_that_of_smac(
    map_name: str, seed: int, positive: bool, scale: bool, death: float
) -> None:
    env = SkirmishEnv(
        map_name,
        seed=seed,
        reward_only_positive=positive,
        reward_scale=scale,
        reward_death_value=death,
        reward_defeat=-7.0,
        reward_win=150.0,
    )
    generator = np.random.default_rng(seed)
    env.reset()
    terminated = False
    while not terminated:
        allies, enemies = points(env)
        actions = [int(generator.choice(np.flatnonzero(row))) for row in env.get_avail_actions()]
        reward, terminated, info = env.step(actions)
        allies_now, enemies_now = points(env)
        hurt = sum(enemies) - sum(enemies_now)
        suffered = 0.5 * (sum(allies) - sum(allies_now))
        kills = sum(a > 0 and b == 0 for a, b in zip(enemies, enemies_now, strict=True))
        deaths = sum(a > 0 and b == 0 for a, b in zip(allies, allies_now, strict=True))
        if positive:
            expected = abs(hurt + death * kills)
        else:
            expected = hurt + death * kills - suffered - 0.5 * death * deaths
        if terminated and not info["truncated"]:
            lost = info["dead_enemies"] < env.n_enemies
            expected += 150.0 if info["battle_won"] else -7.0 * lost
        divisor = env.max_reward / 20 if scale else 1.0
        assert reward == pytest.approx(expected / divisor, abs=1e-5)


def test_sparse_reward_counts_only_the_end() -> None:
    env = SkirmishEnv("3m", seed=1, reward_sparse=True)
    env.reset()
    rewards = []
    terminated = False
    while not terminated:
        reward, terminated, info = env.step([int(row[1]) for row in env.get_avail_actions()])
        rewards.append(reward)
    assert not any(rewards[:-1])
    assert info["battle_won"] is False
    assert rewards[-1] == pytest.approx(-20 / 365)
