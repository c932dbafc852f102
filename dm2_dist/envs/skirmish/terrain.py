"""The ground of the maps: where it can be walked on, and how high it lies.

All maps are 32 by 32 cells with x to the east and y to the north. A plan names, for each band of
rows, the columns that are pathable and the columns that lie above the land around, both ends
included. Read by `battle_map` and `world`.

The pathable cells are those that the map files of SMAC mark so, in squares of two by two cells; all
23 maps were compared cell by cell. Two things are known about the image of the ground that the
running game hands out, both from recordings of other maps: the half of a cliff's square that lies
on its upper side counts as pathable there, and slanting cliffs run in steps of one cell instead of
two. Neither is modelled, except in the throat of `CHOKE`, where squares that meet at their corners
would shut the way.

The heights are those of the map files, too, encoded as game builds with a one-bit pathing image do
(older builds are not known): 255 (z + 16) / 32 for height z at the lower left corner of the cell,
without the rim of the cliffs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE

GROUND_HEIGHT = 191
"""Height byte of the battlefields (z = 8)."""

PLATEAU_HEIGHT = 207
"""Height byte of high ground on them (z = 10)."""

CLIFF_HEIGHT = 135
"""Height byte of the land around most battlefields (z = 1)."""

ABYSS_HEIGHT = 127
"""Height byte of the land around the others (z = 0)."""


@dataclass(frozen=True, slots=True)
class Band:
    """Rows `first_y` to `last_y` and column ranges in them, ends included."""

    first_y: int
    last_y: int
    columns: tuple[tuple[int, int], ...]

    def covers(self, x: int, y: int) -> bool:
        """Whether cell (x, y) is in the band."""
        return self.first_y <= y <= self.last_y and any(
            low <= x <= high for low, high in self.columns
        )


@dataclass(frozen=True, slots=True)
class Level:
    """Cells that lie at one height."""

    height: int
    bands: tuple[Band, ...]

    def covers(self, x: int, y: int) -> bool:
        """Whether cell (x, y) is on the level."""
        return any(band.covers(x, y) for band in self.bands)


@dataclass(frozen=True, slots=True)
class Terrain:
    """A ground plan.

    Attributes:
        name: what it is called.
        bands: its pathable cells; what no band names is blocked.
        levels: its heights; where levels overlap the last one counts. A plan without levels is
            even ground wherever it is pathable.
        lowest: height byte of all other cells.
    """

    name: str
    bands: tuple[Band, ...]
    levels: tuple[Level, ...] = ()
    lowest: int = CLIFF_HEIGHT

    def pathable(self, x: int, y: int) -> bool:
        """Whether cell (x, y) can be walked on; cells outside the map cannot."""
        if not (0 <= x < MAP_SIZE and 0 <= y < MAP_SIZE):
            return False
        return any(band.covers(x, y) for band in self.bands)

    def height(self, x: int, y: int) -> int:
        """Return the height byte of cell (x, y), as in the game's image of the terrain.

        Raises:
            ValueError: the cell is outside the map.
        """
        if not (0 <= x < MAP_SIZE and 0 <= y < MAP_SIZE):
            raise ValueError(f"cell ({x}, {y}) is outside the map; x and y go from 0 to 31")
        for level in reversed(self.levels):
            if level.covers(x, y):
                return level.height
        even = not self.levels and self.pathable(x, y)
        return GROUND_HEIGHT if even else self.lowest


Row = tuple[int, ...]
"""First and last row, then first and last column of each range."""


def _bands(rows: Iterable[Row]) -> tuple[Band, ...]:
    return tuple(
        Band(first, last, tuple(zip(ends[::2], ends[1::2], strict=True)))
        for first, last, *ends in rows
    )


def _ground(*rows: Row) -> tuple[Level, ...]:
    return (Level(GROUND_HEIGHT, _bands(rows)),)


OPEN = Terrain("open", _bands([(0, 31, 0, 31)]))
LANE = Terrain("lane", _bands([(8, 23, 0, 31)]), _ground((7, 25, 0, 31)), CLIFF_HEIGHT)

_OCTAGON_BANDS = _bands(
    [(6, 7, 10, 21), (8, 9, 8, 23), (10, 21, 6, 25), (22, 23, 8, 23), (24, 25, 10, 21)]
)
_OCTAGON_LEVELS = _ground(
    *((y, y, 15 - y, 17 + y) for y in range(5, 10)),
    (10, 22, 5, 27),
    *((y, y, y - 17, 49 - y) for y in range(23, 28)),
)
OCTAGON = Terrain("octagon", _OCTAGON_BANDS, _OCTAGON_LEVELS, CLIFF_HEIGHT)
PEDESTAL = Terrain("pedestal", _OCTAGON_BANDS, _OCTAGON_LEVELS, ABYSS_HEIGHT)

# The next two stand in an outer land that counts as pathable, too. Nothing gets there: the cliff
# around the battlefield is two cells thick.
KEEP = Terrain(
    "keep",
    _bands(
        [
            (0, 5, 0, 31),
            (6, 7, 0, 5, 22, 31),
            (8, 19, 0, 5, 8, 19, 22, 31),
            (20, 21, 0, 5, 10, 17, 22, 31),
            (22, 23, 0, 7, 12, 15, 20, 31),
            (24, 25, 0, 9, 18, 31),
            (26, 31, 0, 31),
        ]
    ),
    _ground((7, 7, 8, 20), (8, 20, 7, 21), *((y, y, y - 13, 41 - y) for y in range(21, 26))),
    ABYSS_HEIGHT,
)
PIT = Terrain(
    "pit",
    _bands(
        [
            (0, 5, 0, 31),
            (6, 7, 0, 7, 22, 31),
            (8, 9, 0, 5, 10, 19, 24, 31),
            (10, 17, 0, 5, 8, 21, 24, 31),
            (18, 19, 0, 5, 10, 19, 24, 31),
            (20, 21, 0, 7, 22, 31),
            (22, 31, 0, 31),
        ]
    ),
    _ground(
        *((y, y, 17 - y, 13 + y) for y in range(7, 10)),
        (10, 18, 7, 23),
        *((y, y, y - 11, 41 - y) for y in range(19, 22)),
    ),
    ABYSS_HEIGHT,
)
PLATEAU = Terrain(
    "plateau",
    _bands(
        [
            (6, 7, 4, 27),
            (8, 9, 2, 29),
            (10, 11, 0, 31),
            (12, 13, 0, 3, 28, 31),
            (14, 15, 0, 31),
            (16, 17, 2, 29),
            (18, 19, 8, 23),
        ]
    ),
    (
        *_ground(
            *((y, y, 9 - y, 23 + y) for y in range(5, 8)),
            (8, 8, 1, 31),
            (9, 17, 0, 31),
            (18, 18, 1, 31),
            (19, 19, 2, 30),
            (20, 20, 3, 29),
            (21, 21, 4, 6, 25, 28),
        ),
        Level(PLATEAU_HEIGHT, _bands([(13, 13, 9, 23), (14, 21, 8, 24)])),
        # The ramps, and the slopes of their sides.
        Level(
            195, _bands([(14, 18, 5, 5, 27, 27), (13, 13, 6, 6, 26, 26), (19, 19, 6, 6, 26, 26)])
        ),
        Level(199, _bands([(14, 18, 6, 6, 26, 26), (13, 13, 8, 8, 24, 24)])),
        Level(203, _bands([(14, 18, 7, 7, 25, 25)])),
        Level(193, _bands([(13, 13, 5, 5, 27, 27), (19, 19, 5, 5, 27, 27)])),
        Level(197, _bands([(13, 13, 7, 7, 25, 25)])),
        Level(201, _bands([(19, 19, 7, 7, 25, 25)])),
    ),
    CLIFF_HEIGHT,
)
CHOKE = Terrain(
    "choke",
    _bands(
        [
            (2, 9, 2, 11),
            (10, 10, 2, 12),
            (11, 11, 2, 13),
            (12, 12, 10, 14),
            (13, 13, 11, 15),
            (14, 14, 12, 25),
            (15, 15, 13, 25),
            (16, 17, 14, 27),
            (18, 21, 12, 29),
            (22, 23, 14, 29),
            (24, 25, 16, 29),
            (26, 27, 18, 29),
            (28, 29, 20, 29),
        ]
    ),
    _ground(
        (1, 1, 2, 14),
        (2, 2, 1, 15),
        (3, 3, 1, 14),
        (4, 10, 1, 13),
        (11, 11, 1, 14),
        (12, 12, 1, 15),
        (13, 13, 2, 26),
        *((y, y, y - 3, y + 13) for y in range(14, 17)),
        (17, 17, 12, 30),
        (18, 22, 11, 31),
        *((y, y, y - 11, 31) for y in range(23, 31)),
        (31, 31, 20, 30),
    ),
    CLIFF_HEIGHT,
)
RAVINE = Terrain(
    "ravine",
    _bands(
        [
            (2, 3, 2, 7),
            (4, 7, 2, 11),
            (8, 11, 4, 15),
            (12, 15, 8, 19),
            (16, 17, 10, 19),
            (18, 21, 14, 25),
            (22, 23, 16, 29),
            (24, 27, 20, 29),
            (28, 29, 22, 29),
        ]
    ),
    _ground(
        (1, 1, 2, 8),
        (2, 2, 1, 9),
        (3, 3, 1, 12),
        (4, 6, 1, 13),
        (7, 7, 1, 16),
        (8, 8, 1, 17),
        (9, 9, 2, 17),
        (10, 10, 3, 17),
        (11, 11, 3, 20),
        (12, 12, 3, 21),
        (13, 13, 4, 21),
        (14, 16, 7, 21),
        (17, 17, 8, 26),
        (18, 18, 9, 27),
        (19, 19, 10, 27),
        (20, 20, 13, 27),
        (21, 21, 13, 30),
        (22, 22, 13, 31),
        *((y, y, y - 9, 31) for y in range(23, 26)),
        (26, 28, 19, 31),
        (29, 29, 20, 31),
        (30, 30, 21, 31),
        (31, 31, 22, 30),
    ),
    CLIFF_HEIGHT,
)
