"""The game's protocol messages, from whichever package brings them.

`pys2clientprotocol` (which the extra [sc2] installs) and `s2clientprotocol` both own the module
`s2clientprotocol`. Neither has types that a checker could rely on, so messages are `Any`.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, NamedTuple

Message = Any


class StandInError(RuntimeError):
    """The stand-in cannot work; the message is one sentence that names the mend."""


class Protocol(NamedTuple):
    """The modules of the protocol."""

    sc2api: Any
    raw: Any
    debug: Any
    error: Any


@cache
def load() -> Protocol:
    """Import the protocol.

    Raises:
        StandInError: no protocol package is installed, or the one installed does not import.
    """
    try:
        names = ("sc2api_pb2", "raw_pb2", "debug_pb2", "error_pb2")
        return Protocol(*(importlib.import_module(f"s2clientprotocol.{name}") for name in names))
    except ModuleNotFoundError as error:
        raise StandInError(
            f"the game's protocol messages are missing (no module {error.name}); install dm2-dist "
            "with the extra [sc2]"
        ) from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise StandInError(
            f"the game's protocol messages do not import ({type(error).__name__}: {first}); "
            "install dm2-dist with the extra [sc2] in an environment of its own"
        ) from error
