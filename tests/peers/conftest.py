"""SMAC's own class, played on our simulator.

The class is imported from a checkout of SMAC; the environment variable `SMAC_PATH` names
the directory that holds its `smac` package. What the class imports to talk to the game (pysc2, the
protocol's messages, absl) is replaced by stand-ins while the tests run, since no game is started:
every name is a class that keeps its keyword arguments.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STAND_INS = (
    "absl",
    "absl.flags",
    "absl.logging",
    "pysc2",
    "pysc2.lib",
    "pysc2.lib.protocol",
    "pysc2.maps",
    "pysc2.maps.lib",
    "pysc2.run_configs",
    "s2clientprotocol",
    "s2clientprotocol.common_pb2",
    "s2clientprotocol.debug_pb2",
    "s2clientprotocol.raw_pb2",
    "s2clientprotocol.sc2api_pb2",
)


class Message:
    """Keeps what it is given."""

    def __init__(self, *_: object, **values: object) -> None:
        self.__dict__.update(values)


class StandIn(types.ModuleType):
    """A module that has every name: errors are exceptions, all else are messages."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        parent = Exception if name.endswith("Error") else Message
        setattr(self, name, type(name, (parent,), {}))
        return self.__dict__[name]


@pytest.fixture(scope="session")
def smac_class() -> Iterator[Any]:
    """The class `StarCraft2Env` of the checkout."""
    place = os.environ.get("SMAC_PATH")
    if not place:
        pytest.skip("SMAC_PATH does not name a checkout of SMAC")
    if not (Path(place) / "smac" / "env").is_dir():
        pytest.skip(f"SMAC_PATH={place} holds no package smac with SMAC's environments")
    before = dict(sys.modules)
    for name in STAND_INS:
        sys.modules[name] = StandIn(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    sys.path.insert(0, place)
    try:
        yield importlib.import_module("smac.env").StarCraft2Env
    finally:
        sys.path.remove(place)
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in {"smac", "absl", "pysc2", "s2clientprotocol"}:
                del sys.modules[name]
        for name in STAND_INS:
            if name in before:
                sys.modules[name] = before[name]
