"""The strip above a picture: map, step, time, who lives, return and outcome.

Read by `picture`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from dm2_dist.envs.skirmish.pictures.palette import Colour, Palette
from dm2_dist.envs.skirmish.pictures.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_HEIGHT = 0.05
_LEAST_HEIGHT = 18


def paint(scene: Scene, width: int, colours: Palette) -> Picture:
    """Paint the caption of a scene.

    Args:
        scene: what the picture shows.
        width: of the picture, in pixels.
        colours: the palette.

    Returns:
        An RGB picture of that width and an even height.
    """
    height = 2 * (max(round(width * _HEIGHT), _LEAST_HEIGHT) // 2)
    strip = Image.new("RGB", (width, height), colours.page)
    pen = ImageDraw.Draw(strip)
    font = _font(height * 0.52)
    gap, middle = height * 0.45, height / 2
    x = gap
    for word, colour in _left(scene, colours):
        pen.text((x, middle), word, colour, font, anchor="lm")
        x += pen.textlength(word, font) + gap
    x = width - gap
    for word, colour in _right(scene, colours):
        pen.text((x, middle), word, colour, font, anchor="rm")
        x -= pen.textlength(word, font) + gap
    return strip


def _left(scene: Scene, colours: Palette) -> list[tuple[str, Colour]]:
    """List the words of the left half, outermost first."""
    return [
        (scene.stage.map_name, colours.text),
        (f"step {scene.step}", colours.quiet),
        (f"{scene.seconds:.1f} s", colours.quiet),
    ]


def _right(scene: Scene, colours: Palette) -> list[tuple[str, Colour]]:
    """List the words of the right half, outermost first."""
    agents = scene.stage.num_agents
    allies, enemies = int(scene.alive[:agents].sum()), int(scene.alive[agents:].sum())
    words = [
        (f"return {scene.episode_return:.2f}", colours.text),
        (f"enemies {enemies}/{len(scene.alive) - agents}", colours.teams[1].shot),
        (f"team {allies}/{agents}", colours.teams[0].shot),
    ]
    if scene.outcome:
        words.append((scene.outcome, colours.text))
    return words


@functools.lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
