"""The ground plans against counts taken from the map files, and against their own symmetries."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import battle_map, terrain
from dm2_dist.envs.skirmish.terrain import Terrain

PLANS = (
    terrain.OPEN,
    terrain.LANE,
    terrain.OCTAGON,
    terrain.PEDESTAL,
    terrain.KEEP,
    terrain.PIT,
    terrain.PLATEAU,
    terrain.CHOKE,
    terrain.RAVINE,
)

# Counted in the pathing flags of the map files; CHOKE has 12 cells more, in its throat.
PATHABLE = {
    "open": 1024,
    "lane": 512,
    "octagon": 352,
    "pedestal": 352,
    "keep": 896,
    "pit": 904,
    "plateau": 336,
    "choke": 332 + 12,
    "ravine": 300,
}

# Counted in the height maps of the map files, encoded as the game does.
HEIGHTS = {
    "open": {191: 1024},
    "lane": {135: 416, 191: 608},
    "octagon": {135: 555, 191: 469},
    "pedestal": {127: 555, 191: 469},
    "keep": {127: 771, 191: 253},
    "pit": {127: 793, 191: 231},
    "plateau": {135: 513, 191: 316, 193: 4, 195: 14, 197: 2, 199: 12, 201: 2, 203: 10, 207: 151},
    "choke": {135: 519, 191: 505},
    "ravine": {135: 563, 191: 461},
}


def cells(plan: Terrain) -> npt.NDArray[np.bool_]:
    return np.array([[plan.pathable(x, y) for y in range(32)] for x in range(32)])


def heights(plan: Terrain) -> npt.NDArray[np.int64]:
    return np.array([[plan.height(x, y) for y in range(32)] for x in range(32)])


def connected(free: npt.NDArray[np.bool_], x: int, y: int) -> npt.NDArray[np.bool_]:
    """Return the free cells that can be reached from (x, y) across the sides of cells."""
    reached = np.zeros_like(free)
    reached[x, y] = free[x, y]
    for _ in range(free.size):
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= free
        if (grown == reached).all():
            break
        reached = grown
    return reached


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_has_as_many_pathable_cells_as_its_map_file(plan: Terrain) -> None:
    assert cells(plan).sum() == PATHABLE[plan.name]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_has_as_many_cells_at_each_height_as_its_map_file(plan: Terrain) -> None:
    assert dict(Counter(heights(plan).ravel().tolist())) == HEIGHTS[plan.name]


@pytest.mark.parametrize("row", battle_map.MAPS.values(), ids=lambda row: row.name)
def test_all_units_start_on_ground_that_hangs_together(row: battle_map.BattleMap) -> None:
    free = cells(row.terrain)
    points = [group.point for group in row.allies + row.enemies] + list(row.order.points)
    x, y = points[0]
    reached = connected(free, int(x), int(y))
    blocked = [point for point in points if not reached[int(point[0]), int(point[1])]]
    assert blocked == []


@pytest.mark.parametrize("row", battle_map.MAPS.values(), ids=lambda row: row.name)
def test_what_units_can_reach_is_never_lower_than_the_battlefield(
    row: battle_map.BattleMap,
) -> None:
    x, y = row.allies[0].point
    reached = connected(cells(row.terrain), int(x), int(y))
    assert heights(row.terrain)[reached].min() == terrain.GROUND_HEIGHT


@pytest.mark.parametrize("plan", [terrain.KEEP, terrain.PIT], ids=lambda plan: plan.name)
def test_the_land_around_a_ring_of_cliffs_counts_as_pathable_and_is_out_of_reach(
    plan: Terrain,
) -> None:
    free = cells(plan)
    inside = connected(free, 14, 14)
    outside = connected(free, 0, 0)
    assert not (inside & outside).any()
    assert (inside | outside == free).all()
    assert (heights(plan)[outside] == terrain.ABYSS_HEIGHT).all()
    # A probe two cells beyond the edge of the battlefield still meets the cliff, the fourth not.
    for x in (6, 7):
        assert not plan.pathable(x, 14)
    assert plan.pathable(8, 14)
    assert plan.pathable(5, 14)


def test_the_throat_of_the_choke_joins_the_two_rooms() -> None:
    free = cells(terrain.CHOKE)
    assert (connected(free, 4, 4) == free).all()
    throat = [(x, y) for x in range(12, 14) for y in range(10, 16) if free[x, y]]
    assert throat
    assert all(abs(x - y) <= 2 for x, y in throat)


@pytest.mark.parametrize(
    "plan",
    [terrain.LANE, terrain.OCTAGON, terrain.PEDESTAL, terrain.PLATEAU],
    ids=lambda plan: plan.name,
)
def test_battlefields_that_mirror_east_and_west_do_so_in_every_cell(plan: Terrain) -> None:
    free = cells(plan)
    assert (free == free[::-1]).all()


@given(st.integers(-64, 96), st.integers(-64, 96))
def test_a_cell_outside_the_map_is_blocked_and_has_no_height(x: int, y: int) -> None:
    if 0 <= x < 32 and 0 <= y < 32:
        assert terrain.OPEN.pathable(x, y)
        assert terrain.OPEN.height(x, y) == terrain.GROUND_HEIGHT
        return
    assert not terrain.OPEN.pathable(x, y)
    with pytest.raises(ValueError, match="outside the map"):
        terrain.OPEN.height(x, y)


def test_a_drawn_plan_lies_above_what_it_blocks() -> None:
    drawn = Terrain("drawn", (terrain.Band(3, 4, ((5, 6),)),))
    assert drawn.height(5, 3) == terrain.GROUND_HEIGHT
    assert drawn.height(7, 3) == terrain.CLIFF_HEIGHT


def test_the_ramps_of_the_plateau_climb_in_even_steps() -> None:
    for y in range(14, 19):
        climb = [terrain.PLATEAU.height(x, y) for x in range(4, 9)]
        assert climb == [191, 195, 199, 203, 207]
        assert [terrain.PLATEAU.height(32 - x, y) for x in range(4, 9)] == climb
