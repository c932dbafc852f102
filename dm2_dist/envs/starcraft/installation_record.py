"""What a run's `config.json` says of the game: its version, the map's digest, the client code.

Imports nothing of what it names, and starts no game.
"""

import json
import subprocess
from collections.abc import Mapping
from importlib import metadata

from dm2_dist.envs.starcraft import installation
from dm2_dist.envs.starcraft.importing import StarcraftImportError, locate, version_of


def record(environ: Mapping[str, str], map_name: str, version: str = "") -> dict[str, str]:
    """Versions of the game and of all that speaks with it.

    Args:
        environ: the environment variables to obey.
        map_name: SMAC's name of the map.
        version: such as `4.10`; "" for the newest that is installed.

    Returns:
        `starcraft2` (the version), `starcraft2_build`, `starcraft2_data_version` (the digest of the
        unit data, "" if unknown), `starcraft2_program` (`game`, or `stand-in`),
        `starcraft2_map_sha256`, and what `packages` returns.

    Raises:
        InstallationError: the game cannot be used as it is installed.
    """
    game = installation.inspect(environ, map_name, version)
    return {
        "starcraft2": game.version,
        "starcraft2_build": str(game.build),
        "starcraft2_data_version": game.data_version,
        "starcraft2_program": "stand-in" if game.stand_in else "game",
        "starcraft2_map_sha256": game.map_sha256,
        **packages(environ),
    }


def packages(environ: Mapping[str, str]) -> dict[str, str]:
    """Say which client code would be used, for the record of a run; imports nothing of it.

    Returns:
        Versions of `pysc2`, the protocol and protobuf, and the commit of SMAC; "" where unknown.
    """
    fork = version_of("pysc2-evolved")
    new = version_of("pys2clientprotocol")
    return {
        "pysc2": f"pysc2-evolved {fork}" if fork else f"pysc2 {version_of('pysc2')}".rstrip(),
        "s2clientprotocol": (
            f"pys2clientprotocol {new}"
            if new
            else f"s2clientprotocol {version_of('s2clientprotocol')}".rstrip()
        ),
        "protobuf": version_of("protobuf"),
        "smac": _smac_commit(environ),
    }


def _smac_commit(environ: Mapping[str, str]) -> str:
    """Commit of the clone, or of the commit that was installed from; "" where none is known."""
    try:
        folder = locate(environ)
    except StarcraftImportError:
        return ""
    if (folder / ".git").exists():
        try:
            told = subprocess.run(
                ["git", "-C", str(folder), "rev-parse", "HEAD"],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return told.stdout.strip()
    for distribution in metadata.distributions(name="smac", path=[str(folder)]):
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return str(origin.get("vcs_info", {}).get("commit_id", ""))
    return ""
