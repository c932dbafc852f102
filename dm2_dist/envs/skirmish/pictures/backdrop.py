"""The ground and the cliffs of a map as a picture: what a battle is drawn on.

Cliffs rise above the ground: their edge is lit and they throw a shadow. Read by `picture`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from dm2_dist.envs.skirmish.pictures import ground
from dm2_dist.envs.skirmish.pictures.palette import Colour, Palette
from dm2_dist.envs.skirmish.pictures.scene import Stage

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_RIM = 0.16
_SHADOW = (0.3, 0.42)
_SHADOW_BLUR = 0.16
_SHADOW_DEPTH = 0.55


def paint(stage: Stage, scale: float, extent: tuple[int, int], colours: Palette) -> Picture:
    """Paint the stage's view of the ground.

    Args:
        stage: the battle's stage.
        scale: pixels of a cell.
        extent: width and height of the picture in pixels.
        colours: the palette.

    Returns:
        An RGB picture.
    """
    view = stage.view
    curves = [
        [((x - view.west) * scale, (view.north - y) * scale) for x, y in curve]
        for curve in ground.outlines(stage.walkable)
    ]
    mask = Image.new("L", extent, 0)
    for curve in curves:
        patch = Image.new("L", extent, 0)
        ImageDraw.Draw(patch).polygon(curve, 255)
        mask = ImageChops.difference(mask, patch)
    cliff = Image.new("RGB", extent, colours.cliff)
    _hatch(cliff, scale, _mixed(colours.cliff, colours.rim, 0.08))
    pen = ImageDraw.Draw(cliff)
    for curve in curves:
        pen.line([*curve, curve[0]], colours.rim, max(round(2 * _RIM * scale), 2), joint="curve")
    floor = _floor(stage, scale, extent, colours)
    floor.paste(Image.new("RGB", extent, colours.shadow), mask=_shade(mask, scale))
    cliff.paste(floor, mask=mask)
    return cliff


def _floor(stage: Stage, scale: float, extent: tuple[int, int], colours: Palette) -> Picture:
    """Paint ground with every other cell a little lighter."""
    floor = Image.new("RGB", extent, colours.ground)
    pen = ImageDraw.Draw(floor)
    view = stage.view
    for x in range(math.floor(view.west), math.ceil(view.east)):
        for y in range(math.floor(view.south), math.ceil(view.north)):
            if (x + y) % 2:
                left, top = (x - view.west) * scale, (view.north - y - 1) * scale
                pen.rectangle((left, top, left + scale - 1, top + scale - 1), colours.grain)
    return floor


def _shade(mask: Picture, scale: float) -> Picture:
    """Return how dark the cliffs' shadow is on the ground, given where the ground is."""
    shifted = Image.new("L", mask.size, 255)
    right, down = round(_SHADOW[0] * scale), round(_SHADOW[1] * scale)
    shifted.paste(mask, (right, down))
    # What is outside the picture throws no shadow into it.
    shifted.paste(mask.crop((0, 0, mask.width, down)), (0, 0))
    shifted.paste(mask.crop((0, 0, right, mask.height)), (0, 0))
    cast = ImageChops.invert(shifted).filter(ImageFilter.GaussianBlur(_SHADOW_BLUR * scale))
    return cast.point(lambda value: value * _SHADOW_DEPTH)


def _hatch(picture: Picture, scale: float, colour: Colour) -> None:
    """Draw thin diagonal lines, so that cliffs differ from ground without colour too."""
    pen = ImageDraw.Draw(picture)
    spacing = scale * 0.5
    for step in range(math.ceil((picture.width + picture.height) / spacing)):
        along = step * spacing
        pen.line(
            (along, 0, along - picture.height, picture.height), colour, max(int(scale / 22), 1)
        )


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    parts = [round(a + share * (b - a)) for a, b in zip(first, second, strict=True)]
    return parts[0], parts[1], parts[2]
