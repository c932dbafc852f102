"""The checks of the game's folder: its versions, the program, the maps."""

from collections.abc import Mapping
from pathlib import Path

from dm2_dist.envs.starcraft import installation, installation_program
from dm2_dist.envs.starcraft.importing import StarcraftImportError, locate
from dm2_dist.envs.starcraft.installation import InstallationError
from dm2_dist.envs.starcraft.installation_finding import (
    Finding,
    fault,
    from_sentence,
    ok,
    warning,
)

PROVEN_VERSIONS = ("4.10.0", "4.6.2")
"""What published results were made with; docs/starcraft.md says how they differ."""


def findings(environ: Mapping[str, str], map_name: str, version: str = "") -> list[Finding]:
    """Check the folder of the game from the root to the map; stops where nothing can follow.

    Args:
        environ: the environment variables to obey.
        map_name: SMAC's name of the map.
        version: such as `4.10`; "" for the newest that is installed.
    """
    try:
        root = installation.find_root(environ)
    except InstallationError as error:
        return [from_sentence("folder", str(error))]
    told = [ok("folder", str(root))]
    told += _program(root, version)
    return told + _maps(environ, root, map_name)


def _program(root: Path, version: str) -> list[Finding]:
    try:
        there = installation.builds(root)
        build = installation.choose_build(there, version)
    except InstallationError as error:
        return [from_sentence("version", str(error))]
    told = [_version(there, build)]
    program = installation.program_of(root, build)
    try:
        installation.check_program(program)
        return told + installation_program.findings(root, program)
    except InstallationError as error:
        return [*told, from_sentence("program", str(error))]
    except OSError as error:
        return [*told, fault("program", f"{program}: {error.strerror}", "mend its permissions")]


def _version(there: list[int], build: int) -> Finding:
    name = installation.version_of_build(build)
    found = f"{name}, Base{build}"
    others = [other for other in there if other != build]
    if others:
        found += f" (also there: {', '.join(f'Base{other}' for other in others)})"
    if name in PROVEN_VERSIONS:
        return ok("version", found)
    return warning(
        "version",
        found,
        "published results use 4.10 or 4.6.2, and no two versions may stand in one table",
    )


def _maps(environ: Mapping[str, str], root: Path, map_name: str) -> list[Finding]:
    try:
        path = installation.map_of(root, map_name)
        digest = installation.sha256_of(path)
    except InstallationError as error:
        return [from_sentence("map", str(error))]
    except OSError as error:
        return [fault("map", f"{error.filename}: {error.strerror}", "mend its permissions")]
    told = [ok("map", f"{map_name}, sha256 {digest[:16]}")]
    return [*told, *_other_map(environ, path, digest), *_duplicates(root, path)]


def _other_map(environ: Mapping[str, str], path: Path, digest: str) -> list[Finding]:
    """Compare with the map of the SMAC that will play it; a stand-in's are no maps at all."""
    try:
        clone = locate(environ)
    except StarcraftImportError:
        return []
    original = clone / "smac" / "env" / "starcraft2" / "maps" / "SMAC_Maps" / path.name
    if not original.is_file() or installation.sha256_of(original) == digest:
        return []
    with path.open("rb") as file:
        if not file.read(4).startswith(b"MPQ"):
            return [warning("map", f"{path.name} is no map but a placeholder", "see `program`")]
    return [
        warning(
            "map",
            f"{path.name} is another file than in the clone of SMAC",
            "copy the maps of the clone over it, unless you changed it on purpose",
        )
    ]


def _duplicates(root: Path, path: Path) -> list[Finding]:
    """Files of the same name in other folders of Maps: somebody may mean the wrong one."""
    name = path.name.lower()
    twins = [
        other
        for other in sorted((root / "Maps").rglob("*.[sS][cC]2[mM]ap"))
        if other.name.lower() == name and other != path
    ]
    if not twins:
        return []
    return [
        warning(
            "map",
            f"another file of that name: {', '.join(str(twin) for twin in twins)}",
            f"remove it if it is not needed; what is played is {path}",
        )
    ]
