from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm2_dist.envs.sc2_standin import NOTICE, tree
from dm2_dist.envs.sc2_standin.protocol import StandInError
from dm2_dist.envs.sc2_standin.version import PLACEHOLDER, VERSIONS
from dm2_dist.envs.skirmish import MAPS
from launch import sc2_standin

pytest.importorskip("s2clientprotocol", reason="the extra [sc2] is not installed")


def test_the_tree_has_the_maps_of_the_simulator() -> None:
    assert sorted(tree.MAP_NAMES) == sorted(MAPS)


def test_the_tree_is_what_pysc2_looks_for(tmp_path: Path) -> None:
    tree.install(tmp_path / "sc2")
    for version in VERSIONS:
        program = tmp_path / "sc2" / "Versions" / f"Base{version.build}" / "SC2_x64"
        assert os.access(program, os.X_OK)
        assert program.read_text().startswith("#!/bin/sh\n")
    maps = sorted(path.stem for path in (tmp_path / "sc2" / "Maps" / "SMAC_Maps").iterdir())
    assert maps == sorted(MAPS)


def test_every_file_says_that_it_is_not_the_game(tmp_path: Path) -> None:
    tree.install(tmp_path / "sc2")
    files = [path for path in (tmp_path / "sc2").rglob("*") if path.is_file()]
    assert len(files) == len(MAPS) + len(VERSIONS) + 1
    for path in files:
        assert NOTICE in path.read_text()
    data = (tmp_path / "sc2/Maps/SMAC_Maps/3m.SC2Map").read_bytes()
    assert data.startswith(PLACEHOLDER + b"3m\n")


def test_an_earlier_tree_is_replaced(tmp_path: Path) -> None:
    tree.install(tmp_path)
    program = tmp_path / "Versions" / "Base75689" / "SC2_x64"
    program.write_text("broken")
    tree.install(tmp_path)
    assert "dm2_dist.envs.sc2_standin" in program.read_text()
    assert tree.is_standin(tmp_path)


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("my game")
    with pytest.raises(StandInError, match="holds something else"):
        tree.install(tmp_path)
    assert (tmp_path / "README.txt").read_text() == "my game"
    assert not tree.is_standin(tmp_path)
    with pytest.raises(StandInError, match="is a file"):
        tree.install(tmp_path / "README.txt")


def test_the_command_tells_how_to_use_the_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    assert sc2_standin.main(["install", str(folder)]) == 0
    told = capsys.readouterr().out
    assert NOTICE in told
    assert f"export SC2PATH='{folder}'" in told
    assert sc2_standin.main(["install", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("dm2: ")
