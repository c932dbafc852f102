"""Colours of pictures and pages, dark and light; the two teams differ for colour-blind eyes too.

Read by `ground`, `picture` and `page`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Theme = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Team:
    """Colours of one side, and of what it shoots."""

    body: Colour
    shade: Colour
    shine: Colour
    shot: Colour


@dataclass(frozen=True, slots=True)
class Palette:
    """All colours of one theme.

    Attributes:
        page: behind the caption.
        text: the caption.
        quiet: less important text.
        ground: what can be walked on.
        grain: the faint cells on it.
        cliff: what cannot be walked on.
        rim: the lit edge of cliffs.
        shadow: what cliffs and units throw.
        outline: around units.
        teams: the agents' side and the enemies'.
        metal: weapons and legs.
        blade: claws, blades and lamps.
        dark: visors and muzzles.
        cross: the medivac's mark.
        acid: the baneling's fill, and explosions.
        heal: treatment.
        health: bar of health points.
        shield: bar of shield points.
        energy: bar of energy.
        groove: behind the bars.
    """

    page: Colour
    text: Colour
    quiet: Colour
    ground: Colour
    grain: Colour
    cliff: Colour
    rim: Colour
    shadow: Colour
    outline: Colour
    teams: tuple[Team, Team]
    metal: Colour = (168, 176, 186)
    blade: Colour = (232, 240, 246)
    dark: Colour = (34, 38, 46)
    cross: Colour = (250, 250, 250)
    acid: Colour = (190, 226, 92)
    heal: Colour = (84, 222, 138)
    health: Colour = (98, 208, 112)
    shield: Colour = (92, 172, 255)
    energy: Colour = (190, 126, 255)
    groove: Colour = (18, 21, 26)


_BLUE = Team(body=(46, 124, 206), shade=(24, 78, 142), shine=(134, 194, 250), shot=(150, 214, 255))
_ORANGE = Team(
    body=(226, 116, 28), shade=(150, 68, 12), shine=(255, 186, 104), shot=(255, 206, 122)
)

DARK = Palette(
    page=(18, 21, 26),
    text=(232, 236, 242),
    quiet=(140, 150, 164),
    ground=(70, 76, 84),
    grain=(75, 81, 90),
    cliff=(38, 42, 50),
    rim=(104, 112, 124),
    shadow=(14, 16, 20),
    outline=(16, 18, 24),
    teams=(_BLUE, _ORANGE),
)

LIGHT = Palette(
    page=(250, 249, 246),
    text=(32, 36, 42),
    quiet=(112, 118, 128),
    ground=(222, 217, 206),
    grain=(216, 210, 198),
    cliff=(164, 156, 143),
    rim=(242, 239, 232),
    shadow=(96, 88, 76),
    outline=(40, 36, 34),
    teams=(
        Team(body=(30, 108, 196), shade=(16, 68, 130), shine=(140, 198, 252), shot=(10, 84, 178)),
        Team(body=(222, 104, 16), shade=(146, 62, 8), shine=(255, 190, 112), shot=(178, 72, 0)),
    ),
    heal=(14, 150, 82),
    acid=(150, 196, 40),
)


def by_theme(theme: Theme) -> Palette:
    """Return the colours of a theme."""
    return DARK if theme == "dark" else LIGHT


def all_colours(colours: Palette) -> list[Colour]:
    """List every colour of a palette once."""
    listed: dict[Colour, None] = {}
    for entry in dataclasses.fields(colours):
        value = getattr(colours, entry.name)
        if entry.name == "teams":
            for team in colours.teams:
                listed |= dict.fromkeys((team.body, team.shade, team.shine, team.shot))
        else:
            listed[value] = None
    return list(listed)
