"""Where StarCraft II is installed, which version it is, and which map file a battle would read.

Rules of the tree are PySC2's: the root is `SC2PATH` or `~/StarCraftII`, a version is a folder
`Versions/Base<build>` with the program `SC2_x64`, SMAC's maps lie in `Maps/SMAC_Maps`. Read by the
workers before they launch a game, by the record of a run and by `dm2 doctor`.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAPS = Path("Maps") / "SMAC_Maps"
PROGRAM = "SC2_x64"
STAND_IN = b"dm2_dist.envs.sc2_standin"
"""What the program file of a stand-in names, and no game does."""
OLDEST_BUILD = 55958
"""Builds before it (3.16.1) do not speak the protocol."""
_PREFIX = "Base"
# Linux builds that stand for one version only: build -> version and its data version.
_KNOWN = {
    69232: ("4.6.2", "B3E14058F1083913B80C20993AC965DB"),
    71663: ("4.8.2", "FE90C92716FC6F8F04B74268EC369FA5"),
    72282: ("4.8.3", "0F14399BBD0BA528355FF4A8211F845B"),
    73286: ("4.8.4", "CD040C0675FD986ED37A4CA3C88C8EB5"),
    73620: ("4.8.6", "AA18FEAD6573C79EF707DF44ABF1BE61"),
    74071: ("4.9.0", "70C74A2DCA8A0D8E7AE8647CAC68ACCA"),
    74456: ("4.9.1", "218CB2271D4E2FA083470D30B1A05F02"),
    74741: ("4.9.2", "614480EF79264B5BD084E57F912172FF"),
    75025: ("4.9.3", "C305368C63621480462F8F516FB64374"),
    75689: ("4.10.0", "B89B5D6FA7CBF6452E721311BFBC6CB2"),
}


class InstallationError(RuntimeError):
    """StarCraft II cannot be used as it is installed; one sentence, with the mend."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One version of the game and one map of it.

    Attributes:
        root: folder of the game.
        version: such as `4.10.0`; `build <number>` where the build stands for several.
        build: number in the name of the version's folder.
        data_version: digest that Blizzard gives the unit data; "" where it is not known.
        program: the executable.
        map_path: the map file.
        map_sha256: its digest, in hexadecimal.
        stand_in: the program is our stand-in, not StarCraft II.
    """

    root: Path
    version: str
    build: int
    data_version: str
    program: Path
    map_path: Path
    map_sha256: str
    stand_in: bool

    @property
    def summary(self) -> str:
        """One line for a log."""
        name = "a stand-in for StarCraft II" if self.stand_in else "StarCraft II"
        return f"{name} {self.version} (build {self.build}) in {self.root}"


def root_of(environ: Mapping[str, str]) -> Path:
    """Where the game would be: `SC2PATH`, else `~/StarCraftII`; nobody looks whether it is."""
    named = environ.get("SC2PATH", "")
    return Path(named).expanduser() if named else Path("~/StarCraftII").expanduser()


def find_root(environ: Mapping[str, str]) -> Path:
    """Find the folder of the game.

    Args:
        environ: the environment variables to obey.

    Raises:
        InstallationError: it is not there.
    """
    root = root_of(environ)
    if root.is_dir():
        return root
    named = environ.get("SC2PATH", "")
    said = f"SC2PATH is {named}, but that is no folder" if named else f"{root} is not there"
    raise InstallationError(
        f"{said}; set SC2PATH to the folder of StarCraft II, the one that holds Versions and Maps"
    )


def builds(root: Path) -> list[int]:
    """Numbers of the installed versions, ascending.

    Raises:
        InstallationError: none, or a folder whose name PySC2 cannot read.
    """
    folder = root / "Versions"
    if not folder.is_dir():
        raise InstallationError(
            f"{root} holds no folder Versions; set SC2PATH to the folder that does, or unpack the "
            "game again"
        )
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InstallationError(
            f"{folder} cannot be read ({error.strerror}); mend its permissions"
        ) from error
    found = []
    for entry in entries:
        number = entry.name.removeprefix(_PREFIX)
        if number == entry.name:
            continue
        if not number.isdecimal():
            raise InstallationError(
                f"{entry} has a name that PySC2 cannot read; it must be Base and a number "
                "(Base75689 for 4.10): rename it, or move it out of Versions"
            )
        found.append(int(number))
    if not found:
        raise InstallationError(
            f"{folder} holds no folder Base<number> (Base75689 for 4.10); unpack the game again"
        )
    return sorted(found)


def choose_build(found: list[int], version: str) -> int:
    """The newest build, or the one of a named version.

    Args:
        found: installed builds, ascending.
        version: such as `4.10` or `4.6.2`; "" or `latest` for the newest.

    Raises:
        InstallationError: that version is unknown, not installed, or too old.
    """
    if version in ("", "latest"):
        build = found[-1]
    else:
        full = version if version.count(".") > 1 else f"{version}.0"
        matching = [build for build, (name, _) in _KNOWN.items() if name == full]
        if not matching or matching[0] not in found:
            there = ", ".join(version_of_build(build) for build in found)
            raise InstallationError(
                f"version {version} of StarCraft II is not installed (there is {there}); install "
                "it, or choose one that is there"
            )
        build = matching[0]
    if build < OLDEST_BUILD:
        raise InstallationError(
            f"build {build} of StarCraft II is older than 3.16.1 and speaks no protocol; install "
            "4.10"
        )
    return build


def version_of_build(build: int) -> str:
    """Version of a build, `build <number>` where that is not known."""
    return _KNOWN[build][0] if build in _KNOWN else f"build {build}"


def program_of(root: Path, build: int) -> Path:
    """The executable of a build, where PySC2 looks for it."""
    return root / "Versions" / f"{_PREFIX}{build:05d}" / PROGRAM


def check_program(program: Path) -> None:
    """Refuse a program that is missing or may not be run.

    Raises:
        InstallationError: which of them.
    """
    if not program.is_file():
        raise InstallationError(f"{program} is missing; unpack the game again")
    if not os.access(program, os.X_OK):
        raise InstallationError(f"{program} may not be executed; chmod +x it")


def is_stand_in(program: Path) -> bool:
    """Whether a program is our stand-in: a script that says so."""
    with program.open("rb") as file:
        head = file.read(8192)
    return head.startswith(b"#!") and STAND_IN in head


def map_of(root: Path, map_name: str) -> Path:
    """The map file, where PySC2 looks for it.

    Raises:
        InstallationError: it is not there.
    """
    path = root / MAPS / f"{map_name}.SC2Map"
    if path.is_file():
        return path
    raise InstallationError(
        f"the map {path} is missing; copy the folder smac/env/starcraft2/maps/SMAC_Maps of a clone "
        f"of SMAC into {root / 'Maps'}"
    )


def sha256_of(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inspect(environ: Mapping[str, str], map_name: str, version: str = "") -> Installation:
    """Look at what would be played, without starting it; takes milliseconds.

    Args:
        environ: the environment variables to obey.
        map_name: SMAC's name of the map.
        version: such as `4.10`; "" for the newest that is installed.

    Raises:
        InstallationError: what is missing, and the mend.
    """
    root = find_root(environ)
    build = choose_build(builds(root), version)
    program = program_of(root, build)
    check_program(program)
    map_path = map_of(root, map_name)
    try:
        digest, stand_in = sha256_of(map_path), is_stand_in(program)
    except OSError as error:
        raise InstallationError(
            f"{error.filename} cannot be read ({error.strerror}); mend its permissions"
        ) from error
    return Installation(
        root=root,
        version=version_of_build(build),
        build=build,
        data_version=_KNOWN[build][1] if build in _KNOWN else "",
        program=program,
        map_path=map_path,
        map_sha256=digest,
        stand_in=stand_in,
    )
