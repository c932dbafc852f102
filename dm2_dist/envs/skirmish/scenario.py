"""Battles that users describe in a file, in TOML or JSON; docs/scenarios.md explains every key.

A file says what a row of `battle_map` says. Whatever is wrong with it is told in one sentence.
Values are read with `document`, the ground is judged with `footing`; asked for by
`battle_map.find`.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from dm2_dist.envs.skirmish import document, footing, formation, terrain
from dm2_dist.envs.skirmish.battle_map import MAPS
from dm2_dist.envs.skirmish.document import ScenarioError, Table
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.matchup import BattleMap, EnemyOrder, Group, OrderKind, Point
from dm2_dist.envs.skirmish.profile import LIBERTY
from dm2_dist.envs.skirmish.terrain import Band, Terrain
from dm2_dist.envs.skirmish.unit_type import UnitType

__all__ = ["MAX_CORNERS", "MAX_STEPS", "MAX_UNITS", "PLANS", "ScenarioError", "load"]

MAX_UNITS = 64
"""Most units of one side."""

MAX_STEPS = 10_000
"""Longest time limit in environment steps."""

MAX_CORNERS = 84
"""Most convex corners of cliffs: path finding keeps three points for each, of 254 in all."""

PLANS = {
    plan.name: plan
    for plan in (
        terrain.OPEN,
        terrain.LANE,
        terrain.OCTAGON,
        terrain.PEDESTAL,
        terrain.KEEP,
        terrain.PIT,
        terrain.PLATEAU,
        terrain.CHOKE,
        terrain.RAVINE,
    )
}
"""The ground plans of SMAC's maps by name."""

_KEYS = ("name", "episode_limit", "terrain", "rows", "enemy_types", "allies", "enemies", "order")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NUM_POINTS: dict[OrderKind, int] = {"attack_move": 1, "attack_segment": 2, "hunt": 0, "hold": 0}


def load(path: str | Path) -> BattleMap:
    """Read a battle from a file that ends in .toml or .json.

    Raises:
        ScenarioError: the file cannot be read, or does not describe a battle; the message names the
            file, the key, what is wrong and how to mend it.
    """
    path = Path(path)
    try:
        return _battle(document.table(document.read(path), "the file", _KEYS))
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _battle(content: Table) -> BattleMap:
    plan = _terrain(content)
    enemies = _groups(content, "enemies", plan)
    limit = document.value(content, "episode_limit")
    row = BattleMap(
        name=_name(content),
        episode_limit=document.count(limit, "episode_limit", MAX_STEPS),
        allies=_groups(content, "allies", plan),
        enemies=enemies,
        order=_order(content, plan, enemies),
        terrain=plan,
    )
    kinds = _enemy_types(content, enemies)
    _check_room(row)
    return dataclasses.replace(row, enemy_types=kinds) if row.num_type_bits else row


def _name(content: Table) -> str:
    name = document.text(document.value(content, "name"), "name")
    if not _NAME.fullmatch(name):
        raise ScenarioError(
            f"name is {document.shown(name)}; use 1 to 64 letters, digits, dots, dashes and "
            "underscores, a letter or digit first"
        )
    if name in MAPS:
        raise ScenarioError(f"name is {name!r}, which is a map of SMAC; choose another name")
    return name


def _terrain(content: Table) -> Terrain:
    if ("terrain" in content) == ("rows" in content):
        raise ScenarioError(
            "the ground must be given once; give either terrain, the name of a plan, or rows, "
            f"{MAP_SIZE} strings of {MAP_SIZE} characters"
        )
    if "rows" in content:
        return _drawn(content["rows"])
    name = document.text(content["terrain"], "terrain")
    if name not in PLANS:
        known = document.choice(name, PLANS, "plans")
        raise ScenarioError(f"terrain is {document.shown(name)}; {known}")
    return PLANS[name]


def _drawn(rows: object) -> Terrain:
    """Turn a drawing, north row first, into a plan."""
    lines = document.items(rows, "rows")
    if len(lines) != MAP_SIZE:
        raise ScenarioError(f"rows has {len(lines)} strings; it needs {MAP_SIZE}, north row first")
    bands = []
    for index, given in enumerate(lines):
        key = f"rows[{index}]"
        line = document.text(given, key)
        if len(line) != MAP_SIZE:
            raise ScenarioError(f"{key} has {len(line)} characters; it needs {MAP_SIZE}")
        strange = sorted(set(line) - set("#."))
        if strange:
            raise ScenarioError(
                f"{key} has the character {strange[0]!r}; use '#' for a cliff and '.' for ground"
            )
        y = MAP_SIZE - 1 - index
        columns = tuple((run.start(), run.end() - 1) for run in re.finditer(r"\.+", line))
        bands.append(Band(y, y, columns))
    ground = tuple(bands)
    plan = Terrain(
        "drawn", ground, (terrain.Level(terrain.GROUND_HEIGHT, ground),), terrain.CLIFF_HEIGHT
    )
    corners = footing.num_corners(plan)
    if corners > MAX_CORNERS:
        raise ScenarioError(
            f"rows has cliffs with {corners} corners, but path finding handles {MAX_CORNERS}; draw "
            "fewer and larger cliffs"
        )
    return plan


