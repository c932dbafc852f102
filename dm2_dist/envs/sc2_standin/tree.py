"""An installation tree of the game, with the stand-in in the game's place.

PySC2, pointed to it by `SC2PATH`, finds builds, an executable and maps where it expects them; every
file says what it is. Written by `dm2 sc2-standin install`.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from dm2_dist.envs.sc2_standin import NOTICE
from dm2_dist.envs.sc2_standin.protocol import StandInError
from dm2_dist.envs.sc2_standin.version import PLACEHOLDER, VERSIONS

MAP_FOLDER = "SMAC_Maps"
EXECUTABLE = "SC2_x64"
README = "README.txt"

MAP_NAMES = (
    "3m 8m 25m 5m_vs_6m 8m_vs_9m 10m_vs_11m 27m_vs_30m MMM MMM2 2s3z 3s5z 3s5z_vs_3s6z 3s_vs_3z "
    "3s_vs_4z 3s_vs_5z 1c3s5z 2m_vs_1z corridor 6h_vs_8z 2s_vs_1sc so_many_baneling bane_vs_bane "
    "2c_vs_64zg"
).split()
"""SMAC's maps; listed here because the simulator's table takes its compiler along."""

_README = f"""{NOTICE}

This folder looks like an installation of StarCraft II to PySC2 and SMAC, so that they can be tried
out without the game. No file in it comes from the game, and results obtained with it say nothing
about the game. Use it with

    export SC2PATH={{directory}}

The executables start the stand-in with the Python that installed this folder. Failures can be
ordered with the environment variables DM2_STANDIN_FAULT and DM2_STANDIN_FAULT_ONCE. Delete the
folder when you have the game.
"""


def map_paths() -> list[str]:
    """The maps, as clients name them."""
    return [f"{MAP_FOLDER}/{name}.SC2Map" for name in MAP_NAMES]


def install(directory: Path) -> None:
    """Write the tree; what is there of an earlier one is replaced.

    Args:
        directory: becomes the `SC2PATH`; created if it is not there.

    Raises:
        StandInError: the folder cannot be written, holds something else than a stand-in's tree, or
            this Python has no messages of the game's protocol.
    """
    if importlib.util.find_spec("s2clientprotocol") is None:
        raise StandInError(
            "the stand-in needs the game's protocol messages (module s2clientprotocol); install "
            "dm2-dist with the extra [sc2]"
        )
    root = directory.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise StandInError(f"{directory} is a file; name a folder for the stand-in's tree")
    if root.is_dir() and any(root.iterdir()) and not is_standin(root):
        raise StandInError(
            f"{directory} holds something else than a stand-in's tree; name a new folder"
        )
    try:
        _write(root)
    except OSError as error:
        raise StandInError(f"{directory} cannot be written: {error.strerror or error}") from error


def is_standin(root: Path) -> bool:
    """Whether a folder is a tree that `install` wrote."""
    try:
        return (root / README).read_text(encoding="utf-8").startswith(NOTICE)
    except (OSError, UnicodeDecodeError):
        return False


def _write(root: Path) -> None:
    maps = root / "Maps" / MAP_FOLDER
    maps.mkdir(parents=True, exist_ok=True)
    # First of all, so that a tree that was cut short is known for what it is.
    (root / README).write_text(_README.format(directory=root), encoding="utf-8")
    for name in MAP_NAMES:
        said = PLACEHOLDER + f"{name}\n{NOTICE}\n".encode()
        (maps / f"{name}.SC2Map").write_bytes(said)
    for version in VERSIONS:
        folder = root / "Versions" / f"Base{version.build:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / EXECUTABLE
        program.write_text(_script(version.build), encoding="utf-8")
        program.chmod(0o755)


def _script(build: int) -> str:
    python = shlex.quote(sys.executable)
    return (
        f"#!/bin/sh\n# {NOTICE}\n"
        f'exec {python} -P -m dm2_dist.envs.sc2_standin --build {build} "$@"\n'
    )
