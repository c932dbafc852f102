"""Where the ground can be walked on: one list of cell ranges for each ground plan.

All maps are 32 by 32 cells with x to the east and y to the north. A plan names, for each band of
rows, the columns that are pathable, both ends included. Read by `battle_map` and `world`.
"""

from __future__ import annotations

from dataclasses import dataclass

MAP_SIZE = 32
"""Width and height of every map in cells."""

GROUND_HEIGHT = 128
"""Terrain height byte of a pathable cell.

The real bytes are not known; only the contrast with the cliffs is modelled.
"""

CLIFF_HEIGHT = 255
"""Terrain height byte of a blocked cell."""


@dataclass(frozen=True, slots=True)
class Band:
    """Rows `first_y` to `last_y` and the column ranges that are pathable in them, ends included."""

    first_y: int
    last_y: int
    columns: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Terrain:
    """A ground plan.

    Attributes:
        name: what it is called.
        bands: its pathable cells; what no band names is blocked.
    """

    name: str
    bands: tuple[Band, ...]

    def pathable(self, x: int, y: int) -> bool:
        """Whether cell (x, y) can be walked on; cells outside the map cannot."""
        if not (0 <= x < MAP_SIZE and 0 <= y < MAP_SIZE):
            return False
        return any(
            band.first_y <= y <= band.last_y and any(low <= x <= high for low, high in band.columns)
            for band in self.bands
        )


def _plan(name: str, *rows: tuple[int, int, int, int]) -> Terrain:
    return Terrain(name, tuple(Band(y0, y1, ((x0, x1),)) for y0, y1, x0, x1 in rows))


OPEN = _plan("open", (0, 31, 0, 31))
LANE = _plan("lane", (8, 23, 0, 31))
OCTAGON = _plan(
    "octagon", (6, 7, 10, 21), (8, 9, 8, 23), (10, 21, 6, 25), (22, 23, 8, 23), (24, 25, 10, 21)
)
# The cells beyond the ring cliff of the next two plans count as pathable in the game too, but
# nothing can get there.
KEEP = _plan("keep", (8, 19, 8, 19), (20, 21, 10, 17), (22, 23, 12, 15))
PIT = _plan("pit", (8, 9, 10, 19), (10, 17, 8, 21), (18, 19, 10, 19))
PLATEAU = Terrain(
    "plateau",
    (
        Band(6, 7, ((4, 27),)),
        Band(8, 9, ((2, 29),)),
        Band(10, 11, ((0, 31),)),
        Band(12, 13, ((0, 3), (28, 31))),
        Band(14, 15, ((0, 31),)),
        Band(16, 17, ((2, 29),)),
        Band(18, 19, ((8, 23),)),
    ),
)
CHOKE = _plan(
    "choke",
    (2, 11, 2, 11),
    (12, 13, 12, 13),
    (14, 15, 14, 25),
    (16, 17, 14, 27),
    (18, 21, 12, 29),
    (22, 23, 14, 29),
    (24, 25, 16, 29),
    (26, 27, 18, 29),
    (28, 29, 20, 29),
)
RAVINE = _plan(
    "ravine",
    (2, 3, 2, 7),
    (4, 7, 2, 11),
    (8, 11, 4, 15),
    (12, 15, 8, 19),
    (16, 17, 10, 19),
    (18, 21, 14, 25),
    (22, 23, 16, 29),
    (24, 27, 20, 29),
    (28, 29, 22, 29),
)
