"""Where a picture of a battle is drawn: places of the map become pixels.

Read by `picture` and `marks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PIL import ImageDraw

from dm2_dist.envs.skirmish.pictures.glyph import Point
from dm2_dist.envs.skirmish.pictures.palette import Colour, Palette, Theme

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Canvas(NamedTuple):
    """A picture in the making.

    Attributes:
        image: what has been drawn.
        pen: draws on it; colours may have an opacity.
        scale: pixels of a cell.
        west: x of the left edge.
        north: y of the upper edge.
        colours: the palette.
        theme: name of the palette.
    """

    image: Picture
    pen: ImageDraw.ImageDraw
    scale: float
    west: float
    north: float
    colours: Palette
    theme: Theme

    def at(self, x: float, y: float) -> Point:
        """Return the pixel of a place on the map."""
        return (x - self.west) * self.scale, (self.north - y) * self.scale

    def line(self, ends: tuple[Point, Point], width: float, colour: Colour, ink: int) -> None:
        """Draw a line between two places; width in cells, ink is the opacity, 0 to 255."""
        pixels = max(round(width * self.scale), 1)
        self.pen.line([self.at(*end) for end in ends], (*colour, ink), pixels)

    def dot(self, place: Point, radius: float, colour: Colour, ink: int) -> None:
        """Draw a disk around a place; radius in cells, ink is the opacity, 0 to 255."""
        x, y = self.at(*place)
        reach = max(radius * self.scale, 1.0)
        self.pen.ellipse((x - reach, y - reach, x + reach, y + reach), (*colour, ink))

    def put(self, picture: Picture, place: Point) -> None:
        """Put a square RGBA picture with its middle on a place."""
        x, y = self.at(*place)
        half = picture.width // 2
        self.image.paste(picture, (round(x) - half, round(y) - half), picture)
