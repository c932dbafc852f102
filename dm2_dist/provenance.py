"""What produces a run: versions of this system, its libraries, and of the game with its map.

Written into `config.json` by `run_directory`, which also compares it when a run is resumed.
"""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import dm2_dist
from dm2_dist.config import RunConfig
from dm2_dist.envs.starcraft import importing, installation_record

LIBRARIES = ("torch", "numpy", "numba", "pyzmq", "msgpack", "safetensors")


def versions(config: RunConfig) -> dict[str, str]:
    """Say with what a configuration would be run here.

    Args:
        config: names the environment; with `smac` the game is looked at, not started.

    Returns:
        Versions by name; the git commit is "" where there is none.

    Raises:
        InstallationError: StarCraft II cannot be used as it is installed.
        StarcraftImportError: SMAC is missing, or is another project.
    """
    found = {"dm2-dist": dm2_dist.__version__, "python": platform.python_version()}
    for package in LIBRARIES:
        found[package] = metadata.version(package)
    found["machine"] = f"{platform.system()} {platform.machine()}"
    found["git_commit"] = _git_commit()
    if config.env == "smac":
        importing.locate(os.environ)
        found |= installation_record.record(os.environ, config.map, config.games.version)
    return found


def _git_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
