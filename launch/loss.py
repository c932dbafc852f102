"""Trajectories that are lost, counted while the run goes on: as soon as nobody can have them.

What a killed actor produced may still lie with a learner. Once the learner has committed every
iteration that was open when the actor was gone, whatever it has not settled is lost. The end of the
run counts once more, with everything: `dm2_dist.comms.ledger`. Used by `launch.head_main`.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from dm2_dist import checkpoint
from dm2_dist.comms.ledger import ACTOR_DIED, ROLLED_BACK, Counters, LearnerBook
from dm2_dist.comms.messages import Source

_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"


class Losses:
    """What is lost, by cause.

    totals: trajectories known to be lost so far; they only grow.
    """

    def __init__(self, folders: Sequence[Path], horizon: int) -> None:
        """Nothing is lost yet.

        Args:
            folders: checkpoints of each agent, [K].
            horizon: iterations after which nothing is in hand any more that is in hand now.
        """
        self.totals: Counter[str] = Counter()
        self._folders, self._horizon = folders, horizon
        self._due: dict[Source, int] = {}
        self._closed: set[Source] = set()
        self._rolled_back: dict[tuple[Source, int], int] = {}
        self._learner_restarts = 0
        self._suspect_until = -1

    def look(self, counters: Iterable[Counters], version: int, learner_restarts: int) -> None:
        """Compare what actors noted with the learners' newest commits, where that may tell.

        Args:
            counters: of every actor with a counter file here, read before this call.
            version: iterations that every learner has committed; negative while that is not known.
            learner_restarts: so far.
        """
        known = {entry.source: entry for entry in counters if not entry.announced}
        dead = _replaced(known.values()) - self._closed
        for source in dead:
            self._due.setdefault(source, max(version, 0) + self._horizon)
        if learner_restarts > self._learner_restarts:
            self._learner_restarts = learner_restarts
            self._suspect_until = max(version, 0) + self._horizon
        due = [source for source in dead if version >= self._due[source]]
        if not due and version > self._suspect_until:
            return
        books = [_newest_book(folder) for folder in self._folders]
        whole = [book for book in books if book is not None and book.version >= version]
        if len(whole) < len(books):
            return  # a commit is being written or is damaged: look again
        self._look_back([known[source] for source in known.keys() - dead], whole)
        for source in due:
            self._close(known[source], whole)

    def _close(self, entry: Counters, books: Sequence[LearnerBook]) -> None:
        """Nobody can have anything of this actor any more."""
        produced = zip(entry.produced, books, strict=True)
        lost = sum(max(count - _settled(book, entry.source), 0) for count, book in produced)
        self.totals[ACTOR_DIED] += lost
        self._closed.add(entry.source)
        del self._due[entry.source]
        _LOG.info("lost source=%s count=%s cause=%s", entry.source.name, lost, ACTOR_DIED)

    def _look_back(self, entries: Iterable[Counters], books: Sequence[LearnerBook]) -> None:
        """What an actor heard to be settled must be in the book, unless the book fell back."""
        for entry in entries:
            for agent, (heard, book) in enumerate(zip(entry.settled, books, strict=True)):
                missing = heard - _settled(book, entry.source) if book.rolled_back else 0
                if missing > self._rolled_back.get((entry.source, agent), 0):
                    self._rolled_back[entry.source, agent] = missing
        self.totals[ROLLED_BACK] = sum(self._rolled_back.values())


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


def _newest_book(folder: Path) -> LearnerBook | None:
    """What the newest commit of an agent accounts for; None if it cannot be read now."""
    try:
        manifest = json.loads((checkpoint.commits(folder)[-1] / _MANIFEST).read_bytes())
        return LearnerBook.from_json(manifest["facts"]["books"])
    except (IndexError, KeyError, OSError, TypeError, ValueError, msgspec.DecodeError) as error:
        _LOG.debug("no book folder=%s reason=%s", folder, error)
        return None


def _settled(book: LearnerBook, source: Source) -> int:
    trained, dropped = book.settled(source)
    return trained + sum(dropped.values())
