"""`dm2 sc2-standin install DIR`: a stand-in for StarCraft II, to rehearse a run without the game.

Called by `launch.cli`.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dm2_dist.envs.sc2_standin import NOTICE, tree
from dm2_dist.envs.sc2_standin.protocol import StandInError
from dm2_dist.envs.sc2_standin.version import VERSIONS
from launch import arguments


@dataclass(frozen=True)
class StandInCommand:
    """Install a stand-in for StarCraft II: it speaks the game's protocol, but it is NOT the game.

    The real SMAC and PySC2 play against it as against the game; the battles are those of the
    embedded simulator, so results say nothing about StarCraft II.
    """

    action: Annotated[Literal["install"], tyro.conf.Positional]
    """What to do."""
    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder to write; set SC2PATH to it afterwards. An earlier stand-in there is replaced."""


def main(words: Sequence[str]) -> int:
    """Install; returns the exit code."""
    return run(arguments.parse(StandInCommand, "dm2 sc2-standin", words))


def run(command: StandInCommand) -> int:
    """Write the tree, and compile the simulator before the first game has to; returns the code."""
    from dm2_dist.envs.skirmish.raw_battle import compile_kernels

    try:
        tree.install(command.directory)
    except StandInError as error:
        print(f"dm2: {error}", file=sys.stderr)
        return 1
    compile_kernels()
    root = shlex.quote(str(command.directory.expanduser().absolute()))
    print(f"installed {len(tree.MAP_NAMES)} maps and {len(VERSIONS)} builds in {root}")
    print(NOTICE)
    print(f"use it with: export SC2PATH={root}")
    return 0
