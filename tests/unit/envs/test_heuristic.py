"""The closest-target policy, against a slow one written from SMAC's rules over single units."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, SkirmishEnv
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.unit_view import UnitView

MAP_NAMES = ["3m", "MMM", "MMM2", "2s3z", "1c3s5z", "2s_vs_1sc", "bane_vs_bane", "corridor"]


def hurt(unit: UnitView) -> bool:
    return 0 < unit.health < unit.health_max and unit.name != "medivac"


class Reference:
    """One agent's targets and actions, in plain Python."""

    def __init__(self, env: SkirmishEnv, *, restricted: bool) -> None:
        self.env = env
        self.restricted = restricted
        self.target: dict[int, int | None] = dict.fromkeys(range(env.n_agents))

    def action(self, agent: int) -> int:
        unit = self.env.agents[agent]
        if unit.health == 0:
            return 0
        heals = unit.name == "medivac"
        others = self.env.agents if heals else self.env.enemies
        target = self.target[agent]
        if target is None or not (hurt(others[target]) if heals else others[target].health > 0):
            wanted = [
                (math.hypot(other.pos.x - unit.pos.x, other.pos.y - unit.pos.y), place)
                for place, other in others.items()
                if (hurt(other) if heals else other.health > 0)
                and not (unit.name == "marauder" and other.name == "medivac")
            ]
            target = self.target[agent] = min(wanted)[1] if wanted else None
        if target is None:
            return 1
        available = self.env.get_avail_agent_actions(agent)
        if not self.restricted or available[6 + target]:
            return 6 + target
        dx = others[target].pos.x - unit.pos.x
        dy = others[target].pos.y - unit.pos.y
        if abs(dx) > abs(dy):
            walk = 4 if dx > 0 else 5
        else:
            walk = 2 if dy > 0 else 3
        return walk if available[walk] else 1


@settings(max_examples=16, deadline=None)
@given(map_name=st.sampled_from(MAP_NAMES), seed=st.integers(0, 2**32), restricted=st.booleans())
def test_actions_are_those_of_the_rules(map_name: str, seed: int, restricted: bool) -> None:
    env = SkirmishEnv(map_name, seed=seed, heuristic_ai=True, heuristic_rest=restricted)
    env.reset()
    reference = Reference(env, restricted=restricted)
    for _ in range(40):
        expected = [reference.action(agent) for agent in range(env.n_agents)]
        _, terminated, _ = env.step([0] * env.n_agents)
        assert env.last_action.argmax(axis=1).tolist() == expected
        if terminated:
            break


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("map_name", MAPS)
def test_a_batch_plays_as_single_battles_do(map_name: str, restricted: bool) -> None:
    options = Options(attack_any_distance=not restricted)
    batch = SkirmishBatch(map_name, 2, options=options)
    batch.reset(np.array([7, 8], np.uint64))
    single = SkirmishBatch(map_name, 1, options=options)
    single.reset(np.array([8], np.uint64))
    together, alone = (ClosestTarget(each, restricted=restricted) for each in (batch, single))
    for _ in range(12):
        actions = together.actions()
        assert np.array_equal(actions[1:], alone.actions())
        batch.step(actions)
        single.step(actions[1:])


def test_medivac_heals_the_nearest_hurt_ally_until_it_is_well() -> None:
    env = SkirmishEnv("MMM", seed=2, heuristic_ai=True, heuristic_rest=True)
    env.reset()
    treated: list[tuple[int, float]] = []
    terminated = False
    while not terminated:
        before = env.agents
        _, terminated, _ = env.step([1] * 10)
        action = int(env.last_action[9].argmax())
        if action >= 6:
            assert hurt(before[action - 6])
            gained = env.agents[action - 6].health - before[action - 6].health
            treated.append((action - 6, gained))
    assert any(gained > 0 for _, gained in treated)
    kept = sum(a == b for (a, _), (b, _) in itertools.pairwise(treated))
    assert kept > 0


def aims_at_medivac(env: SkirmishEnv) -> bool:
    """Whether a marauder is ever sent against the medivac, standing beside nothing else."""
    env.reset()
    medivac = next(place for place, unit in env.enemies.items() if unit.name == "medivac")
    terminated = False
    while not terminated:
        _, terminated, _ = env.step([1] * 10)
        if env.last_action[:2].argmax(axis=1).tolist().count(6 + medivac):
            return True
    return False


def test_marauders_leave_medivacs_alone_unless_smac_is_asked_for() -> None:
    def anyone(*compat: str) -> bool:
        return any(
            aims_at_medivac(SkirmishEnv("MMM", seed=seed, heuristic_ai=True, compat=compat))
            for seed in range(12)
        )

    assert not anyone()
    assert anyone("marauder_target")


def test_the_callers_list_is_left_alone_unless_smac_is_asked_for() -> None:
    ours = SkirmishEnv("3m", seed=1, heuristic_ai=True, heuristic_rest=True)
    smac = SkirmishEnv(
        "3m", seed=1, heuristic_ai=True, heuristic_rest=True, compat="heuristic_list"
    )
    for env in (ours, smac):
        env.reset()
    given = [1, 2, 0]
    ours.step(given)
    assert given == [1, 2, 0]
    assert ours.last_action.argmax(axis=1).tolist() == [4, 4, 4]
    assert ours.get_state()[-27:].reshape(3, 9).argmax(axis=1).tolist() == [4, 4, 4]
    smac.step(given)
    assert given == [4, 4, 4]
    assert smac.last_action.argmax(axis=1).tolist() == [1, 2, 0]
    assert smac.get_state()[-27:].reshape(3, 9).argmax(axis=1).tolist() == [1, 2, 0]
    assert np.array_equal(ours.get_obs(), smac.get_obs())


def test_the_heuristic_still_checks_what_it_is_given() -> None:
    env = SkirmishEnv("3m", seed=1, heuristic_ai=True)
    env.reset()
    with pytest.raises(ValueError, match="needs 3 actions, not 1"):
        env.step([1])
    with pytest.raises(AssertionError, match="Agent 2 cannot perform action 9"):
        env.step([1, 1, 9])


def test_unrestricted_heuristic_attacks_from_afar() -> None:
    env = SkirmishEnv("3m", seed=1, heuristic_ai=True)
    env.reset()
    assert not any(row[6:] != [0, 0, 0] for row in env.get_avail_actions())
    env.step([1, 1, 1])
    assert (env.last_action.argmax(axis=1) >= 6).all()
    plain = SkirmishEnv("3m", seed=1, heuristic_rest=True)
    plain.reset()
    plain.step([1, 1, 1])
    assert plain.last_action.argmax(axis=1).tolist() == [1, 1, 1]
