"""Trajectories that are lost, counted while the run goes on: as soon as nobody can have them.

What a killed actor produced may still lie with a learner, so what no learner has settled is in
doubt at first. Once every learner has committed the iterations that were open when the actor ended,
it is lost. The end of the run counts once more, with everything: `dm2_dist.comms.ledger`. Held by
`launch.head`, looked after by `launch.head_main`, told by `launch.status`.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dm2_dist import checkpoint, child
from dm2_dist.comms.ledger import (
    ACTOR_DIED,
    HOST_LOST,
    ROLLED_BACK,
    Counters,
    LearnerAccount,
    LearnerBook,
)
from dm2_dist.comms.messages import Source
from dm2_dist.run_directory import RunDirectory, write_atomically

_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_FILE = "losses.json"


class Losses:
    """What is lost, by cause.

    known: trajectories that nobody can have any more. It falls again in the rare case that a
        message turns up later than that, or that an actor comes back that was given up.
    in_doubt: those of actors that ended, neither settled nor known to be lost yet.
    """

    def __init__(self, folders: Sequence[Path], horizon: int, file: Path) -> None:
        """Take up what an earlier head of this run wrote down.

        Args:
            folders: checkpoints of each agent, [K].
            horizon: iterations after which nothing is in hand any more that is in hand now.
            file: where it is noted of whom something may be lost, and when that will be known.
        """
        self.known: Counter[str] = Counter()
        self.in_doubt = 0
        self._folders, self._horizon, self._file = folders, horizon, file
        self._due, self._judged = _read(file)
        self._ended: set[Source] = set(self._due)
        self._written = self._notes()
        self._shelf: dict[Path, tuple[Path, LearnerBook]] = {}
        self._rolled_back: dict[tuple[Source, int], int] = {}
        self._learner_restarts = 0
        self._suspect_until = -1

    @classmethod
    def of(cls, directory: RunDirectory, num_agents: int, max_lag: int) -> "Losses":
        """Those of a run; max_lag: of its schedule, in versions."""
        folders = [directory.checkpoints(agent) for agent in range(num_agents)]
        # A learner may be max_lag + 1 iterations ahead of the slowest, and hold as many.
        return cls(folders, 2 * (max_lag + 1), directory.ledger / _FILE)

    def committed(self, agent: int) -> LearnerAccount:
        """What an agent's newest commit accounts for; nothing while it cannot be read."""
        return (self._newest_book(self._folders[agent]) or LearnerBook()).account()

    def ended(self, name: str, incarnation: int) -> None:
        """A process of this machine is gone, whatever its role was."""
        self._ended.add(Source(name=name, incarnation=incarnation))

    def look(self, counters: Iterable[Counters], version: int, learner_restarts: int) -> None:
        """Compare what actors noted with the learners' newest commits.

        Args:
            counters: of every actor that is known, read before this call.
            version: iterations that every learner has committed; negative while that is not known.
            learner_restarts: so far.
        """
        entries = {entry.source: entry for entry in counters}
        gone = _replaced(entries.values()) | self._ended & {
            source for source, entry in entries.items() if not entry.closed
        }
        if learner_restarts > self._learner_restarts:
            self._learner_restarts = learner_restarts
            self._suspect_until = max(version, 0) + self._horizon
        if not gone and version > self._suspect_until:
            return
        books = [self._newest_book(folder) for folder in self._folders]
        whole = [book for book in books if book is not None]
        if len(whole) < len(books):
            return  # a commit is being written or is damaged: look again
        if version >= 0:
            for source in gone - self._due.keys():
                self._due[source] = version + self._horizon
        caught_up = all(book.version >= version for book in whole)
        self._count([entries[source] for source in gone], whole, version if caught_up else -1)
        self._look_back([entry for entry in entries.values() if entry.source not in gone], whole)
        self._write()

    def _count(self, gone: Iterable[Counters], books: Sequence[LearnerBook], version: int) -> None:
        """What the actors that are gone made and nobody settled is in doubt, or known to be lost.

        A due date that has passed once stays passed: a later version may be unknown for a while.
        """
        lost: Counter[str] = Counter()
        in_doubt = 0
        for entry in gone:
            produced = zip(entry.produced, books, strict=True)
            missing = sum(max(count - _settled(book, entry.source), 0) for count, book in produced)
            if entry.source not in self._judged:
                if version < self._due.get(entry.source, version + 1):
                    in_doubt += missing
                    continue
                self._judged.add(entry.source)
                _LOG.info("lost source=%s count=%s", entry.source.name, missing)
            lost[HOST_LOST if entry.announced else ACTOR_DIED] += missing
        lost[ROLLED_BACK] = self.known[ROLLED_BACK]
        self.known, self.in_doubt = +lost, in_doubt

    def _look_back(self, entries: Sequence[Counters], books: Sequence[LearnerBook]) -> None:
        """What an actor heard to be settled must be in the book, unless the book fell back."""
        for entry in entries:
            if entry.announced:
                continue  # it does not tell what it heard
            for agent, (heard, book) in enumerate(zip(entry.settled, books, strict=True)):
                missing = heard - _settled(book, entry.source) if book.rolled_back else 0
                if missing > self._rolled_back.get((entry.source, agent), 0):
                    self._rolled_back[entry.source, agent] = missing
        here = {entry.source for entry in entries}
        back = sum(count for (source, _), count in self._rolled_back.items() if source in here)
        self.known = +(self.known | Counter({ROLLED_BACK: back}))

    def _newest_book(self, folder: Path) -> LearnerBook | None:
        """What the newest commit of an agent accounts for; None if it cannot be read now."""
        commits = checkpoint.commits(folder)
        if not commits:
            return LearnerBook()
        known = self._shelf.get(folder)
        if known is not None and known[0] == commits[-1]:
            return known[1]
        try:
            manifest = json.loads((commits[-1] / _MANIFEST).read_bytes())
            book = LearnerBook.from_json(manifest["facts"]["books"])
        except (KeyError, OSError, TypeError, ValueError, msgspec.DecodeError) as error:
            _LOG.debug("no book folder=%s reason=%s", folder, error)
            return None
        self._shelf[folder] = commits[-1], book
        return book

    def _notes(self) -> list[dict[str, Any]]:
        return [
            {
                "name": source.name,
                "incarnation": source.incarnation,
                "due": due,
                "judged": source in self._judged,
            }
            for source, due in self._due.items()
        ]

    def _write(self) -> None:
        """Note of whom something may be lost; what cannot be written now is tried again."""
        notes = self._notes()
        if notes == self._written:
            return
        try:
            write_atomically(self._file, json.dumps(notes).encode())
            self._written = notes
        except OSError as error:
            _LOG.debug("losses not written reason=%s", child.explain(error))


def _read(file: Path) -> tuple[dict[Source, int], set[Source]]:
    """Whose losses are known at which version, and whose are; without it the head waits anew."""
    due: dict[Source, int] = {}
    judged: set[Source] = set()
    try:
        for entry in json.loads(file.read_bytes()):
            source = Source(name=str(entry["name"]), incarnation=int(entry["incarnation"]))
            due[source] = int(entry["due"])
            if entry["judged"]:
                judged.add(source)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("losses not taken up file=%s reason=%s", file, error)
    return due, judged


def _replaced(entries: Iterable[Counters]) -> set[Source]:
    """Actors that did not leave on purpose and whose name has a newer incarnation: killed ones."""
    entries = list(entries)
    newest: dict[str, int] = {}
    for entry in entries:
        name, incarnation = entry.source.name, entry.source.incarnation
        newest[name] = max(newest.get(name, 0), incarnation)
    return {
        entry.source
        for entry in entries
        if not entry.closed and entry.source.incarnation < newest[entry.source.name]
    }


def _settled(book: LearnerBook, source: Source) -> int:
    trained, dropped = book.settled(source)
    return trained + sum(dropped.values())
