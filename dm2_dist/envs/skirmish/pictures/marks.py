"""The marks of combat on a picture: shots, blows, beams, missiles, treatments and explosions.

Read by `picture`.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.pictures import effect
from dm2_dist.envs.skirmish.pictures.canvas import Canvas
from dm2_dist.envs.skirmish.pictures.glyph import Point
from dm2_dist.envs.skirmish.pictures.palette import Colour
from dm2_dist.envs.skirmish.pictures.scene import Scene

_WHITE: Colour = (255, 250, 235)


def draw_strikes(canvas: Canvas, scene: Scene) -> None:
    """Draw tracers of shots, cuts of blows and the flash of what launches a missile."""
    for attacker, target, age in scene.strikes:
        weapon = scene.stage.units[attacker].weapon
        shot = canvas.colours.teams[scene.side(attacker)].shot
        ink = round(255 * (1 - age / effect.STRIKE_LOOPS))
        muzzle, hit = _edge(scene, attacker, target), _edge(scene, target, attacker)
        if weapon.delivery == "missile":
            canvas.dot(muzzle, 0.22, shot, ink * 3 // 4)
        elif effect.is_melee(scene.stage.units[attacker]):
            _draw_cut(canvas, scene, (attacker, target), ink)
        else:
            canvas.line((muzzle, hit), 0.16, shot, ink // 4)
            canvas.line((muzzle, hit), 0.055, shot, ink)
            canvas.dot(muzzle, 0.17, (255, 246, 214), ink)
            canvas.dot(hit, 0.1, shot, ink)


def _draw_cut(canvas: Canvas, scene: Scene, pair: tuple[int, int], ink: int) -> None:
    """Draw the crescent of a blow between two bodies."""
    attacker, target = pair
    x, y = _edge(scene, target, attacker)
    towards = math.atan2(
        float(scene.y[target] - scene.y[attacker]), float(scene.x[target] - scene.x[attacker])
    )
    shot = canvas.colours.teams[scene.side(attacker)].shine
    arc = [towards + turn for turn in (-1.2, -0.6, 0.0, 0.6, 1.2)]
    back_x, back_y = x - 0.3 * math.cos(towards), y - 0.3 * math.sin(towards)
    outer = [canvas.at(back_x + 0.42 * math.cos(a), back_y + 0.42 * math.sin(a)) for a in arc]
    inner = [canvas.at(back_x + 0.3 * math.cos(a), back_y + 0.3 * math.sin(a)) for a in arc[3:0:-1]]
    canvas.pen.polygon(outer + inner, (*shot, ink))


def _edge(scene: Scene, unit: int, towards: int) -> Point:
    """Return the place on a unit's body nearest to another unit."""
    x, y = float(scene.x[unit]), float(scene.y[unit])
    dx, dy = float(scene.x[towards]) - x, float(scene.y[towards]) - y
    distance = math.hypot(dx, dy)
    share = min(scene.stage.units[unit].radius / distance, 0.5) if distance > 0 else 0.0
    return x + share * dx, y + share * dy


def draw_missiles(canvas: Canvas, scene: Scene) -> None:
    """Draw a dot with a tail for each missile."""
    for attacker, _, x, y, heading in scene.missiles:
        shot = canvas.colours.teams[scene.side(attacker)].shot
        for back, radius, ink in ((0.5, 0.06, 70), (0.34, 0.08, 110), (0.18, 0.1, 170)):
            tail = x - back * math.cos(heading), y - back * math.sin(heading)
            canvas.dot(tail, radius, shot, ink)
        canvas.dot((x, y), 0.16, shot, 255)
        canvas.dot((x, y), 0.08, (255, 255, 255), 255)


def draw_beams(canvas: Canvas, scene: Scene) -> None:
    """Draw a beam from the attacker to a point that sweeps, and the scorched line behind it."""
    for attacker, x0, y0, x1, y1, age in scene.beams:
        shot = canvas.colours.teams[scene.side(attacker)].shot
        share = (age + 1) / effect.BEAM_LOOPS
        ink = round(255 * (1 - 0.75 * age / effect.BEAM_LOOPS))
        tip = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        start = _beam_start(scene, attacker, (x0, y0))
        canvas.line(((x0, y0), tip), 0.34, shot, ink // 3)
        canvas.line(((x0, y0), tip), 0.12, _WHITE, ink * 2 // 3)
        canvas.line((start, tip), 0.16, shot, ink // 2)
        canvas.line((start, tip), 0.06, _WHITE, ink)
        canvas.dot(tip, 0.2, shot, ink)


def _beam_start(scene: Scene, attacker: int, side: Point) -> Point:
    """Return the lamp of a colossus on the side where its beam starts."""
    x, y = float(scene.x[attacker]), float(scene.y[attacker])
    look = float(scene.heading[attacker])
    radius = scene.stage.units[attacker].radius
    left = -math.sin(look) * (side[0] - x) + math.cos(look) * (side[1] - y) > 0
    across = 0.42 * radius * (1 if left else -1)
    ahead = 0.92 * radius
    return (
        x + ahead * math.cos(look) - across * math.sin(look),
        y + ahead * math.sin(look) + across * math.cos(look),
    )


def draw_heals(canvas: Canvas, scene: Scene) -> None:
    """Draw a green line from healer to patient, and a small cross on the patient."""
    green = canvas.colours.heal
    for healer, patient in scene.heals:
        start = float(scene.x[healer]), float(scene.y[healer])
        end = float(scene.x[patient]), float(scene.y[patient])
        canvas.line((start, end), 0.2, green, 70)
        canvas.line((start, end), 0.07, green, 230)
        canvas.dot(end, 0.27, (255, 255, 255), 235)
        for dx, dy in ((0.17, 0.0), (0.0, 0.17)):
            ends = (end[0] - dx, end[1] - dy), (end[0] + dx, end[1] + dy)
            canvas.line(ends, 0.11, green, 255)


def draw_bursts(canvas: Canvas, scene: Scene) -> None:
    """Draw the growing ring of an explosion over a fading splash."""
    acid = canvas.colours.acid
    for _, x, y, radius, age in scene.bursts:
        share = (age + 1) / effect.BURST_LOOPS
        ink = round(255 * (1 - age / effect.BURST_LOOPS))
        reach = radius * (0.35 + 0.65 * math.sqrt(share))
        canvas.dot((x, y), reach, acid, ink // 4)
        left, top = canvas.at(x - reach, y + reach)
        right, bottom = canvas.at(x + reach, y - reach)
        thick = max(round((0.26 - 0.18 * share) * canvas.scale), 2)
        canvas.pen.ellipse((left, top, right, bottom), None, (*acid, ink), thick)
