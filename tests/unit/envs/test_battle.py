"""How units move, fight, regenerate and choose targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map
from dm2_dist.envs.skirmish.kernels import draw, field
from dm2_dist.envs.skirmish.options import Options

Policy = Callable[[SkirmishBatch], npt.NDArray[np.int64]]

LOOPWISE = Options(step_mul=1)
STOP, NORTH, SOUTH, EAST, WEST = 1, 2, 3, 4, 5


def started(map_name: str, options: Options | None = None, seed: int = 0) -> SkirmishBatch:
    """Start one battle without a time limit."""
    batch = SkirmishBatch(map_name, 1, options=options)
    batch._world.number[field.EPISODE_LIMIT] = 10_000
    batch.reset(np.array([seed], np.uint64))
    return batch


def put(batch: SkirmishBatch, unit: int, x: float, y: float) -> None:
    batch._battles.real[0, field.X, unit] = x
    batch._battles.real[0, field.Y, unit] = y


def leave_only(batch: SkirmishBatch, *units: int) -> None:
    """Bury every other unit before the battle starts."""
    for unit in set(range(batch.unit_x.shape[1])) - set(units):
        batch._battles.real[0, field.HEALTH, unit] = 0
        batch._battles.real[0, field.PREVIOUS, unit] = 0
        batch._battles.integer[0, field.ALIVE, unit] = 0
        put(batch, unit, 1.0 + unit, 9.0)


def orders(batch: SkirmishBatch, order: int) -> npt.NDArray[np.int64]:
    """The same action for every living agent."""
    return np.where(batch._battles.integer[:, field.ALIVE, : batch.num_agents] == 1, order, 0)


def force(batch: SkirmishBatch, order: int) -> None:
    """Step without waiting for the features to follow what a test has moved by hand."""
    listed = batch.available_actions
    listed[:] = 1
    batch.step(orders(batch, order))


@pytest.mark.parametrize(("map_name", "speed"), [("3m", 2.25 / 16), ("3s_vs_3z", 2.9531 / 16)])
@pytest.mark.parametrize(
    ("action", "dx", "dy"),
    [(NORTH, 0, 1), (SOUTH, 0, -1), (EAST, 1, 0), (WEST, -1, 0), (STOP, 0, 0)],
)
def test_a_step_moves_eight_loops(
    map_name: str, speed: float, action: int, dx: int, dy: int
) -> None:
    batch = started(map_name)
    before = batch.unit_x[0, :3].copy(), batch.unit_y[0, :3].copy()
    batch.step(orders(batch, action))
    assert batch.unit_x[0, :3] == pytest.approx(before[0] + 8 * speed * dx, abs=1e-5)
    assert batch.unit_y[0, :3] == pytest.approx(before[1] + 8 * speed * dy, abs=1e-5)


def test_a_move_order_ends_after_two_cells() -> None:
    batch = started("3m", Options(step_mul=16))
    x = batch.unit_x[0, :3].copy()
    batch.step(orders(batch, WEST))
    assert batch.unit_x[0, :3] == pytest.approx(x - 2, abs=1e-5)


def test_moves_end_at_the_cliff_and_at_the_border() -> None:
    batch = started("3m")
    leave_only(batch, 0, 5)
    put(batch, 0, 2.0, 9.1)
    for _ in range(6):
        force(batch, SOUTH)
    assert 8.375 <= batch.unit_y[0, 0] < 8.6
    assert batch.available_actions[0, 0].tolist() == [0, 1, 1, 0, 1, 1, 0, 0, 0]
    for _ in range(6):
        force(batch, WEST)
    assert 0.375 <= batch.unit_x[0, 0] < 0.6


def test_enemies_walk_to_the_team_and_shoot_within_reach() -> None:
    batch = started("3m", LOOPWISE)
    start = batch.unit_x[0, 3:].copy()
    for _ in range(16):
        batch.step(orders(batch, STOP))
    assert batch.unit_x[0, 3:] == pytest.approx(start - 2.25, abs=0.05)
    while (batch.unit_health[0, :3] == 45).all():
        batch.step(orders(batch, STOP))
    gaps = np.hypot(
        batch.unit_x[0, 3:, None] - batch.unit_x[0, :3],
        batch.unit_y[0, 3:, None] - batch.unit_y[0, :3],
    )
    assert 5.4 < gaps.min() <= 5.75, "range 5 from edge to edge"
    assert batch.unit_health[0, :3].min() == 39


def test_enemies_take_the_nearest_target() -> None:
    batch = started("3m", LOOPWISE)
    leave_only(batch, 0, 1, 5)
    put(batch, 5, 12, 16)
    put(batch, 0, 8.0, 16)
    put(batch, 1, 7.2, 16)
    for _ in range(10):
        force(batch, STOP)
    assert batch.unit_health[0, [0, 1]].tolist() == [39, 45]


def test_enemy_keeps_its_target_while_in_reach_but_turns_on_an_attacker_when_it_is_not() -> None:
    batch = started("3s_vs_3z", LOOPWISE)
    leave_only(batch, 0, 1, 3)
    put(batch, 3, 16, 16)
    put(batch, 0, 12.5, 16)
    put(batch, 1, 16, 20.5)
    force(batch, STOP)
    target = batch._battles.integer[0, field.TARGET]
    assert target[3] == 0, "the nearer one"
    put(batch, 0, 9.0, 16)
    force(batch, STOP)
    assert target[3] == 0, "kept, though it went out of scan range"
    batch.available_actions[:] = 1
    batch.step(np.array([[STOP, 6, 0]]))
    batch.available_actions[:] = 1
    batch.step(np.array([[STOP, 6, 0]]))
    assert target[3] == 1, "attacked by the other while the target is out of reach"


def test_a_unit_shot_from_beyond_its_scan_range_responds_and_calls_friends() -> None:
    batch = started("3s_vs_3z", LOOPWISE)
    leave_only(batch, 0, 3, 4, 5)
    integer = batch._battles.integer[0]
    for unit, x, y in ((3, 9.0, 16.0), (4, 9.0, 18.5), (5, 9.0, 28.0)):
        put(batch, unit, x, y)
        integer[field.ORDER, unit] = field.IDLE
    put(batch, 0, 16.0, 16.0)
    for _ in range(12):
        force(batch, 6)
    assert batch.unit_shield[0, 3] == 40
    assert integer[field.TARGET, [3, 4, 5]].tolist() == [0, 0, -1]


def test_agents_never_choose_a_target_themselves() -> None:
    batch = started("3m")
    while not batch.finished[0]:
        batch.step(orders(batch, STOP))
        assert (batch.unit_health[0, 3:] == 45).all()
    assert batch.won[0] == 0


def test_an_attack_order_lasts_and_chases() -> None:
    batch = started("3m", Options(attack_any_distance=True, step_mul=60))
    batch.step(orders(batch, 7))
    assert batch.unit_health[0, 4] < 45
    assert (batch.unit_x[0, :3] > 9.2).all(), "they walked towards the target"


def shots(map_name: str, shooter: int, target: int, loops: int) -> list[int]:
    """Loops in which one agent's attack takes effect on a motionless enemy."""
    batch = started(map_name, LOOPWISE)
    leave_only(batch, shooter, target)
    put(batch, shooter, 14, 16)
    put(batch, target, 14 + 5, 16)
    batch._world.trait[field.SPEED, target] = 0
    batch._world.trait[field.RANGE, target] = -5
    when = []
    points = batch.unit_health[0, target] + batch.unit_shield[0, target]
    for loop in range(loops):
        batch._battles.real[0, field.HEALTH, shooter] = 45
        batch.available_actions[:] = 1
        batch.step(
            np.where(np.arange(batch.num_agents) == shooter, 6 + target - batch.num_agents, 0)[None]
        )
        now = batch.unit_health[0, target] + batch.unit_shield[0, target]
        if now < points:
            when.append(loop)
            assert points - now in ({6.0} if map_name == "3m" else {10.0, 9.0})
        points = now
        batch._battles.real[0, field.HEALTH, target] = max(batch.unit_health[0, target], 20)
        points = batch.unit_health[0, target] + batch.unit_shield[0, target]
        if batch.finished[0]:
            break
    return when


