"""Scenes: what is seen of a loop follows from the traced arrays."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dm2_dist.envs.skirmish import MAPS, SkirmishBatch
from dm2_dist.envs.skirmish.kernels import field, strike
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.pictures import effect, scene

MMM = scene.make_stage(MAPS["MMM"], Options())
"""Agents: marauders 0-1, marines 2-8, medivac 9."""
COLOSSAL = scene.make_stage(MAPS["1c3s5z"], Options())
"""Agents: colossus 0, stalkers 1-3, zealots 4-8; the enemies begin at 9."""
BANES = scene.make_stage(MAPS["bane_vs_bane"], Options())
"""Agents: banelings 0-3, zerglings 4-23."""


def quiet_loops(stage, num_loops=1):
    """Loops in which everybody stands somewhere else, healthy, and nothing happens."""
    units = len(stage.units)
    loops = np.zeros((num_loops, field.NUM_TRACES, units), np.float32)
    loops[:, field.TRACE_X] = 4 + np.arange(units) % 8
    loops[:, field.TRACE_Y] = 10 + np.arange(units) // 8
    loops[:, field.TRACE_HEALTH] = [unit.health for unit in stage.units]
    loops[:, field.TRACE_SHIELD] = [unit.shield for unit in stage.units]
    loops[:, field.TRACE_ENERGY] = [unit.energy for unit in stage.units]
    loops[:, field.TRACE_ALIVE] = 1
    for row in (field.TRACE_STRIKE, field.TRACE_FLIGHT, field.TRACE_HEALING):
        loops[:, row] = -1
    return loops


def build(stage, loops):
    return scene.of_loops(stage, loops, loop=40, episode_return=1.5)


def test_nothing_happens_in_a_quiet_loop():
    seen = build(MMM, quiet_loops(MMM, 30))
    for happening in (seen.strikes, seen.missiles, seen.beams, seen.heals, seen.bursts):
        assert happening == ()
    assert seen.alive.all()
    assert not seen.dead_loops.any()
    assert (seen.step, seen.seconds, seen.episode_return) == (5, 2.5, 1.5)


def test_a_shot_is_visible_for_three_loops():
    loops = quiet_loops(MMM, 10)
    loops[5, field.TRACE_STRIKE, 2] = 12
    for age in range(5):
        strikes = build(MMM, loops[: 6 + age]).strikes
        assert strikes == (((2, 12, age),) if age < effect.STRIKE_LOOPS else ())


@given(st.floats(1, 31), st.floats(1, 31), st.floats(0, 8), st.floats(0, 8))
def test_a_missile_flies_from_the_attacker_to_the_target(x, y, left, sooner):
    attacker, target = 1, 9
    loops = quiet_loops(COLOSSAL)
    loops[0, field.TRACE_X, target], loops[0, field.TRACE_Y, target] = x, y
    loops[0, field.TRACE_FLIGHT, attacker] = target

    def distance(loops_left):
        loops[0, field.TRACE_LEFT, attacker] = loops_left
        (missile,) = build(COLOSSAL, loops).missiles
        from_target = math.hypot(missile.x - x, missile.y - y)
        start = loops[0, field.TRACE_X, attacker], loops[0, field.TRACE_Y, attacker]
        whole = math.hypot(start[0] - x, start[1] - y)
        from_attacker = math.hypot(missile.x - start[0], missile.y - start[1])
        assert from_target + from_attacker == pytest.approx(whole, abs=1e-3)
        return from_target

    assert distance(min(left, sooner)) <= distance(max(left, sooner)) + 1e-6


def test_second_hits_are_no_missiles():
    loops = quiet_loops(COLOSSAL)
    loops[0, field.TRACE_FLIGHT, [0, 4]] = 9
    loops[0, field.TRACE_LEFT, [0, 4]] = 3
    assert build(COLOSSAL, loops).missiles == ()


def test_both_beams_of_a_swing_cross_the_target_at_right_angles():
    loops = quiet_loops(COLOSSAL, 4)
    loops[1, field.TRACE_STRIKE, 0] = 12
    seen = build(COLOSSAL, loops)
    assert seen.strikes == ()
    first, second = seen.beams
    assert (first.attacker, first.age) == (0, 2)
    assert (first.x0, first.y0, first.x1, first.y1) == (second.x1, second.y1, second.x0, second.y0)
    middle = (first.x0 + first.x1) / 2, (first.y0 + first.y1) / 2
    assert middle == pytest.approx((seen.x[12], seen.y[12]))
    along = np.array([first.x1 - first.x0, first.y1 - first.y0])
    assert np.hypot(*along) == pytest.approx(2 * strike.BEAM_REACH)
    assert along @ [seen.x[12] - seen.x[0], seen.y[12] - seen.y[0]] == pytest.approx(0, abs=1e-5)


def test_healing_is_seen_while_it_lasts_and_the_healer_lives():
    loops = quiet_loops(MMM)
    loops[0, field.TRACE_HEALING, [9, 19]] = [3, 13]
    loops[0, field.TRACE_ALIVE, 19] = 0
    assert build(MMM, loops).heals == ((9, 3),)


def test_an_explosion_glows_where_it_happened():
    loops = quiet_loops(BANES, 20)
    loops[10, field.TRACE_BURST, 2] = 1
    (burst,) = build(BANES, loops[:13]).bursts
    assert burst.radius == BANES.units[2].weapon.splash > 0
    assert (burst.x, burst.y, burst.age) == (*loops[10, :2, 2], 2)
    assert build(BANES, loops[: 11 + effect.BURST_LOOPS]).bursts == ()


@given(st.integers(1, 40), st.integers(0, 40))
def test_corpses_age_up_to_a_limit(lived, dead):
    loops = quiet_loops(MMM, lived + dead)
    loops[lived:, field.TRACE_ALIVE, 4] = 0
    seen = build(MMM, loops)
    assert seen.dead_loops[4] == min(dead, effect.CORPSE_LOOPS)
    assert not np.delete(seen.dead_loops, 4).any()
    assert seen.alive[4] == (dead == 0)


def test_units_look_at_what_they_fight_else_where_they_walk_else_at_the_nearest_enemy():
    loops = quiet_loops(MMM, 6)
    loops[:, field.TRACE_X, 10:] += 15
    standing = build(MMM, loops).heading
    nearest = math.atan2(loops[-1, 1, 10] - loops[-1, 1, 2], loops[-1, 0, 10] - loops[-1, 0, 2])
    assert abs(standing[2]) < math.pi / 2
    assert abs(standing[10]) > math.pi / 2
    assert abs(standing[2] - nearest) < 1.0
    loops[:, field.TRACE_Y, 2] = 15 + 0.2 * np.arange(6)
    assert build(MMM, loops).heading[2] == pytest.approx(math.pi / 2)
    loops[-2, field.TRACE_STRIKE, 2] = 3
    dx, dy = loops[-1, :2, 3] - loops[-1, :2, 2]
    assert build(MMM, loops).heading[2] == pytest.approx(math.atan2(dy, dx))


def test_the_last_survivors_look_ahead():
    loops = quiet_loops(MMM)
    loops[:, field.TRACE_ALIVE, 10:] = 0
    assert build(MMM, loops).heading[:10].tolist() == [0.0] * 10


def test_loops_of_another_battle_are_refused():
    with pytest.raises(ValueError, match=r"loops must be \[N, 12, 20\], not \[3, 12, 18\]"):
        build(MMM, quiet_loops(COLOSSAL, 3))


@given(arrays.arrays(np.bool_, (32, 32)))
def test_the_view_of_the_ground_holds_all_of_it(walkable):
    view = scene.ground_view(walkable)
    xs, ys = np.nonzero(walkable)
    assert 0 <= view.west < view.east <= 32
    assert 0 <= view.south < view.north <= 32
    if xs.size:
        assert view.west <= xs.min() < xs.max() + 1 <= view.east
        assert view.south <= ys.min() < ys.max() + 1 <= view.north


@given(
    st.sampled_from(sorted(MAPS)),
    st.lists(st.tuples(st.floats(0, 32), st.floats(0, 32)), min_size=1, max_size=5),
)
@settings(max_examples=60)
def test_the_view_of_a_battle_holds_everybody_on_the_ground(map_name, places):
    stage = scene.make_stage(MAPS[map_name], Options())
    ground = scene.ground_view(stage.walkable)
    x = np.clip([place[0] for place in places], ground.west, ground.east)
    y = np.clip([place[1] for place in places], ground.south, ground.north)
    loops = np.zeros((1, field.NUM_TRACES, len(places)), np.float32)
    loops[0, field.TRACE_X], loops[0, field.TRACE_Y] = x, y
    view = scene.battle_view(stage, loops)
    near = 1e-4
    assert ground.west <= view.west <= x.min() + near
    assert x.max() - near <= view.east <= ground.east
    assert ground.south <= view.south <= y.min() + near
    assert y.max() - near <= view.north <= ground.north
    assert view.east - view.west >= min(16, ground.east - ground.west) - near


@pytest.mark.parametrize("map_name", sorted(MAPS))
def test_a_stage_names_every_unit(map_name):
    row = MAPS[map_name]
    stage = scene.make_stage(row, Options())
    assert len(stage.units) == row.num_agents + row.num_enemies
    assert {unit.name for unit in stage.units[: row.num_agents]} == {
        group.unit.name for group in row.allies
    }


def test_a_traced_batch_shows_its_last_loop(stop_play):
    batch = SkirmishBatch("2s3z", 2, seed=5, trace=True)
    stage = scene.make_stage(batch.row, batch.options)
    batch.reset()
    before = scene.of_batch(stage, batch, 1)
    assert (before.loop, before.step, before.outcome) == (0, 0, "")
    for _ in range(6):
        batch.step(stop_play(batch))
    seen = scene.of_batch(stage, batch, 1, episode_return=2.0)
    assert (seen.loop, seen.step) == (48, 6)
    np.testing.assert_array_equal(seen.x, batch.trace[1, -1, field.TRACE_X])
    np.testing.assert_allclose(seen.health, batch.unit_health[1], rtol=1e-6)
    assert (before.x[5:] > seen.x[5:]).all()


def test_an_untraced_batch_shows_places_and_points_only(stop_play):
    batch = SkirmishBatch("2s3z", 1, seed=5)
    stage = scene.make_stage(batch.row, batch.options)
    batch.reset()
    batch.step(stop_play(batch))
    seen = scene.of_batch(stage, batch, 0)
    np.testing.assert_allclose(seen.y, batch.unit_y[0], rtol=1e-6)
    assert not seen.strikes


def test_outcomes_are_told(stop_play, play_out):
    batch = SkirmishBatch("3m", 1, seed=1)
    batch.reset()
    assert scene.outcome(batch, 0) == ""
    play_out(batch, stop_play)
    assert scene.outcome(batch, 0) == "lost"
    batch.truncated[0], batch.terminated[0] = 1, 0
    assert scene.outcome(batch, 0) == "time is up"
    batch.won[0] = 1
    assert scene.outcome(batch, 0) == "won"


def test_scenes_do_not_change_with_the_loops_they_were_built_from():
    loops = quiet_loops(MMM)
    seen = build(MMM, loops)
    loops[:] = 0
    assert seen.x.any()
    assert dataclasses.replace(seen, loop=8).step == 1
