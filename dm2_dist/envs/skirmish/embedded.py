"""Scenarios inside replays: a battle described by values, and given back to the simulator.

The values are those of a scenario file (docs/scenarios.md). Read by `replay`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dm2_dist.envs.skirmish.document import ScenarioError
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.matchup import BattleMap, Group

Table = dict[str, Any]


def describe(row: BattleMap) -> Table:
    """Write a battle as the values of a scenario file."""
    content: Table = {
        "name": row.name,
        "episode_limit": row.episode_limit,
        "rows": [
            "".join("." if row.terrain.pathable(x, y) else "#" for x in range(MAP_SIZE))
            for y in reversed(range(MAP_SIZE))
        ],
        "allies": [_group(group) for group in row.allies],
        "enemies": [_group(group) for group in row.enemies],
        "order": {"kind": row.order.kind},
    }
    if row.order.points:
        content["order"]["points"] = [list(point) for point in row.order.points]
    if row.enemy_types:
        content["enemy_types"] = [unit.name for unit in row.enemy_types]
    return content


def _group(group: Group) -> Table:
    return {"unit": group.unit.name, "count": group.count, "point": list(group.point)}


@contextmanager
def as_file(content: Table) -> Iterator[str]:
    """Put a scenario into a file for as long as it takes to read it; gives its path.

    Raises:
        ScenarioError: the scenario is not a battle; the message does not name the file.
        OSError: there is no room for the file.
    """
    with tempfile.TemporaryDirectory(prefix="dm2-scenario-") as folder:
        path = Path(folder) / "scenario.json"
        try:
            path.write_text(json.dumps(content))
            yield str(path)
        except RecursionError:
            raise ScenarioError("the scenario cannot be used: it is nested too deeply") from None
        except ScenarioError as error:
            told = str(error).removeprefix(f"{path}: ")
            raise ScenarioError(f"the scenario cannot be used: {told}") from None
