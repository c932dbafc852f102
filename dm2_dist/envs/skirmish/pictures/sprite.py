"""Small pictures of units, drawn once for each kind, side, size and direction.

Read by `picture`, which puts them on the ground.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFilter

from dm2_dist.envs.skirmish.pictures import glyph, palette
from dm2_dist.envs.skirmish.pictures.glyph import Point, Shape, Tone
from dm2_dist.envs.skirmish.pictures.palette import Colour, Palette, Theme

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

TURNS = 48
"""Directions in which a unit can be drawn."""

_REACH = 2.3  # half the width of a sprite in body radii, without the shadow
_FINE = 4  # sprites are drawn this much larger and then reduced
_OUTLINE = 0.13


@functools.lru_cache(maxsize=4096)
def living(kind: str, side: int, turn: int, radius: int, theme: Theme) -> Picture:
    """Draw a living unit with its shadow.

    Args:
        kind: name of the kind.
        side: 0 for the agents' team, 1 for the enemies.
        turn: direction in which it looks, in 1 / `TURNS` of a turn counter-clockwise from east.
        radius: body radius in pixels.
        theme: the colours.

    Returns:
        A square RGBA picture, the unit in the middle.
    """
    colours = palette.by_theme(theme)
    drawn = _shapes(kind, turn, radius, _tones(colours, side), colours.outline)
    lifted = _lift(kind) * radius
    shadow = Image.new("RGBA", drawn.size, (*colours.shadow, 0))
    opacity = drawn.getchannel("A").point(lambda value: value * 2 // 5)
    alpha = Image.new("L", drawn.size, 0)
    alpha.paste(opacity, (round(lifted * 0.75), round(lifted)))
    shadow.putalpha(alpha.filter(ImageFilter.GaussianBlur(0.1 * radius + 0.12 * lifted)))
    shadow.alpha_composite(drawn)
    return shadow


@functools.lru_cache(maxsize=4096)
def corpse(kind: str, side: int, turn: int, radius: int, theme: Theme, fade: int) -> Picture:
    """Draw a dead unit in dull colours; `fade` is its opacity in percent."""
    colours = palette.by_theme(theme)
    tones = {tone: _dull(colour, colours) for tone, colour in _tones(colours, side).items()}
    drawn = _shapes(kind, turn, radius, tones, _dull(colours.outline, colours))
    drawn.putalpha(drawn.getchannel("A").point(lambda value: value * fade // 100))
    return drawn


def _lift(kind: str) -> float:
    return glyph.LIFT.get(kind, glyph.LEAST_LIFT)


def _tones(colours: Palette, side: int) -> dict[Tone, Colour]:
    team = colours.teams[side]
    return {
        "body": team.body,
        "shade": team.shade,
        "shine": team.shine,
        "metal": colours.metal,
        "blade": colours.blade,
        "dark": colours.dark,
        "cross": colours.cross,
        "acid": colours.acid,
    }


def _dull(colour: Colour, colours: Palette) -> Colour:
    """Mix a colour with grey and with the ground."""
    grey = sum(colour) / 3
    mixed = [
        round(0.35 * part + 0.25 * grey + 0.4 * under)
        for part, under in zip(colour, colours.cliff, strict=True)
    ]
    return mixed[0], mixed[1], mixed[2]


def _shapes(
    kind: str, turn: int, radius: int, tones: Mapping[Tone, Colour], outline: Colour
) -> Picture:
    """Draw a glyph: first all outlines, then all shapes, so that lines run around the whole."""
    half = math.ceil((_REACH + _lift(kind)) * radius)
    scale = radius * _FINE
    picture = Image.new("RGBA", (2 * half * _FINE, 2 * half * _FINE), (*outline, 0))
    pen = ImageDraw.Draw(picture)
    angle = 2 * math.pi * turn / TURNS
    cos, sin = math.cos(angle), math.sin(angle)
    middle = half * _FINE
    placed = [
        shape._replace(
            points=tuple(
                (middle + scale * (x * cos - y * sin), middle - scale * (x * sin + y * cos))
                for x, y in shape.points
            ),
            width=shape.width * scale,
        )
        for shape in glyph.GLYPHS[kind]
    ]
    for shape in placed:
        _fill(pen, shape, outline, grown=_OUTLINE * scale)
    for shape in placed:
        _fill(pen, shape, tones[shape.tone], grown=0.0)
    return picture.reduce(_FINE)


def _fill(pen: ImageDraw.ImageDraw, shape: Shape, colour: Colour, *, grown: float) -> None:
    """Draw one shape, grown by some pixels on every side."""
    points = list(shape.points)
    if shape.width:
        _stroke(pen, points, shape.width + 2 * grown, colour)
        return
    pen.polygon(points, colour)
    if grown:
        _stroke(pen, [*points, points[0]], 2 * grown, colour)


def _stroke(pen: ImageDraw.ImageDraw, points: list[Point], width: float, colour: Colour) -> None:
    """Draw a line with round ends and corners."""
    pen.line(points, colour, max(round(width), 1))
    for x, y in points:
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), colour)
