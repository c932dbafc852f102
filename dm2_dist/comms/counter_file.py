"""A few counters that survive `kill -9`: what an actor produced, written before anything is sent.

The file is mapped into memory, so writing is a store and the kernel keeps it when the process is
gone. Layout, little-endian unsigned 64-bit words:

    0  magic          "DM2COUNT"
    1  version        2
    2  K              number of agents
    3  closed         1 once the actor has left with nothing unsettled
    4  incarnation    of the actor
    5 .. 12           its name, UTF-8, filled up with zero bytes
    13 .. 13+K-1      produced, per agent
    13+K .. 13+2K-1   settled, per agent
    13+2K             cut off by lost games, of all agents

A file of version 1 ends before the last word; it is read as if that were 0.

Written by `actors.session`, read by `launch` when the actor is gone.
"""

import mmap
import os
from pathlib import Path

import numpy as np

from dm2_dist.comms.ledger import Counters
from dm2_dist.comms.messages import Source

_MAGIC = int.from_bytes(b"DM2COUNT", "little")
_VERSION = 2
_OLD_VERSION = 1
_NAME_BYTES = 64
_HEADER_WORDS = 5 + _NAME_BYTES // 8
_WORD = np.dtype("<u8")
_MAX_AGENTS = 4096


class CounterFileError(ValueError):
    """A file that is not a counter file of this version; the message names it."""


class CounterFile:
    """The counters of one incarnation of an actor."""

    def __init__(self, path: Path, source: Source, num_agents: int) -> None:
        """Create the file with all counters at 0; it appears under its name complete.

        Args:
            path: a name that no other incarnation uses.
            source: the actor.
            num_agents: K.

        Raises:
            OSError: the file cannot be created.
        """
        words = np.zeros(_HEADER_WORDS + 2 * num_agents + 1, _WORD)
        name = source.name.encode().ljust(_NAME_BYTES, b"\0")
        words[:5] = _MAGIC, _VERSION, num_agents, 0, source.incarnation
        words[5:_HEADER_WORDS] = np.frombuffer(name, _WORD)
        temporary = path.with_name(path.name + ".new")
        temporary.write_bytes(words.tobytes())
        os.rename(temporary, path)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), words.nbytes)
        # An aligned 64-bit store happens whole or not at all, also when the process dies in it.
        self._words = np.frombuffer(self._map, _WORD)
        self._num_agents = num_agents

    def set_produced(self, agent: int, count: int) -> None:
        """Note how many trajectories of an agent exist; call it before the newest is sent."""
        self._words[_HEADER_WORDS + agent] = count

    def set_settled(self, agent: int, count: int) -> None:
        """Note how many trajectories of an agent are settled."""
        self._words[_HEADER_WORDS + self._num_agents + agent] = count

    def add_cut_off(self, count: int) -> None:
        """Note that a lost game has cut off so many more trajectories."""
        self._words[-1] += np.uint64(count)

    def close(self, *, clean: bool) -> None:
        """Unmap the file.

        Args:
            clean: the actor leaves on purpose and nothing is unsettled.
        """
        if clean:
            self._words[3] = 1
        del self._words
        self._map.close()


def read_counters(path: Path) -> Counters:
    """Read a counter file, also while it is written or after its writer was killed.

    Raises:
        CounterFileError: it is something else.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if len(data) % _WORD.itemsize or len(data) < _HEADER_WORDS * _WORD.itemsize:
        raise CounterFileError(f"{path} is not a counter file: {len(data)} bytes")
    words = [int(word) for word in np.frombuffer(data, _WORD)]
    magic, version, agents, closed, incarnation = words[:5]
    if magic != _MAGIC or version not in (_OLD_VERSION, _VERSION):
        raise CounterFileError(f"{path} is not a counter file of version {_VERSION}")
    own_words = 1 if version == _VERSION else 0
    if agents > _MAX_AGENTS or len(words) != _HEADER_WORDS + 2 * agents + own_words:
        raise CounterFileError(f"{path} has {len(words)} words for {agents} agents")
    name = data[40 : 40 + _NAME_BYTES].rstrip(b"\0").decode(errors="replace")
    source = Source(name=name, incarnation=incarnation)
    middle, end = _HEADER_WORDS + agents, _HEADER_WORDS + 2 * agents
    return Counters(
        source,
        produced=tuple(words[_HEADER_WORDS:middle]),
        settled=tuple(words[middle:end]),
        closed=bool(closed),
        cut_off=sum(words[end:]),
    )