def _groups(content: Table, side: str, plan: Terrain) -> tuple[Group, ...]:
    tables = document.items(document.value(content, side), side)
    groups = tuple(_group(given, f"{side}[{index}]", plan) for index, given in enumerate(tables))
    total = sum(group.count for group in groups)
    if not 1 <= total <= MAX_UNITS:
        raise ScenarioError(f"{side} has {total} units; a side has 1 to {MAX_UNITS}")
    if all(group.unit.heals for group in groups):
        raise ScenarioError(f"{side} has only healers; add a unit that fights")
    return groups


def _group(given: object, key: str, plan: Terrain) -> Group:
    entry = document.table(given, key, ("unit", "count", "point"))
    unit = _unit(document.value(entry, "unit", key), f"{key}.unit")
    count = document.count(document.value(entry, "count", key), f"{key}.count", MAX_UNITS)
    point = _ground_point(document.value(entry, "point", key), f"{key}.point", plan)
    return Group(unit, count, point)


def _check_room(row: BattleMap) -> None:
    """Refuse a point around which the units that start there do not fit."""
    ahead_x, ahead_y = row.forward
    sides = (
        ("allies", row.allies, (ahead_x, ahead_y)),
        ("enemies", row.enemies, (-ahead_x, -ahead_y)),
    )
    for side, groups, forward in sides:
        for index, group in enumerate(groups):
            here = tuple(other for other in groups if other.point == group.point)
            try:
                formation.places(here, forward, row.terrain)
            except ValueError:
                count = sum(other.count for other in here)
                raise ScenarioError(
                    f"{side}[{index}].point has no room for the {count} units that start there; "
                    "take fewer units, or a point with more ground around it"
                ) from None


def _order(content: Table, plan: Terrain, enemies: tuple[Group, ...]) -> EnemyOrder:
    entry = document.table(document.value(content, "order"), "order", ("kind", "points"))
    kind = _order_kind(document.text(document.value(entry, "kind", "order"), "order.kind"))
    needed = _NUM_POINTS[kind]
    listed = document.items(entry.get("points", []), "order.points")
    if len(listed) != needed:
        mend = (
            f"write {needed} as [[x, y]{', [x, y]' * (needed - 1)}]" if needed else "leave it out"
        )
        raise ScenarioError(
            f"order.points has {len(listed)} points, but kind {kind!r} takes {needed}; {mend}"
        )
    points = tuple(
        _ground_point(point, f"order.points[{index}]", plan) for index, point in enumerate(listed)
    )
    if kind == "attack_segment":
        cliff = footing.first_cliff(plan, *points)
        if cliff is not None:
            raise ScenarioError(
                f"order.points has a cliff between its ends, at ({cliff[0]:.2f}, {cliff[1]:.2f}); "
                "choose ends with ground all along"
            )
    _check_reach(points, plan, enemies)
    return EnemyOrder(kind, points)


def _order_kind(kind: str) -> OrderKind:
    match kind:
        case "attack_move" | "attack_segment" | "hunt" | "hold":
            return kind
    known = document.choice(kind, _NUM_POINTS, "kinds")
    raise ScenarioError(f"order.kind is {document.shown(kind)}; {known}")


def _check_reach(points: tuple[Point, ...], plan: Terrain, enemies: tuple[Group, ...]) -> None:
    """Refuse an order that the enemy's walkers cannot follow."""
    for index, point in enumerate(points):
        ground = footing.connected(plan, footing.cell_of(point))
        for place, group in enumerate(enemies):
            walks = group.unit.speed > 0 and not (group.unit.flies or group.unit.climbs)
            if walks and footing.cell_of(group.point) not in ground:
                raise ScenarioError(
                    f"order.points[{index}] cannot be walked to from enemies[{place}].point; "
                    "choose points on connected ground"
                )


def _enemy_types(content: Table, enemies: tuple[Group, ...]) -> tuple[UnitType, ...]:
    """Return the enemy's kinds as their type bits are ordered; catalogue order if not given."""
    present = tuple(sorted({group.unit for group in enemies}, key=lambda unit: unit.rank))
    if "enemy_types" not in content:
        return present
    listed = document.items(content["enemy_types"], "enemy_types")
    given = tuple(_unit(name, f"enemy_types[{index}]") for index, name in enumerate(listed))
    if len(given) != len(present) or set(given) != set(present):
        names = ", ".join(unit.name for unit in present)
        raise ScenarioError(f"enemy_types must name each kind of the enemy once: {names}")
    return given


def _unit(given: object, key: str) -> UnitType:
    name = document.text(given, key)
    if name not in LIBERTY.units:
        known = document.choice(name, LIBERTY.units, "units")
        raise ScenarioError(f"{key} is {document.shown(name)}; {known}")
    return LIBERTY.units[name]


def _ground_point(given: object, key: str, plan: Terrain) -> Point:
    pair = document.items(given, key)
    if len(pair) != 2:
        raise ScenarioError(f"{key} has {len(pair)} values; a point is [x, y]")
    x = document.coordinate(pair[0], f"{key}[0]", MAP_SIZE)
    y = document.coordinate(pair[1], f"{key}[1]", MAP_SIZE)
    if not plan.pathable(*footing.cell_of((x, y))):
        raise ScenarioError(f"{key} ({x:g}, {y:g}) is on a cliff; choose a point on the ground")
    return x, y