@pytest.mark.parametrize(("map_name", "period"), [("3m", 0.8608 * 16), ("3s_vs_3z", 1.44 * 16)])
def test_weapon_cycles_are_the_period_plus_noise(map_name: str, period: float) -> None:
    gaps = np.diff(shots(map_name, 0, 3, 400))
    assert gaps.size >= 15
    assert np.unique(gaps).size > 1
    assert (gaps >= np.floor(period - 1)).all()
    assert (gaps <= np.ceil(period + 2)).all()


def test_a_missile_takes_time_to_arrive() -> None:
    first_bullet, first_missile = shots("3m", 0, 3, 12)[0], shots("3s_vs_3z", 0, 3, 20)[0]
    assert first_bullet == 1, "wind-up of 0.8 loops"
    wind_up, flight = 0.167 * 16, (5 - 0.625 - 0.5) / (18.75 / 16)
    assert first_missile == np.ceil(wind_up) + np.ceil(flight)


def test_zealots_hit_twice_through_shields_then_armor() -> None:
    batch = started("3s_vs_3z", LOOPWISE)
    leave_only(batch, 0, 3)
    put(batch, 0, 14, 16)
    put(batch, 3, 15.2, 16)
    batch._battles.real[0, field.SHIELD, 0] = 11
    history = []
    for _ in range(7):
        force(batch, STOP)
        history.append((batch.unit_shield[0, 0], batch.unit_health[0, 0]))
    assert history[0] == (3, 80)
    assert history[4:6] == [(3, 80), (0, 76)], "8 = 3 from the shield, 5 - 1 armour from health"
    assert history[6] == (0, 76)


