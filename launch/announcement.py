"""The books of actors on other hosts, as far as their heartbeats told: kept by the head, on disk.

An actor of this run directory writes a counter file there, which outlives it. One that was started
elsewhere keeps that file on its own host; what the head knows of it is what it announced. When such
an actor is gone for ever, what it announced and nobody settled is closed as `lost: host_lost`.
Fed by `launch.head`; read by `launch.record` when the books are closed.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from dm2_dist import child
from dm2_dist.comms import messages
from dm2_dist.comms.ledger import Counters
from dm2_dist.run_directory import RunDirectory, RunDirectoryError, write_atomically

_LOG = logging.getLogger(__name__)
_FILE = "announced.json"
_SAVE_SECONDS = 1.0


@dataclass(slots=True)
class Announcements:
    """What every incarnation of every actor on another host announced so far."""

    directory: RunDirectory
    num_agents: int
    _counters: dict[messages.Source, Counters] = field(default_factory=dict)
    _changed: bool = False
    _saved_at: float = 0.0
    _trouble: str = ""

    @classmethod
    def open(cls, directory: RunDirectory, num_agents: int) -> "Announcements":
        """Take up what an earlier head of this run wrote down."""
        known = {entry.source: entry for entry in read(directory)}
        return cls(directory=directory, num_agents=num_agents, _counters=known)

    def greet(self, source: messages.Source) -> None:
        """An actor said HELLO: from now on it may produce, whatever is heard of it afterwards."""
        if not self._is_here(source) and source not in self._counters:
            self._keep(Counters(source, (0,) * self.num_agents, (), closed=False, announced=True))
            self._write()

    def note(self, beat: messages.ActorBeat) -> None:
        """Take in a heartbeat; that of an actor with a counter file here is no news."""
        known = self._counters.get(beat.source)
        # A ticket makes one trajectory for each agent, between two heartbeats.
        produced = (beat.produced // self.num_agents,) * self.num_agents
        if known is not None and known.produced < produced:
            self._keep(known._replace(produced=produced))

    def leave(self, source: messages.Source, unsettled: int) -> None:
        """An actor said goodbye; without anything unsettled its books are closed."""
        known = self._counters.get(source)
        if known is not None and not unsettled and not known.closed:
            self._keep(known._replace(closed=True))
            self._write()

    def save(self, now: float) -> None:
        """Write down what is new, at most once a second; `now` in monotonic seconds."""
        if self._changed and now - self._saved_at >= _SAVE_SECONDS:
            self._saved_at = now
            self._write()

    def _is_here(self, source: messages.Source) -> bool:
        """Whether the actor keeps its counter file in the run directory, as children do."""
        return (self.directory.ledger / f"{source.name}@{source.incarnation}.cnt").exists()

    def _keep(self, counters: Counters) -> None:
        self._counters[counters.source] = counters
        self._changed = True

    def _write(self) -> None:
        """Write all of it; what cannot be written now is tried again by `save`."""
        self._changed = False
        entries = [
            {
                "name": entry.source.name,
                "incarnation": entry.source.incarnation,
                "produced": list(entry.produced),
                "closed": entry.closed,
            }
            for entry in self._counters.values()
        ]
        try:
            write_atomically(_path(self.directory), json.dumps(entries).encode())
        except OSError as error:
            self._changed = True
            if child.explain(error) != self._trouble:
                _LOG.warning("announcements not written: %s", child.explain(error))
            self._trouble = child.explain(error)
        else:
            self._trouble = ""


def read(directory: RunDirectory) -> list[Counters]:
    """What the run's head wrote down of actors on other hosts; empty if there were none.

    Raises:
        RunDirectoryError: the file is damaged.
    """
    path = _path(directory)
    try:
        entries = json.loads(path.read_bytes())
        return [
            Counters(
                messages.Source(name=str(entry["name"]), incarnation=int(entry["incarnation"])),
                tuple(int(count) for count in entry["produced"]),
                (),
                closed=bool(entry["closed"]),
                announced=True,
            )
            for entry in entries
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{path} is damaged ({error}); without it the books of actors on other hosts "
            "cannot be closed: remove it to go on, and expect an error in the ledger"
        ) from error


def _path(directory: RunDirectory) -> Path:
    return directory.ledger / _FILE
