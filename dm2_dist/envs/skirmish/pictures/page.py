"""A battle as one HTML page that plays it: no network, no further files.

The page holds the battle as compressed numbers, the shapes of `glyph`, the colours of `palette` and
a script that draws them; its text is in `page.html`. Fed by `course`; asked for by `dm2 replay`.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.pictures import effect, glyph, ground, palette
from dm2_dist.envs.skirmish.pictures.course import FASTER, Course
from dm2_dist.envs.skirmish.pictures.palette import Theme
from dm2_dist.envs.skirmish.pictures.scene import Floats
from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND, UnitType

_TEMPLATE = Path(__file__).with_name("page.html")
_ROWS = {
    "x": (field.TRACE_X, 1 / 1024),
    "y": (field.TRACE_Y, 1 / 1024),
    "health": (field.TRACE_HEALTH, 1 / 16),
    "shield": (field.TRACE_SHIELD, 1 / 16),
    "energy": (field.TRACE_ENERGY, 1 / 16),
    "cooldown": (field.TRACE_COOLDOWN, 1 / 8),
}
_HEADING_UNIT = 2 * np.pi / 256


def make(course: Course, *, speed: float = 1.0, theme: Theme | None = None) -> str:
    """Write a battle as a page.

    Args:
        course: the battle.
        speed: speed at which it begins to play, one of the page's: 1/8, 1/4, ... 8.
        theme: colours that it begins with; the reader's own choice unless given.

    Returns:
        The whole HTML document.
    """
    text = json.dumps(describe(course) | {"speed": speed, "theme": theme}, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    title = html.escape(f"{course.stage.map_name}: a recorded battle")
    page = _TEMPLATE.read_text(encoding="utf-8")
    return page.replace("@TITLE@", title, 1).replace("@DATA@", packed, 1)


def describe(course: Course) -> dict[str, Any]:
    """Describe a battle by plain values, as the page's script reads them."""
    stage, loops = course.stage, course.loops
    return {
        "map": stage.map_name,
        "loops": course.num_loops,
        "stepLoops": stage.step_loops,
        "loopsPerSecond": LOOPS_PER_SECOND,
        "faster": FASTER,
        "agents": stage.num_agents,
        "ended": course.ended,
        "view": [round(edge, 3) for edge in stage.view],
        "curves": [
            [part for point in curve for part in point] for curve in ground.outlines(stage.walkable)
        ],
        "missileSpeed": stage.missile_speed,
        "beamHalf": effect.BEAM_HALF_WIDTH,
        "ages": {
            "strike": effect.STRIKE_LOOPS,
            "beam": effect.BEAM_LOOPS,
            "burst": effect.BURST_LOOPS,
            "corpse": effect.CORPSE_LOOPS,
        },
        "kinds": {unit.name: _kind(unit) for unit in dict.fromkeys(stage.units)},
        "units": [
            [unit.name, int(index >= stage.num_agents)] for index, unit in enumerate(stage.units)
        ],
        "returns": [round(float(value), 4) for value in course.returns],
        "series": _series(course),
        "strikes": _events(loops, field.TRACE_STRIKE),
        "flights": _flights(course),
        "heals": _events(loops, field.TRACE_HEALING),
        "bursts": np.argwhere(loops[:, field.TRACE_BURST] > 0).tolist(),
        "palettes": {
            "dark": dataclasses.asdict(palette.DARK),
            "light": dataclasses.asdict(palette.LIGHT),
        },
    }


def _kind(unit: UnitType) -> dict[str, Any]:
    return {
        "health": unit.health,
        "shield": unit.shield,
        "energy": unit.energy_max if unit.energy else 0,
        "radius": unit.radius,
        "splash": unit.weapon.splash,
        "delivery": unit.weapon.delivery,
        "melee": effect.is_melee(unit),
        "height": 2 * unit.flies + unit.climbs,
        "lift": glyph.LIFT.get(unit.name, glyph.LEAST_LIFT),
        "glyph": [
            [shape.tone, shape.width, [round(part, 3) for point in shape.points for part in point]]
            for shape in glyph.GLYPHS[unit.name]
        ],
    }


def _series(course: Course) -> dict[str, Any]:
    loops = course.loops
    series = {name: _differences(loops[:, row], unit) for name, (row, unit) in _ROWS.items()}
    # Whoever lives keeps at least one unit of health, so that 0 means dead.
    alive = loops[:, field.TRACE_ALIVE] > 0
    unit = _ROWS["health"][1]
    health = np.where(alive, np.maximum(loops[:, field.TRACE_HEALTH], unit), 0)
    series["health"] = _differences(health, unit)
    series["heading"] = _differences(_headings(course), _HEADING_UNIT)
    return series


def _headings(course: Course) -> Floats:
    """Return float32 [N + 1, U] where every unit looks."""
    looked = [
        effect.headings(
            course.stage.num_agents, course.loops[max(loop - effect.CORPSE_LOOPS, 0) : loop + 1]
        )
        for loop in range(course.num_loops + 1)
    ]
    return np.stack(looked)


def _differences(values: Floats, unit: float) -> dict[str, Any]:
    """Write values [N, U] as whole multiples of a unit: the first, then the changes."""
    whole = np.rint(values.astype(np.float64) / unit).astype(np.int64)
    changes = np.diff(whole, axis=0, prepend=0)
    return {"unit": unit, "rows": changes.T.tolist()}


def _events(loops: Floats, row: int) -> list[list[int]]:
    """List [loop, unit, other unit] wherever a row names another unit."""
    return [
        [loop, unit, int(loops[loop, row, unit])]
        for loop, unit in np.argwhere(loops[:, row] >= 0).tolist()
    ]


def _flights(course: Course) -> list[list[int]]:
    """List [loop, attacker, target, hundredths of a loop until it lands] of all missiles."""
    left = course.loops[:, field.TRACE_LEFT]
    return [
        [loop, unit, target, round(float(left[loop, unit]) * 100)]
        for loop, unit, target in _events(course.loops, field.TRACE_FLIGHT)
        if course.stage.units[unit].weapon.delivery == "missile"
    ]
