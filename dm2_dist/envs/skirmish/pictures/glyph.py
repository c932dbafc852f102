"""How the ten kinds of units look from above: a few simple shapes for each, as data.

A unit looks along +x with +y to its left, and its body has radius 1. The same shapes are drawn by
`picture` and by the page that `page` writes. Every drawing is our own.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Point = tuple[float, float]
Tone = Literal["body", "shade", "shine", "metal", "blade", "dark", "cross", "acid"]


class Shape(NamedTuple):
    """One shape of a glyph.

    Attributes:
        tone: name of its colour; `body`, `shade` and `shine` are the team's.
        points: the corners of a polygon, or of an open line if `width` is not 0.
        width: width of the line; 0 fills the polygon.
    """

    tone: Tone
    points: tuple[Point, ...]
    width: float = 0.0


Glyph = tuple[Shape, ...]

LIFT = {"medivac": 1.1, "colossus": 0.5}
"""How far above the ground tall and flying kinds are, in body radii: their shadow falls apart."""

LEAST_LIFT = 0.22
"""The same for all other kinds."""


def _disk(x: float, y: float, radius: float, across: float = 0.0) -> tuple[Point, ...]:
    """Make an ellipse of half-axes `radius` along x and `across` (default: the same) along y."""
    turns = [2 * math.pi * k / 20 for k in range(20)]
    across = across or radius
    return tuple(
        (round(x + radius * math.cos(turn), 3), round(y + across * math.sin(turn), 3))
        for turn in turns
    )


def _mirrored(*half: Point) -> tuple[Point, ...]:
    """Close an outline given for the left side, front to back."""
    return half + tuple((x, -y) for x, y in reversed(half) if y != 0)


def _both(tone: Tone, *points: Point, width: float = 0.0) -> Glyph:
    """Give a shape on the left and its mirror image on the right."""
    return (
        Shape(tone, points, width),
        Shape(tone, tuple((x, -y) for x, y in points), width),
    )


_MARINE: Glyph = (
    Shape("metal", ((0.15, -0.42), (1.5, -0.3)), 0.3),
    Shape("dark", ((1.2, -0.33), (1.5, -0.3)), 0.34),
    Shape("shade", _disk(-0.35, 0.0, 0.45, 0.6)),
    *_both("body", *_disk(0.0, 0.72, 0.48)),
    Shape("body", _disk(0.0, 0.0, 0.62, 0.66)),
    Shape("shine", _disk(0.12, 0.0, 0.36)),
    Shape("dark", _mirrored((0.42, 0.0), (0.36, 0.24), (0.22, 0.26), (0.26, 0.0))),
)

_MARAUDER: Glyph = (
    *_both("metal", (0.1, 0.92), (1.15, 0.78), width=0.5),
    *_both("dark", (1.0, 0.8), (1.2, 0.775), width=0.52),
    Shape("shade", _mirrored((-0.1, 0.6), (-0.75, 0.55), (-0.95, 0.2))),
    *_both("body", (0.5, 0.6), (0.52, 1.05), (0.1, 1.3), (-0.5, 1.1), (-0.62, 0.5)),
    Shape("body", _mirrored((0.62, 0.3), (0.5, 0.7), (-0.45, 0.75), (-0.6, 0.4))),
    Shape("shine", _disk(0.1, 0.0, 0.36)),
    Shape("dark", _mirrored((0.45, 0.0), (0.38, 0.24), (0.24, 0.26), (0.28, 0.0))),
)

_MEDIVAC: Glyph = (
    *_both("shade", (0.2, 0.3), (0.1, 0.95), (-0.35, 0.95), (-0.45, 0.3)),
    *_both("metal", *_disk(-0.15, 0.98, 0.52, 0.27)),
    *_both("dark", *_disk(-0.55, 0.98, 0.14, 0.18)),
    Shape("shade", _mirrored((-0.8, 0.2), (-1.25, 0.5), (-1.3, 0.0))),
    Shape("body", _mirrored((1.35, 0.0), (1.2, 0.28), (0.7, 0.48), (-0.6, 0.5), (-1.05, 0.25))),
    Shape("shine", _mirrored((1.2, 0.0), (1.05, 0.22), (0.72, 0.3), (0.72, 0.0))),
    Shape("cross", ((-0.52, 0.0), (0.38, 0.0)), 0.26),
    Shape("cross", ((-0.07, -0.36), (-0.07, 0.36)), 0.26),
)

_STALKER: Glyph = (
    *_both("metal", (0.2, 0.25), (0.62, 0.98), (1.3, 0.95), width=0.2),
    *_both("metal", (-0.25, 0.25), (-0.62, 0.98), (-1.25, 1.0), width=0.2),
    Shape("shade", _mirrored((0.1, 0.5), (-0.6, 0.45), (-0.85, 0.0))),
    Shape("body", _mirrored((0.85, 0.0), (0.55, 0.38), (0.0, 0.58), (-0.5, 0.42), (-0.62, 0.0))),
    Shape("shine", _mirrored((-0.05, 0.26), (-0.4, 0.2), (-0.45, 0.0), (-0.05, 0.0))),
    Shape("blade", _disk(0.42, 0.0, 0.2, 0.17)),
)

_ZEALOT: Glyph = (
    *_both("blade", (0.25, 0.92), (1.5, 0.42), width=0.2),
    *_both("shade", (0.3, 0.98), (-0.2, 0.62), width=0.32),
    Shape("shade", _mirrored((-0.2, 0.45), (-0.85, 0.32), (-1.0, 0.0))),
    Shape("body", _mirrored((0.35, 0.25), (0.42, 1.05), (0.0, 0.98), (-0.42, 0.62), (-0.45, 0.0))),
    Shape("shine", _disk(0.12, 0.0, 0.38, 0.32)),
    Shape("shade", _mirrored((0.1, 0.1), (-0.55, 0.08))),
)

_COLOSSUS: Glyph = (
    *_both("metal", (0.2, 0.2), (0.55, 0.85), (1.15, 1.15), width=0.16),
    *_both("metal", (-0.2, 0.2), (-0.55, 0.85), (-1.1, 1.2), width=0.16),
    *_both("dark", *_disk(1.15, 1.15, 0.15)),
    *_both("dark", *_disk(-1.1, 1.2, 0.15)),
    *_both("shade", (0.1, 0.5), (0.85, 0.42), width=0.2),
    *_both("blade", *_disk(0.92, 0.42, 0.13)),
    Shape("body", _mirrored((0.72, 0.0), (0.55, 0.3), (0.1, 0.55), (-0.45, 0.5), (-0.75, 0.2))),
    Shape("shade", _mirrored((-0.1, 0.4), (-0.5, 0.36), (-0.62, 0.0), (-0.1, 0.0))),
    Shape("shine", _mirrored((0.58, 0.0), (0.42, 0.2), (0.15, 0.28), (0.15, 0.0))),
)

_ZERGLING: Glyph = (
    *_both("blade", (0.3, 0.35), (0.85, 0.95), (1.45, 0.45), width=0.16),
    *_both("shade", (-0.1, 0.2), (-0.75, 1.05), (-1.05, 0.5), (-0.6, 0.1)),
    Shape("shade", ((-0.6, 0.0), (-1.5, 0.0)), 0.2),
    Shape("body", _mirrored((0.7, 0.32), (0.1, 0.52), (-0.55, 0.36), (-0.95, 0.0))),
    Shape("shine", _mirrored((1.1, 0.0), (0.85, 0.28), (0.45, 0.32), (0.3, 0.0))),
)

_BANELING: Glyph = (
    *_both("shade", (0.3, 0.7), (0.6, 1.12), width=0.26),
    *_both("shade", (-0.4, 0.7), (-0.65, 1.05), width=0.26),
    Shape("body", _disk(-0.05, 0.0, 1.0)),
    *_both("acid", *_disk(0.12, 0.45, 0.32)),
    Shape("acid", _disk(-0.55, 0.0, 0.36)),
    Shape("shade", _mirrored((1.15, 0.0), (0.95, 0.35), (0.6, 0.3), (0.55, 0.0))),
)

_HYDRALISK: Glyph = (
    Shape("shade", ((-0.2, 0.0), (-0.8, 0.28), (-1.25, 0.0), (-1.65, -0.22)), 0.34),
    *_both("blade", (0.1, 0.5), (0.72, 1.02), (1.3, 0.62), width=0.15),
    Shape("body", _mirrored((0.5, 0.25), (0.1, 0.72), (-0.45, 0.85), (-0.3, 0.4), (-0.55, 0.0))),
    Shape("shine", _mirrored((0.95, 0.0), (0.7, 0.2), (0.15, 0.34), (-0.3, 0.16), (-0.35, 0.0))),
    *_both("dark", *_disk(0.52, 0.14, 0.07)),
)

_SPINE_CRAWLER: Glyph = (
    *(
        Shape(
            "shade",
            (
                (0.5 * math.cos(turn), 0.5 * math.sin(turn)),
                (1.2 * math.cos(turn + 0.25), 1.2 * math.sin(turn + 0.25)),
            ),
            0.3,
        )
        for turn in (0.9, 1.8, 2.7, 3.6, 4.5, 5.4)
    ),
    Shape("body", _disk(0.0, 0.0, 0.82)),
    Shape("shade", _disk(-0.08, 0.0, 0.5)),
    Shape("shine", ((-0.35, 0.0), (0.45, 0.0)), 0.36),
    Shape("blade", _mirrored((1.65, 0.0), (0.75, 0.22), (0.4, 0.2))),
)

GLYPHS: dict[str, Glyph] = {
    "marine": _MARINE,
    "marauder": _MARAUDER,
    "medivac": _MEDIVAC,
    "stalker": _STALKER,
    "zealot": _ZEALOT,
    "colossus": _COLOSSUS,
    "zergling": _ZERGLING,
    "baneling": _BANELING,
    "hydralisk": _HYDRALISK,
    "spine_crawler": _SPINE_CRAWLER,
}
"""The shapes of every kind of unit, back to front."""