def test_shields_regenerate_after_ten_seconds_and_health_does_not() -> None:
    batch = started("3s_vs_3z", LOOPWISE)
    batch._battles.real[0, field.SHIELD, 0] = 30
    batch._battles.real[0, field.HEALTH, 0] = 50
    leave_only(batch, 0, 3)
    put(batch, 0, 2, 2)
    put(batch, 3, 30, 30)
    batch._world.trait[field.SPEED, 3] = 0
    for _ in range(160):
        force(batch, STOP)
    assert batch.unit_shield[0, 0] == 30
    for _ in range(8):
        force(batch, STOP)
    assert batch.unit_shield[0, 0] == 31
    assert batch.unit_health[0, 0] == 50


@settings(max_examples=14, deadline=None)
@given(
    map_name=st.sampled_from(battle_map.PLAYABLE_MAPS),
    seed=st.integers(0, 2**63),
    eagerness=st.floats(0, 1),
)
def test_invariants_of_every_battle(map_name: str, seed: int, eagerness: float) -> None:
    batch = SkirmishBatch(map_name, 4, seed)
    batch.reset()
    ground = battle_map.find(map_name).terrain
    generator = np.random.default_rng(seed)
    health = batch.unit_health.copy()
    while not batch.finished.all():
        listed = batch.available_actions
        weight = generator.random(listed.shape)
        weight[..., 6:] += eagerness
        batch.step(np.where(listed > 0, weight, -1.0).argmax(axis=2))
        assert np.isfinite(batch._battles.real).all()
        assert np.isfinite(batch.observation).all()
        assert np.isfinite(batch.state).all()
        assert (batch.unit_health <= health).all(), "nothing here heals"
        assert (batch.unit_health >= 0).all()
        assert (batch.unit_cooldown >= 0).all()
        cells = zip(batch.unit_x.ravel().astype(int), batch.unit_y.ravel().astype(int), strict=True)
        assert all(ground.pathable(x, y) for x, y in set(cells))
        health = batch.unit_health.copy()


def test_living_units_hardly_overlap(random_play: Callable[[int], Policy]) -> None:
    batch = SkirmishBatch("8m_vs_9m", 8)
    batch.reset()
    act = random_play(2)
    for _ in range(25):
        batch.step(act(batch))
        x, y = batch.unit_x, batch.unit_y
        gap = np.hypot(x[:, :, None] - x[:, None, :], y[:, :, None] - y[:, None, :])
        alive = batch.unit_health > 0
        pairs = alive[:, :, None] & alive[:, None, :] & ~np.eye(17, dtype=bool)
        assert gap[pairs].min() > 0.75 * 0.6
        assert (gap[pairs] > 0.75 * 0.95).mean() > 0.95


def test_draws_are_uniform_and_depend_on_every_argument() -> None:
    key = np.uint64(7)
    draws = np.array([draw.uniform(key, 2, loop, unit) for loop in range(60) for unit in range(20)])
    assert np.unique(draws).size == draws.size
    assert 0 <= draws.min() < 0.01
    assert 0.99 < draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert draw.uniform(key, 1, 3, 4) != draw.uniform(key, 2, 3, 4)
    assert draw.uniform(np.uint64(8), 2, 3, 4) != draw.uniform(key, 2, 3, 4)
    many = {draw.derived_seed(seed, index) for seed in range(30) for index in range(30)}
    assert len(many) == 900
    assert all(0 <= word < 2**64 for word in many)
