"""PySC2's own launcher and controller against the stand-in, without SMAC.

Run as a program it plays one story and prints what it saw as JSON: PySC2 changes the process that
it is imported into, so that the tests start one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("compiled_simulator")]

SECONDS = 100.0
STEPS = 200


def launch(version: str | None = None) -> Any:
    """Start a game as SMAC does."""
    from pysc2_evolved import run_configs

    config = run_configs.get(version=version)
    return config, config.start(want_rgb=False, timeout_seconds=30)


def begin(config: Any, controller: Any, map_name: str) -> None:
    """Create a game and join it."""
    from s2clientprotocol import common_pb2, sc2api_pb2 as sc  # isort: skip

    path = f"SMAC_Maps/{map_name}.SC2Map"
    local = sc.LocalMap(map_path=path, map_data=config.map_data(path))
    create = sc.RequestCreateGame(local_map=local, random_seed=3)
    create.player_setup.add(type=sc.Participant)
    create.player_setup.add(type=sc.Computer, race=common_pb2.Terran, difficulty=sc.VeryHard)
    controller.create_game(create)
    controller.join_game(
        sc.RequestJoinGame(
            race=common_pb2.Terran, options=sc.InterfaceOptions(raw=True, score=False)
        )
    )


def fight(controller: Any) -> tuple[int, int]:
    """Let everybody attack the nearest enemy until one side is gone; returns who is left."""
    from s2clientprotocol import raw_pb2, sc2api_pb2 as sc  # isort: skip

    for _ in range(STEPS):
        units = controller.observe().observation.raw_data.units
        own = [unit for unit in units if unit.owner == 1]
        theirs = [unit for unit in units if unit.owner == 2]
        if not own or not theirs:
            return len(own), len(theirs)
        request = sc.RequestAction()
        for unit in own:
            near = min(theirs, key=lambda it: (it.pos.x - unit.pos.x) ** 2)
            request.actions.add().action_raw.unit_command.CopyFrom(
                raw_pb2.ActionRawUnitCommand(
                    ability_id=23, unit_tags=[unit.tag], target_unit_tag=near.tag
                )
            )
        assert all(result == 1 for result in controller.actions(request).result)
        controller.step(8)
    return -1, -1


def tell_battles() -> dict[str, Any]:
    """Two battles in one game, the second after everybody was killed; a replay; the end."""
    from s2clientprotocol import debug_pb2

    config, process = launch("4.10")
    controller, pid = process.controller, process.pid
    begin(config, controller, "8m")
    seen: dict[str, Any] = {"left": [fight(controller)], "pid": pid}
    first = controller.observe().observation.raw_data.units
    tags = [unit.tag for unit in first]
    controller.debug(debug_pb2.DebugCommand(kill_unit=debug_pb2.DebugKillUnit(tag=tags)))
    controller.step(2)
    seen["fresh"] = len(controller.observe().observation.raw_data.units)
    seen["left"].append(fight(controller))
    seen["map"] = controller.game_info().map_name
    seen["catalogue"] = len(controller.data_raw().units)
    seen["replay"] = controller.save_replay().decode()
    seen["loop"] = controller.observe().observation.game_loop
    begin(config, controller, "2s3z")
    seen["next"] = len(controller.observe().observation.raw_data.units)
    process.close()
    seen["over"] = not Path(f"/proc/{pid}").exists()
    return seen


def tell_faults() -> dict[str, Any]:
    """What PySC2 makes of each fault."""
    seen = {}
    for faults in sys.argv[2:]:
        os.environ["DM2_STANDIN_FAULT"] = faults
        seen[faults] = meet()
    return seen


def meet() -> str:
    """Play a little; returns the error that it ended with."""
    process = None
    try:
        config, process = launch()
        begin(config, process.controller, "3m")
        for _ in range(3):
            process.controller.observe()
            process.controller.step(8)
        loop = process.controller.observe().observation.game_loop
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if process is not None:
            process.close()
    return f"loop {loop}"


if __name__ == "__main__":
    print(json.dumps({"battles": tell_battles, "faults": tell_faults}[sys.argv[1]]()))


def told(directory: Path, *words: str) -> Any:
    """Run a story in a process of its own."""
    if find_spec("pysc2_evolved") is None:
        pytest.skip("the extra [sc2] is not installed")
    from dm2_dist.envs.sc2_standin import tree

    tree.install(directory / "sc2")
    settings = {
        "SC2PATH": str(directory / "sc2"),
        "PYTHON_DOTENV_DISABLED": "1",
        "TIMEOUT_SECONDS": "30",
    }
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_pysc2_plays_battles_to_their_end(tmp_path: Path) -> None:
    seen = told(tmp_path, "battles")
    for own, theirs in seen["left"]:
        assert (own == 0) != (theirs == 0)
    assert seen["fresh"] == 16
    assert seen["map"] == "8m (stand-in)"
    assert seen["catalogue"] == 2
    assert "NOT StarCraft II" in seen["replay"]
    assert seen["loop"] % 8 == 2
    assert seen["next"] == 10
    assert seen["over"]


def test_pysc2_reports_every_fault(tmp_path: Path) -> None:
    # Requests: ping 1, create 2, join 3, then observation and step in turn: 4, 5, 6, ...
    expected = {
        "crash_at=5": "ConnectionError: Error during step: Connection already closed",
        "stub_observation_at=6": "ProtocolError: `step` called while in state: Status.ended",
        "refuse_create": "RequestError",
    }
    seen = told(tmp_path, "faults", *expected)
    assert seen.keys() == expected.keys()
    for fault, beginning in expected.items():
        assert seen[fault].startswith(beginning), (fault, seen[fault])
