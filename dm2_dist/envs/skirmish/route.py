"""Ways around cliffs: for every pair of cells, where a walker of some width has to go first.

The table is all the path finding there is: a walker looks its cell up and walks straight. Fed by
the cells that `world` lays out; read by the kernels.

A walker may stand wherever its centre and the four extremes of its disk are on pathable cells
(`kernels.movement.standable`). Of each cell that leaves a convex standing room. The table is built
from three ideas, and shortest ways in a graph of a few dozen points:

* A room sees a point or another room if the two lines that touch both from outside are free. Then
  it does not matter where in its cell the walker is.
* Shortest ways bend at convex corners of cliffs only. Around each of them lie three points to walk
  to: one in front of it, one just past it along either wall.
* A walker is never sent to a point in its own cell, so it never stops short of the next bend.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.kernels.field import CLIFF, MAP_SIZE, STRAIGHT

Codes = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

MARGIN = 0.05
"""Distance that corner points keep from where a walker cannot stand."""

_TOUCH = 1e-9  # overlap that still counts as touching
_CHUNK = 1 << 13  # segments tested at a time: few enough to stay in the processor's cache
_DIAGONALS = ((0, 0), (0, 1), (1, 0), (1, 1))  # a cell's corners: 0 the lower end, 1 the upper


class Routes(NamedTuple):
    """Where to walk first, on one ground plan, for walkers of one clearance.

    Attributes:
        route: uint8 [1024, 1024], indexed [32 x + y of the start, 32 x + y of the goal]: `STRAIGHT`
            where a walker can go straight, where there is no way, and where either cell is a cliff
            or too tight to stand in; else the index of the corner point to walk to.
        corner: float64 [C, 2] the corner points, at most 254.
    """

    route: Codes
    corner: Reals


class _Rooms(NamedTuple):
    """N convex places: rectangles with some corners cut off, or single points.

    Attributes:
        centre: float64 [N, 2].
        tip: float64 [2, N, 2, 2, 2] the two ends of the cut at each corner (N, then 0 or 1 for the
            lower or upper x and y), which are one point where nothing is cut off; x and y last.
    """

    centre: Reals
    tip: Reals


def plan(cell: Codes, clearance: float) -> Routes:
    """Plan the ways between all cells of a ground plan.

    A walker that looks its cell up in every loop, and walks straight to the corner point or, where
    the table says `STRAIGHT`, to its goal, arrives wherever there is a way: on any ground if its
    disk is narrower than a cell, else on ground that is drawn, like all maps, in squares of two by
    two cells. Narrower walkers can use the table of a wider one, where that one gets through. Equal
    arguments give equal tables; the last few are kept.

    Args:
        cell: uint8 [32, 32] ground codes, indexed [x, y]; it matters which are `CLIFF`.
        clearance: radius of the walker's disk in cells, at least 0 and below 1.

    Returns:
        The table and its corner points, in arrays of the caller's own.

    Raises:
        ValueError: the array has another shape or type, the clearance is out of range, or the
            ground has more corners than a table can name.
    """
    if cell.shape != (MAP_SIZE, MAP_SIZE) or cell.dtype != np.uint8:
        raise ValueError(
            f"cell must be uint8 [{MAP_SIZE}, {MAP_SIZE}], got {cell.dtype} {list(cell.shape)}"
        )
    if not 0.0 <= clearance < 1.0:
        raise ValueError(f"clearance must be at least 0 and below 1 cell, got {clearance}")
    routes = _plan((cell != CLIFF).tobytes(), float(clearance))
    return Routes(routes.route.copy(), routes.corner.copy())


@functools.lru_cache(maxsize=32)
def _plan(pathable: bytes, clearance: float) -> Routes:
    free = np.frombuffer(pathable, dtype=np.bool_).reshape(MAP_SIZE, MAP_SIZE)
    route = np.full((MAP_SIZE**2, MAP_SIZE**2), STRAIGHT, dtype=np.uint8)
    corner = _corners(free, clearance)
    if len(corner) >= STRAIGHT:
        raise ValueError(
            f"the ground has {len(corner)} corner points and a table names at most "
            f"{STRAIGHT - 1}; draw it with fewer and larger cliffs"
        )
    if len(corner) > 0:
        cell, room = _rooms(free, clearance)
        block = _blocks(free, clearance)
        straight = _mutual_sight(free, cell, room, block)
        first = _first_corners(cell, room, corner, block)
        route[np.ix_(cell, cell)] = np.where(straight, STRAIGHT, first)
    return Routes(route, corner)


def _rooms(free: Flags, clearance: float) -> tuple[Indices, _Rooms]:
    """Return the index 32 x + y of each cell that can be stood in, int [N], and its room.

    Beside a cliff the room ends where the disk would touch it. Diagonally from a cliff the disk
    may come as close as the cliff's corner; that pocket is cut off, for it has no way on, and a
    walker that is pushed into it slides out again.
    """
    cell = np.flatnonzero(free)
    x, y = np.divmod(cell, MAP_SIZE)
    walled = np.pad(free, 1)
    end = np.empty((len(cell), 2, 2))
    cut = np.zeros((len(cell), 2, 2))
    for k, side in enumerate((-1, 1)):
        beside = np.stack([~walled[x + 1 + side, y + 1], ~walled[x + 1, y + 1 + side]], axis=1)
        end[:, k] = np.stack([x, y], axis=1) + k - side * clearance * beside
        for other, above in enumerate((-1, 1)):
            sides = walled[x + 1 + side, y + 1] & walled[x + 1, y + 1 + above]
            cut[:, k, other] = clearance * (sides & ~walled[x + 1 + side, y + 1 + above])
    size = end[:, 1] - end[:, 0]
    tip = np.empty((2, len(cell), 2, 2, 2))
    for i, j in _DIAGONALS:
        tip[:, :, i, j, 0] = end[:, i, 0]
        tip[:, :, i, j, 1] = end[:, j, 1]
        tip[0, :, i, j, 0] += (1 - 2 * i) * np.minimum(cut[:, i, j], size[:, 0])
        tip[1, :, i, j, 1] += (1 - 2 * j) * np.minimum(cut[:, i, j], size[:, 1])
    roomy = (size > _TOUCH).all(axis=1)
    return cell[roomy], _Rooms(end.mean(axis=1)[roomy], tip[:, roomy])


def _blocks(free: Flags, clearance: float) -> Reals:
    """Cover where nobody can stand with rectangles: float64 [Q, 4] low x, low y, high x, high y."""
    along = [(x0, y0 - clearance, x1, y1 + clearance) for x0, x1, y0, y1 in _runs(free)]
    across = [(x0 - clearance, y0, x1 + clearance, y1) for y0, y1, x0, x1 in _runs(free.T)]
    return np.array([*along, *across], dtype=np.float64).reshape(-1, 4)


def _runs(free: Flags) -> list[tuple[int, int, int, int]]:
    """Cover the cliffs with rectangles: first row, end row, first column, end column."""
    begun: dict[tuple[int, int], int] = {}
    runs: list[tuple[int, int, int, int]] = []
    for row in range(MAP_SIZE + 1):
        here: set[tuple[int, int]] = set()
        if row < MAP_SIZE:
            edge = np.flatnonzero(np.diff(np.pad(~free[row], 1).astype(np.int8)))
            here = {(int(a), int(b)) for a, b in edge.reshape(-1, 2)}
        for ends in sorted(begun.keys() - here):
            runs.append((begun.pop(ends), row, *ends))
        for ends in here - begun.keys():
            begun[ends] = row
    return runs


def _corners(free: Flags, clearance: float) -> Reals:
    """Return float64 [C, 2]: three points around every convex corner, if they can be stood on."""
    # The tightest lane that such a walker fits into leaves it this much play.
    play = np.floor(2.0 * clearance) + 1.0 - 2.0 * clearance
    margin = min(MARGIN, play / 3.0)
    away, past = clearance + margin, -margin / 2.0
    walled = np.pad(free, 1)
    points = []
    for x, y in np.argwhere(~free):
        for i, j in _DIAGONALS:
            toward = np.array([2 * i - 1, 2 * j - 1])
            beside, above = np.array([x + 1, y + 1]) + toward
            if walled[beside, y + 1] and walled[x + 1, above] and walled[beside, above]:
                for ahead in ((away, away), (past, away), (away, past)):
                    point = np.array([x + i, y + j]) + toward * ahead
                    if _standable(walled, point, clearance):
                        points.append(point)
    return np.array(points).reshape(-1, 2)


def _standable(walled: Flags, point: Reals, clearance: float) -> bool:
    disk = clearance * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    x, y = np.floor(point + disk).astype(np.intp).T + 1
    return bool(walled[x, y].all())


def _first_corners(cell: Indices, room: _Rooms, corner: Reals, block: Reals) -> Codes:
    """Return uint8 [N, N]: the first corner point on a shortest way from room to room.

    It is `STRAIGHT` where there is no way.
    """
    best = np.full((len(cell), len(cell)), np.inf)
    first = np.full(best.shape, STRAIGHT, dtype=np.uint8)
    spot = _Rooms(corner, np.broadcast_to(corner[:, None, None, :], (2, len(corner), 2, 2, 2)))
    seen = _sight(room, spot, block)
    leave = np.where(seen, _lengths(room.centre, corner), np.inf)
    apart = _lengths(corner, corner)
    rest = np.where(_sight(spot, spot, block), apart, np.inf)
    for via in range(len(corner)):
        np.minimum(rest, rest[:, via, None] + rest[via], out=rest)
    to_go = np.min(rest[:, :, None] + leave.T, axis=1)
    for index in range(len(corner)):
        length = leave[:, index, None] + to_go[index]
        better = length < best
        np.copyto(best, length, where=better)
        first[better] = index
    # A point in the walker's own cell only tells which way round: what follows it is walked to.
    here = cell[:, None] == corner.astype(np.intp) @ np.array([MAP_SIZE, 1])
    for start, index in np.argwhere(here):
        beyond = np.flatnonzero(seen[start] & ~here[start])
        goal = np.flatnonzero(first[start] == index)
        if len(beyond) and len(goal):
            length = apart[index, beyond, None] + to_go[np.ix_(beyond, goal)]
            first[start, goal] = beyond[length.argmin(axis=0)]
    return first


def _lengths(start: Reals, end: Reals) -> Reals:
    gap = start[:, None] - end
    return np.hypot(gap[:, :, 0], gap[:, :, 1])


def _mutual_sight(free: Flags, cell: Indices, room: _Rooms, block: Reals) -> Flags:
    """Return bool [N, N]: whether a walker can go straight from all of one room to all of another.

    Pairs without a cliff in or around the cells that they span are settled by counting.
    """
    count = np.pad(np.pad(~free, 1).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    i, j = np.triu_indices(len(cell))
    x, y = np.divmod(cell, MAP_SIZE)
    low_x, high_x = np.minimum(x[i], x[j]), np.maximum(x[i], x[j]) + 3
    low_y, high_y = np.minimum(y[i], y[j]), np.maximum(y[i], y[j]) + 3
    cliffs = count[high_x, high_y] - count[low_x, high_y] - count[high_x, low_y]
    sure = cliffs + count[low_x, low_y] == 0
    sure[~sure] = _pairs_see(room, i[~sure], room, j[~sure], block)
    straight = np.empty((len(cell), len(cell)), dtype=np.bool_)
    straight[i, j] = straight[j, i] = sure
    return straight


def _sight(room: _Rooms, other: _Rooms, block: Reals) -> Flags:
    """Return bool [N, M]: which of N rooms sees which of M others."""
    i, j = np.indices((len(room.centre), len(other.centre))).reshape(2, -1)
    return _pairs_see(room, i, other, j, block).reshape(len(room.centre), len(other.centre))


def _pairs_see(room: _Rooms, i: Indices, other: _Rooms, j: Indices, block: Reals) -> Flags:
    """Return bool [S]: whether room `i` and the other room `j` see each other, for S pairs."""
    left = np.arange(len(i))
    for side in (-1.0, 1.0):
        along_x, along_y = (other.centre[j[left]] - room.centre[i[left]]).T
        normal = -side * along_y, side * along_x
        start = _farthest(room.tip, i[left], normal)
        end = _farthest(other.tip, j[left], normal)
        left = left[_clear(start, end, block)]
    free = np.zeros(len(i), dtype=np.bool_)
    free[left] = True
    return free


def _farthest(tip: Reals, index: Indices, normal: tuple[Reals, Reals]) -> Reals:
    """Return float64 [2, S]: the point of each room that lies farthest along a normal."""
    kind = index, (normal[0] > 0.0).astype(np.intp), (normal[1] > 0.0).astype(np.intp)
    one, two = tip[0][kind].T, tip[1][kind].T
    ahead = (two[0] - one[0]) * normal[0] + (two[1] - one[1]) * normal[1] > 0.0
    farthest: Reals = np.where(ahead, two, one)
    return farthest


def _clear(start: Reals, end: Reals, block: Reals) -> Flags:
    """Return bool [S]: whether each segment stays out of all blocks; the ends are [2, S].

    A segment and a rectangle are apart if their shadows on one of three axes are: x, y and the
    normal of the segment.
    """
    free = np.ones(start.shape[1], dtype=np.bool_)
    block_x, block_y = (block[:, :2] + block[:, 2:]).T / 2.0
    wide, high = (block[:, 2:] - block[:, :2]).T / 2.0 - _TOUCH
    for begin in range(0, len(free), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        dx, dy = (end[:, part] - start[:, part]) / 2.0
        x, y = (end[:, part] + start[:, part]) / 2.0
        reach_x, reach_y = np.abs(dx), np.abs(dy)
        offset = dx * y - dy * x
        for k in range(len(block)):
            hit = np.abs(x - block_x[k]) < reach_x + wide[k]
            hit &= np.abs(y - block_y[k]) < reach_y + high[k]
            across = np.abs(dx * block_y[k] - dy * block_x[k] - offset)
            hit &= across < wide[k] * reach_y + high[k] * reach_x
            free[part] &= ~hit
    return free
