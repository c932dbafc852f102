from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.sc2_standin import fault
from dm2_dist.envs.sc2_standin.game import Ability, Game, Result, _unrounded
from dm2_dist.envs.skirmish import MAPS, SkirmishEnv
from dm2_dist.envs.skirmish.kernels.draw import derived_seed

SEED = 23
NO_FAULTS = fault.FaultPlan({})
STEPS = 20


def started(map_name: str = "3m", **faults: float) -> Game:
    return Game(map_name, SEED, fault.FaultPlan(faults))


def order(game: Game, env: SkirmishEnv, agent: int, action: int) -> None:
    """Tell a unit what an action means, as SMAC does: points in single precision."""
    unit, tag = env.agents[agent], [game.tags[agent]]
    if action == 0:
        return
    if action == 1:
        assert game.command(Ability.STOP, tag, None, None) == Result.SUCCESS
    elif action < 6:
        dx, dy = {2: (0, 2), 3: (0, -2), 4: (2, 0), 5: (-2, 0)}[action]
        point = float(np.float32(unit.pos.x + dx)), float(np.float32(unit.pos.y + dy))
        assert game.command(Ability.MOVE, tag, None, point) == Result.SUCCESS
    elif unit.name == "medivac":
        game.command(Ability.HEAL, tag, game.tags[action - 6], None)
    else:
        target = game.tags[env.n_agents + action - 6]
        assert game.command(Ability.ATTACK, tag, target, None) == Result.SUCCESS


@pytest.mark.parametrize("map_name", MAPS)
def test_the_battles_are_those_of_the_simulator(map_name: str) -> None:
    game, env = Game(map_name, SEED, NO_FAULTS), SkirmishEnv(map_name, seed=SEED)
    generator = np.random.default_rng(1)
    begun = 0
    for battle in range(2):
        if battle:
            game.kill(game.tags)
            game.step(2)
        # Where all die in one step the game has begun another battle on its own.
        while begun < game.battles:
            env.reset()
            begun += 1
        for _ in range(STEPS):
            units = [*env.agents.values(), *env.enemies.values()]
            assert game.battle.x.tolist() == [unit.pos.x for unit in units]
            assert game.battle.y.tolist() == [unit.pos.y for unit in units]
            assert game.battle.health.tolist() == [unit.health for unit in units]
            assert game.battle.shield.tolist() == [unit.shield for unit in units]
            assert game.battle.cooldown.tolist() == [unit.weapon_cooldown for unit in units]
            assert game.listed() == [index for index, unit in enumerate(units) if unit.health > 0]
            rows = env.get_avail_actions()
            if generator.random() < 0.5:
                actions = [int(generator.choice(np.flatnonzero(row))) for row in rows]
            else:
                actions = [int(np.flatnonzero(row)[-1]) for row in rows]
            for agent, action in enumerate(actions):
                order(game, env, agent, action)
            game.step(8)
            if env.step(actions)[1]:
                break


def test_nobody_left_calls_the_next_battle_two_loops_later() -> None:
    game = started()
    tags = game.tags
    game.step(24)
    game.kill(tags)
    assert game.listed() == []
    game.step(1)
    assert game.listed() == []
    game.step(1)
    assert game.listed() == list(range(6))
    assert not set(game.tags) & set(tags)
    assert game.loop == 26
    assert game.battles == 2
    fresh = SkirmishEnv("3m", seed=SEED)
    fresh.reset()
    fresh.reset()
    assert game.battle.x[:3].tolist() == [unit.pos.x for unit in fresh.agents.values()]


def test_one_side_left_keeps_the_battle_going() -> None:
    game = started()
    tags = list(game.tags)
    game.kill(tags[:3])
    game.step(16)
    assert game.tags == tags
    assert game.listed() == [3, 4, 5]


def test_killing_ignores_tags_that_are_not_there() -> None:
    game = started()
    game.kill([7, 8])
    assert game.listed() == list(range(6))


def test_tags_never_come_back() -> None:
    game = started()
    seen: set[int] = set()
    for _ in range(5):
        assert not seen & set(game.tags)
        seen |= set(game.tags)
        game.kill(game.tags)
        game.step(2)


@pytest.mark.parametrize(
    ("ability", "unit", "target", "point", "result"),
    [
        (Ability.STOP, 4, None, None, Result.ERROR),
        (Ability.MOVE, 0, None, None, Result.NOT_SUPPORTED),
        (1234, 0, None, None, Result.NOT_SUPPORTED),
        (Ability.ATTACK, 0, 1, None, Result.CANT_TARGET_THAT_UNIT),
        (Ability.HEAL, 0, 1, None, Result.CANT_TARGET_THAT_UNIT),
        (Ability.HEAL, 0, 4, None, Result.CANT_TARGET_THAT_UNIT),
        (Ability.ATTACK, 0, None, (1.0, 1.0), Result.NOT_SUPPORTED),
        (Ability.ATTACK, 0, 4, None, Result.SUCCESS),
    ],
)
def test_commands_that_make_no_sense_change_nothing(
    ability: int, unit: int, target: int | None, point: tuple[float, float] | None, result: Result
) -> None:
    game, still = started(), started()
    tag = None if target is None else game.tags[target]
    assert game.command(ability, [game.tags[unit]], tag, point) == result
    game.step(8)
    still.step(8)
    assert (game.battle.x.tolist() == still.battle.x.tolist()) == (result != Result.SUCCESS)


def test_the_dead_and_the_unknown_obey_nobody() -> None:
    game = started()
    tag = game.tags[0]
    game.kill([tag])
    assert game.command(Ability.STOP, [tag], None, None) == Result.ERROR
    assert game.command(Ability.STOP, [99], None, None) == Result.ERROR
    assert game.command(Ability.ATTACK, game.tags[1:2], 99, None) == Result.CANT_TARGET_THAT_UNIT


@settings(max_examples=300, deadline=None)
@given(
    here=st.floats(0, 32, width=32),
    length=st.decimals(-4, 4, places=4, allow_nan=False).map(float),
)
def test_a_length_of_few_decimals_survives_single_precision(here: float, length: float) -> None:
    there = here + length
    assert _unrounded(here, float(np.float32(there))) == there


@given(here=st.floats(0, 32, width=32), received=st.floats(0, 32, width=32))
def test_what_cannot_be_recovered_is_taken_as_it_came(here: float, received: float) -> None:
    assert np.float32(_unrounded(here, received)) == np.float32(received)


def test_units_that_come_late_are_still_fresh() -> None:
    game, quick = started("MMM", slow_spawn=3), started("MMM")
    assert game.listed() == list(range(5))
    game.step(2)
    assert game.listed() == list(range(5))
    game.step(1)
    assert game.listed() == list(range(20))
    assert game.loop == 3
    assert game.battle.x.tolist() == quick.battle.x.tolist()
    game.step(8)
    quick.step(8)
    assert game.battle.x.tolist() == quick.battle.x.tolist()


def test_enemies_can_be_listed_in_any_order() -> None:
    game = started("8m", shuffle_enemies=0)
    first = game.listed()
    assert first[:8] == list(range(8))
    assert sorted(first) == list(range(16))
    word = derived_seed(SEED, 0)
    assert first[8:] == sorted(range(8, 16), key=lambda unit: derived_seed(word, unit - 8))
    game.kill(game.tags)
    game.step(2)
    assert game.listed() != first


def test_a_step_without_loops_is_none() -> None:
    game = started()
    game.step(0)
    assert game.loop == 0
