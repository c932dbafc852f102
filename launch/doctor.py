"""`dm2 doctor`: look at this machine and at StarCraft II, and name the mend for what is wrong.

Checks go from the game's folder to one played battle; each is a pure look at something, in
`dm2_dist.envs.starcraft.installation_*`. Called by `launch.cli`.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dm2_dist.envs import make
from dm2_dist.envs.skirmish import UnknownMapError
from dm2_dist.envs.starcraft import installation
from dm2_dist.envs.starcraft.installation_finding import Finding, ok, warning
from launch import arguments

if TYPE_CHECKING:
    from dm2_dist.envs.starcraft.installation_machine import Needs


@dataclass(frozen=True)
class DoctorCommand:
    """Look at this machine and at StarCraft II, and name the mend for what is wrong."""

    map: str = "3m"
    """SMAC map that would be played."""
    actors: int = 8
    """Actor processes that would run here."""
    env: Literal["smac", "skirmish"] | None = None
    """What would be played; smac if SC2PATH or SMAC_PATH is set or ~/StarCraftII is there."""
    game_version: str = ""
    """Game version such as 4.10; the newest one that is installed unless given."""
    episode_seconds: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 180.0
    """Longest time for the episode that is played at the end; 0 plays none."""
    json: bool = False
    """One JSON object instead of the table."""


def main(words: Sequence[str]) -> int:
    """Check and print; returns 1 if anything keeps a run from working."""
    command = arguments.parse(DoctorCommand, "dm2 doctor", words)
    wrong = _wrong(command)
    if wrong:
        print(f"dm2: {wrong}", file=sys.stderr)
        return 2
    told = examine(command, os.environ)
    faults = sum(finding.level == "fault" for finding in told)
    if command.json:
        document = {"faults": faults, "findings": [dataclasses.asdict(each) for each in told]}
        print(json.dumps(document, indent=2))
    else:
        _print_table(told, faults)
    return 1 if faults else 0


def _wrong(command: DoctorCommand) -> str:
    if command.actors < 1:
        return f"actors is {command.actors}; it must be at least 1"
    if not 0 <= command.episode_seconds < 86_400:
        return f"episode-seconds is {command.episode_seconds}; it must be 0 to 86400"
    try:
        make.describe(command.env or "skirmish", command.map)
    except (ValueError, UnknownMapError) as error:
        return str(error)
    return ""


def examine(command: DoctorCommand, environ: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order of the table.

    Args:
        command: what would be run.
        environ: the environment variables of that run.
    """
    # Imported late: they take longer than the help.
    from dm2_dist.envs.starcraft import installation_machine, installation_simulator

    games = _plays_games(command, environ)
    needs = installation_machine.Needs(actors=command.actors, games=games)
    told = installation_simulator.findings(environ)
    if games:
        game, needs = _examine_game(command, environ, needs)
        told += game
    else:
        told += _not_looked_at(command)
    machine = installation_machine.findings(needs, Path("runs"))
    return [*machine, *told]


def _examine_game(
    command: DoctorCommand, environ: Mapping[str, str], needs: "Needs"
) -> tuple[list[Finding], "Needs"]:
    """The game's folder, the client code and one battle; the needs as that battle measured them."""
    from dm2_dist.envs.starcraft import (
        installation_client,
        installation_episode,
        installation_tree,
    )

    told = installation_tree.findings(environ, command.map, command.game_version)
    told += installation_client.findings(environ, command.map)
    if not command.episode_seconds:
        return told, needs
    if any(finding.level == "fault" for finding in told):
        return [*told, warning("episode", "not played", "mend the faults above first")], needs
    finding, played = installation_episode.play(
        environ, command.map, command.game_version, command.episode_seconds
    )
    if played is not None and played.game_megabytes:
        needs = dataclasses.replace(needs, game_megabytes=played.game_megabytes, measured=True)
    return [*told, finding], needs


def _plays_games(command: DoctorCommand, environ: Mapping[str, str]) -> bool:
    if command.env is not None:
        return command.env == "smac"
    named = environ.get("SC2PATH") or environ.get("SMAC_PATH")
    return bool(named) or installation.root_of(environ).is_dir()


def _not_looked_at(command: DoctorCommand) -> list[Finding]:
    if command.env == "skirmish":
        return []
    found = "not looked at: SC2PATH and SMAC_PATH are not set; `dm2 doctor --env smac` tells more"
    return [ok("StarCraft II", found)]


def _print_table(told: Sequence[Finding], faults: int) -> None:
    for finding in told:
        print(f"{finding.level:8} {finding.check:14} {finding.found}")
        if finding.mend:
            print(f"{'':8} {'':14} -> {finding.mend}")
    warnings = sum(finding.level == "warning" for finding in told)
    print(f"{_counted(faults, 'fault')}, {_counted(warnings, 'warning')}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
