"""Which builds of the game there are stand-ins for.

Read by `tree`, `session` and `__main__`; imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

PLACEHOLDER = b"dm2-dist stand-in map, not a StarCraft II map: "
"""How the map files of a stand-in's tree begin; the name of the map follows."""


@dataclass(frozen=True, slots=True)
class Version:
    """One build.

    Attributes:
        name: its version.
        build: number in the name of its folder.
        data_version: what the client passes when it asks for this version.
        packed_grid: whether it gives pathing grids a bit a cell, else a byte.
    """

    name: str
    build: int
    data_version: str
    packed_grid: bool


VERSIONS = (
    Version("4.6.2", 69232, "B3E14058F1083913B80C20993AC965DB", False),
    Version("4.10.0", 75689, "B89B5D6FA7CBF6452E721311BFBC6CB2", True),
)


def of_build(build: int) -> Version:
    """The version of a build; an unknown build behaves as the newest."""
    for version in VERSIONS:
        if version.build == build:
            return version
    return VERSIONS[-1]
