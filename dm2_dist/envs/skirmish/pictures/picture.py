"""A scene as a picture: ground, units, bars, shots and a caption.

Needs Pillow (the extra `pictures`). Drawn at twice the size and reduced, so that edges are smooth.
Fed by `scene`, helped by `backdrop`, `sprite`, `marks` and `caption`; read by `film` and by
`SkirmishEnv.render`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dm2_dist.envs.skirmish.pictures import backdrop, caption, marks, palette, sprite
from dm2_dist.envs.skirmish.pictures.canvas import Canvas
from dm2_dist.envs.skirmish.pictures.glyph import Point
from dm2_dist.envs.skirmish.pictures.palette import Colour, Theme
from dm2_dist.envs.skirmish.pictures.scene import LOOKBACK, Scene, Stage

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LEAST_SIZE = 160
"""Smallest width of a picture in pixels."""

_SUPER = 2
_BAR_HEIGHT = 0.13
_BAR_GAP = 0.05


def draw(scene: Scene, *, size: int = 640, theme: Theme = "dark") -> npt.NDArray[np.uint8]:
    """Draw a scene.

    Args:
        scene: what to draw.
        size: width of the picture in pixels, at least 160; the height follows from the view.
        theme: `dark` or `light`.

    Returns:
        uint8 [H, W, 3]; H and W are even.

    Raises:
        ValueError: the size is too small.
    """
    if size < LEAST_SIZE:
        raise ValueError(f"size must be at least {LEAST_SIZE} pixels, not {size}")
    view = scene.stage.view
    width = size - size % 2
    height = 2 * round((view.north - view.south) / (view.east - view.west) * width / 2)
    colours = palette.by_theme(theme)
    image = _backdrop(scene.stage, width * _SUPER, height * _SUPER, theme).copy()
    canvas = Canvas(
        image=image,
        pen=ImageDraw.Draw(image, "RGBA"),
        scale=width * _SUPER / (view.east - view.west),
        west=view.west,
        north=view.north,
        colours=colours,
        theme=theme,
    )
    _draw_corpses(canvas, scene)
    marks.draw_bursts(canvas, scene)
    order = _back_to_front(scene)
    _draw_units(canvas, scene, order)
    marks.draw_heals(canvas, scene)
    marks.draw_strikes(canvas, scene)
    marks.draw_beams(canvas, scene)
    marks.draw_missiles(canvas, scene)
    _draw_bars(canvas, scene, order)
    strip = caption.paint(scene, width, colours)
    whole = Image.new("RGB", (width, height + strip.height))
    whole.paste(strip, (0, 0))
    whole.paste(image.reduce(_SUPER), (0, strip.height))
    return np.asarray(whole, np.uint8)


@functools.lru_cache(maxsize=8)
def _backdrop(stage: Stage, width: int, height: int, theme: Theme) -> Picture:
    scale = width / (stage.view.east - stage.view.west)
    return backdrop.paint(stage, scale, (width, height), palette.by_theme(theme))


def _back_to_front(scene: Scene) -> list[int]:
    """Order the living units as they are drawn: walkers from north to south, then who is higher."""
    alive = np.flatnonzero(scene.alive).tolist()

    def height(unit: int) -> tuple[int, float]:
        kind = scene.stage.units[unit]
        return 2 * kind.flies + kind.climbs, -float(scene.y[unit])

    return sorted(alive, key=height)


def _turn(heading: float) -> int:
    return round(heading / (2 * math.pi) * sprite.TURNS) % sprite.TURNS


def _draw_corpses(canvas: Canvas, scene: Scene) -> None:
    for unit in np.flatnonzero(~scene.alive).tolist():
        kind = scene.stage.units[unit]
        share = 1 - scene.dead_loops[unit] / LOOKBACK
        fade = 4 * round((22 + 60 * share) / 4)
        picture = sprite.corpse(
            kind.name,
            scene.side(unit),
            _turn(float(scene.heading[unit])),
            round(kind.radius * canvas.scale),
            canvas.theme,
            fade,
        )
        canvas.put(picture, (float(scene.x[unit]), float(scene.y[unit])))


def _draw_units(canvas: Canvas, scene: Scene, order: list[int]) -> None:
    for unit in order:
        kind = scene.stage.units[unit]
        picture = sprite.living(
            kind.name,
            scene.side(unit),
            _turn(float(scene.heading[unit])),
            round(kind.radius * canvas.scale),
            canvas.theme,
        )
        canvas.put(picture, (float(scene.x[unit]), float(scene.y[unit])))


def _draw_bars(canvas: Canvas, scene: Scene, order: list[int]) -> None:
    """Draw health under shield or energy, above each living unit that has lost any."""
    colours, scale = canvas.colours, canvas.scale
    thick = max(round(_BAR_HEIGHT * scale), 3)
    step = thick + max(round(_BAR_GAP * scale), 1)
    for unit in order:
        kind = scene.stage.units[unit]
        fresh = scene.health[unit] >= kind.health and scene.shield[unit] >= kind.shield
        if fresh and kind.energy == 0:
            continue  # bars of crowds at full health would hide the crowd
        x, y = canvas.at(float(scene.x[unit]), float(scene.y[unit]))
        half = max(kind.radius, 0.4) * scale
        top = y - 1.25 * kind.radius * scale - thick
        bars = [(scene.health[unit] / kind.health, colours.health)]
        if kind.shield > 0:
            bars.append((scene.shield[unit] / kind.shield, colours.shield))
        if kind.energy > 0:
            bars.append((scene.energy[unit] / kind.energy_max, colours.energy))
        for row, (share, colour) in enumerate(bars):
            _draw_bar(canvas, (x - half, top - row * step), (2 * half, thick), float(share), colour)


def _draw_bar(canvas: Canvas, corner: Point, extent: Point, share: float, colour: Colour) -> None:
    left, top = round(corner[0]), round(corner[1])
    width, height = round(extent[0]), round(extent[1])
    canvas.pen.rectangle(
        (left - 1, top - 1, left + width, top + height), (*canvas.colours.groove, 215)
    )
    filled = round(min(max(share, 0.0), 1.0) * (width - 1))
    if share > 0:
        canvas.pen.rectangle((left, top, left + filled, top + height - 1), colour)
