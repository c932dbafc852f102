"""Walkers that follow the table arrive, on ways that are hardly longer than they must be."""

from __future__ import annotations

import heapq
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import route, terrain
from dm2_dist.envs.skirmish.kernels.field import CLIFF, EDGE, STRAIGHT
from dm2_dist.envs.skirmish.terrain import Terrain

Codes = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LONGEST_WALK = 1500
"""Steps after which a walker counts as stuck."""


def codes(plan: Terrain) -> Codes:
    free = np.array([[plan.pathable(x, y) for y in range(32)] for x in range(32)])
    return np.where(free, EDGE, CLIFF).astype(np.uint8)


WINDING = {
    plan.name: codes(plan)
    for plan in (
        terrain.CHOKE,
        terrain.RAVINE,
        terrain.PLATEAU,
        terrain.OCTAGON,
        terrain.KEEP,
        terrain.PIT,
    )
}


@st.composite
def drawn_grounds(draw: st.DrawFn, square: int) -> Codes:
    """A small field of squares, some of them cliffs, somewhere on a map of cliffs."""
    width, height = draw(st.integers(2, 12 // square)), draw(st.integers(2, 12 // square))
    rows = st.lists(st.integers(0, 3), min_size=width * height, max_size=width * height)
    free = np.array(draw(rows)).reshape(width, height) > 0
    free = np.kron(free, np.ones((square, square), dtype=np.bool_))
    cell = np.full((32, 32), CLIFF, dtype=np.uint8)
    x = square * draw(st.integers(0, (32 - free.shape[0]) // square))
    y = square * draw(st.integers(0, (32 - free.shape[1]) // square))
    cell[x : x + free.shape[0], y : y + free.shape[1]] = np.where(free, EDGE, CLIFF)
    return cell


def standable(free: Flags, x: Reals, y: Reals, radius: float) -> Flags:
    """Say which disks have their centre and their four extremes on free cells."""
    good = (x >= radius) & (y >= radius) & (x < 32 - radius) & (y < 32 - radius)
    for dx, dy in ((0.0, 0.0), (radius, 0.0), (-radius, 0.0), (0.0, radius), (0.0, -radius)):
        column = np.clip(np.floor(x + dx), 0, 31).astype(np.intp)
        row = np.clip(np.floor(y + dy), 0, 31).astype(np.intp)
        good &= free[column, row]
    return good


def rooms(free: Flags, radius: float, place: float) -> tuple[list[int], Reals]:
    """Return each cell that can be stood in, and a point of it.

    Args:
        free: bool [32, 32].
        radius: the walker's.
        place: where in the cell's room, from 0 for the lower ends to 1 for the upper.
    """
    walled = np.pad(free, 1)
    found, points = [], []
    for x, y in np.argwhere(free):
        low_x, high_x = (
            x + radius * (not walled[x, y + 1]),
            x + 1 - radius * (not walled[x + 2, y + 1]),
        )
        low_y, high_y = (
            y + radius * (not walled[x + 1, y]),
            y + 1 - radius * (not walled[x + 1, y + 2]),
        )
        if high_x > low_x and high_y > low_y:
            found.append(int(32 * x + y))
            points.append((low_x + place * (high_x - low_x), low_y + place * (high_y - low_y)))
    return found, np.array(points).reshape(-1, 2)


def grid_lengths(cells: list[int], goal: int) -> dict[int, float]:
    """Return the length of the shortest way over the grid to the goal, for all cells with one.

    Steps lead to the eight neighbours, but never diagonally past a blocked cell.
    """
    free = set(cells)
    length = {goal: 0.0}
    heap = [(0.0, goal)]
    while heap:
        so_far, here = heapq.heappop(heap)
        x, y = divmod(here, 32)
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                around = [(x + dx, y), (x, y + dy), (x + dx, y + dy)]
                if not all(0 <= a < 32 and 0 <= b < 32 and 32 * a + b in free for a, b in around):
                    continue
                there, total = 32 * (x + dx) + y + dy, so_far + math.hypot(dx, dy)
                if total < length.get(there, math.inf) - 1e-9:
                    length[there] = total
                    heapq.heappush(heap, (total, there))
    return length


def walk(
    routes: route.Routes, free: Flags, radius: float, start: Reals, goal: Reals, speed: float
) -> tuple[Flags, Reals]:
    """Let many walkers look up their way to one goal, step by step, sliding along cliffs.

    Returns:
        Who arrived, and how far each has walked.
    """
    x, y = start.T.copy()
    walked = np.zeros(len(x))
    target = 32 * int(goal[0]) + int(goal[1])
    aims = np.concatenate([routes.corner, np.zeros((256 - len(routes.corner), 2))])
    aims[STRAIGHT] = goal
    for _ in range(LONGEST_WALK):
        aim = aims[routes.route[32 * x.astype(np.intp) + y.astype(np.intp), target]]
        dx, dy = aim[:, 0] - x, aim[:, 1] - y
        distance = np.hypot(dx, dy)
        part = np.minimum(speed, distance) / np.maximum(distance, 1e-12)
        dx, dy = part * dx, part * dy
        both = standable(free, x + dx, y + dy, radius)
        along_x = ~both & (dx != 0.0) & standable(free, x + dx, y, radius)
        along_y = ~both & ~along_x & (dy != 0.0) & standable(free, x, y + dy, radius)
        step_x, step_y = np.where(both | along_x, dx, 0.0), np.where(both | along_y, dy, 0.0)
        x, y = x + step_x, y + step_y
        assert standable(free, x, y, radius).all(), "a walker stands in a cliff"
        walked += np.hypot(step_x, step_y)
        there = np.hypot(x - goal[0], y - goal[1]) < 1e-6
        if there.all():
            break
    return there, walked


def check_ways(cell: Codes, radius: float, pick: int, place: float, speed: float) -> None:
    """Send a walker from every cell to one goal, and demand that all get there on short ways."""
    free = cell != CLIFF
    cells, points = rooms(free, radius, place)
    if not cells:
        return
    goal = pick % len(cells)
    shortest = grid_lengths(cells, cells[goal])
    start = [k for k, here in enumerate(cells) if here in shortest]
    there, walked = walk(route.plan(cell, radius), free, radius, points[start], points[goal], speed)
    lost = [divmod(cells[k], 32) for k, arrived in zip(start, there, strict=True) if not arrived]
    assert lost == [], f"never reach {divmod(cells[goal], 32)}"
    if place == 0.5:
        bound = np.array([1.1 * shortest[cells[k]] + 1.0 for k in start])
        assert (walked <= bound).all()


places = st.sampled_from([0.5, 0.02, 0.98])
speeds = st.sampled_from([2.25 / 16, 2.9531 / 16])
picks = st.integers(0, 1023)


@pytest.mark.parametrize("radius", [0.375, 0.5, 0.625])
@pytest.mark.parametrize("name", WINDING)
@settings(max_examples=4, deadline=None)
@given(pick=picks, place=places, speed=speeds)
def test_on_the_real_grounds_every_walker_arrives(
    name: str, radius: float, pick: int, place: float, speed: float
) -> None:
    check_ways(WINDING[name], radius, pick, place, speed)


@settings(max_examples=60, deadline=None)
@given(
    cell=drawn_grounds(square=2),
    radius=st.sampled_from([0.375, 0.5, 0.625, 0.75]),
    pick=picks,
    place=places,
    speed=speeds,
)
def test_on_any_ground_of_large_squares_every_walker_arrives(
    cell: Codes, radius: float, pick: int, place: float, speed: float
) -> None:
    check_ways(cell, radius, pick, place, speed)


@settings(max_examples=60, deadline=None)
@given(
    cell=drawn_grounds(square=1),
    radius=st.sampled_from([0.25, 0.375, 0.45]),
    pick=picks,
    place=places,
    speed=speeds,
)
def test_on_any_ground_every_walker_narrower_than_a_cell_arrives(
    cell: Codes, radius: float, pick: int, place: float, speed: float
) -> None:
    check_ways(cell, radius, pick, place, speed)


def test_a_walker_crosses_the_choke_from_room_to_room() -> None:
    cell = WINDING["choke"]
    for radius in (0.375, 0.5):
        routes = route.plan(cell, radius)
        start, goal = np.array([[19.0, 19.1]]), np.array([4.5, 4.3])
        there, walked = walk(routes, cell != CLIFF, radius, start, goal, 2.25 / 16)
        assert there.all()
        # As the crow flies, and as one has to walk by the throat.
        assert math.dist((19.0, 19.1), (4.5, 4.3)) < walked[0] < 21.5


@pytest.mark.parametrize("plan", [terrain.OPEN, terrain.LANE], ids=lambda plan: plan.name)
def test_ground_without_obstacles_is_all_straight(plan: Terrain) -> None:
    routes = route.plan(codes(plan), 0.625)
    assert (routes.route == STRAIGHT).all()
    assert routes.corner.shape == (0, 2)


def test_no_way_and_no_ground_are_straight() -> None:
    cell = WINDING["keep"]
    table = route.plan(cell, 0.625).route
    inside, outside, cliff = 32 * 14 + 14, 32 * 2 + 2, 32 * 7 + 14
    assert table[inside, outside] == table[outside, inside] == STRAIGHT
    assert (table[cliff] == STRAIGHT).all()
    assert (table[:, cliff] == STRAIGHT).all()


@pytest.mark.parametrize("name", WINDING)
def test_corner_points_can_be_stood_on_with_room_to_spare(name: str) -> None:
    cell = WINDING[name]
    routes = route.plan(cell, 0.5)
    assert 0 < len(routes.corner) < STRAIGHT
    x, y = routes.corner.T
    assert standable(cell != CLIFF, x, y, 0.5).all()
    assert standable(cell != CLIFF, x, y, 0.5 + route.MARGIN / 3).all()
    named = routes.route[routes.route != STRAIGHT]
    assert named.max() < len(routes.corner)


def test_equal_arguments_give_equal_tables_of_the_callers_own() -> None:
    first = route.plan(WINDING["ravine"], 0.375)
    first.route[:] = 0
    first.corner[:] = 0.0
    second = route.plan(WINDING["ravine"], 0.375)
    route._plan.cache_clear()
    third = route.plan(WINDING["ravine"], 0.375)
    assert second.corner.any()
    assert (second.route == third.route).all()
    assert (second.corner == third.corner).all()


def test_bad_input_is_refused_with_a_sentence() -> None:
    cell = WINDING["pit"]
    with pytest.raises(ValueError, match=r"cell must be uint8 \[32, 32\], got uint8 \[16, 32\]"):
        route.plan(cell[:16], 0.5)
    with pytest.raises(ValueError, match="got int64"):
        route.plan(cell.astype(np.int64), 0.5)
    with pytest.raises(ValueError, match="clearance must be at least 0 and below 1 cell"):
        route.plan(cell, 1.0)
    scattered = np.full((32, 32), EDGE, dtype=np.uint8)
    scattered[1::3, 1::3] = CLIFF
    with pytest.raises(ValueError, match="draw it with fewer and larger cliffs"):
        route.plan(scattered, 0.375)
