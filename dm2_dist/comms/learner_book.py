"""A learner's side of the books: what arrived, what was made of it, and what it may tell.

A pure state machine: no sockets, clocks or files. Its settled part is stored in the checkpoint, so
parameters and books move forward, or back after a crash, in one step. What was not in the last
checkpoint is forgotten on purpose: the actors still have it and send it again.
Used by `learners.journal` and `learners.intake`.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

from dm2_dist.comms.actor_book import TRAINED
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason


class Verdict(StrEnum):
    """What to do with a trajectory; whichever it is, the sender may send one more."""

    ACCEPT = "accept"
    """New: decode it and keep it for its iteration, or `drop` it."""
    RESENT = "resent"
    """In hand already, or its drop is booked, and not settled yet: ignore the copy."""
    SETTLED = "settled"
    """Settled in a checkpoint on disk: tell its `outcome` again."""
    DROP = "drop"
    """Booked as dropped: forget it; the next commit settles it."""


class Settlement(NamedTuple):
    """One sequence of one source that is accounted for; outcome: `trained` or a reason."""

    source: Source
    sequence: int
    outcome: str


class LearnerAccount(NamedTuple):
    """Trajectories of one agent: received = trained + dropped + buffered."""

    received: int
    trained: int
    dropped: dict[str, int]
    buffered: int

    @property
    def imbalance(self) -> int:
        """Difference of the two sides; anything but 0 is a bug."""
        return self.received - self.trained - sum(self.dropped.values()) - self.buffered


@dataclass(slots=True)
class _Marks:
    """What is settled of one source: everything below `mark`, and the sequences in `extras`.

    drops: reason of each settled sequence that was not trained.
    """

    trained: int = 0
    mark: int = 0
    extras: set[int] = field(default_factory=set)
    drops: dict[int, str] = field(default_factory=dict)

    def is_settled(self, sequence: int) -> bool:
        return sequence < self.mark or sequence in self.extras

    def settle(self, sequence: int, outcome: str) -> None:
        assert not self.is_settled(sequence), "settled twice"
        self.extras.add(sequence)
        while self.mark in self.extras:
            self.extras.remove(self.mark)
            self.mark += 1
        if outcome == TRAINED:
            self.trained += 1
        else:
            self.drops[sequence] = outcome


class _SourceRecord(msgspec.Struct, frozen=True):
    name: str
    incarnation: int
    trained: int
    mark: int
    extras: list[int]
    drops: dict[int, str]


class _BookRecord(msgspec.Struct, frozen=True):
    version: int
    rolled_back: bool
    sources: list[_SourceRecord]


class LearnerBook:
    """What one learner received for one agent.

    version: iterations trained; tickets of earlier iterations are never trained again.
    rolled_back: a checkpoint was lost after its trajectories had been settled.
    """

    def __init__(self, version: int = 0) -> None:
        """Open an empty book after `version` iterations."""
        self.version = version
        self.rolled_back = False
        self._received = 0
        self._marks: dict[Source, _Marks] = {}
        self._tickets: dict[tuple[int, int], tuple[Source, int]] = {}
        self._buffered: dict[tuple[Source, int], tuple[int, int]] = {}
        self._pending: dict[tuple[Source, int], Reason] = {}
        self._draining: Reason | None = None

    def receive(self, source: Source, sequence: int, iteration: int, index: int) -> Verdict:
        """Judge a trajectory by its header, before its body is decoded.

        Args:
            source: who sent it.
            sequence: its number among those of this source and agent.
            iteration: of its ticket.
            index: of its ticket in the iteration.
        """
        known = self._known(source, sequence)
        if known is not None:
            return known
        self._received += 1
        reason = self._reason_to_drop(iteration, index)
        if reason is not None:
            self._pending[source, sequence] = reason
            return Verdict.DROP
        self._tickets[iteration, index] = source, sequence
        self._buffered[source, sequence] = iteration, index
        return Verdict.ACCEPT

    def drop(self, source: Source, sequence: int, reason: Reason) -> Verdict:
        """Book a trajectory as dropped, whether it was accepted before or never judged.

        Its ticket is open again for another copy, from another playing of it: this one is settled
        with the next commit and not sent again.
        """
        if (source, sequence) in self._buffered:
            self._forget(source, sequence)
        else:
            known = self._known(source, sequence)
            if known is not None:
                return known
            self._received += 1
        self._pending[source, sequence] = reason
        return Verdict.DROP

    def drop_all(self, reason: Reason) -> None:
        """Book everything in hand as dropped, and whatever new arrives later; for a drain."""
        self._draining = reason
        for source, sequence in list(self._buffered):
            self.drop(source, sequence, reason)

    def commit(self, iteration: int) -> list[Settlement]:
        """Book an iteration as trained, all of it, and settle the drops booked so far.

        NOTE: it is true only once `to_json` is on disk: until then tell nobody, receive nothing.

        Returns:
            What to tell the sources in SETTLE.
        """
        assert iteration == self.version, "iterations are trained in order"
        trained = [
            Settlement(*self._tickets[ticket], TRAINED)
            for ticket in sorted(self._tickets)
            if ticket[0] == iteration
        ]
        for source, sequence, outcome in trained:
            self._forget(source, sequence)
            self._marks.setdefault(source, _Marks()).settle(sequence, outcome)
        self.version = iteration + 1
        return trained + self.commit_drops()

    def commit_drops(self) -> list[Settlement]:
        """Settle the drops booked so far, without an iteration; see `commit`."""
        dropped = [Settlement(*key, reason.value) for key, reason in self._pending.items()]
        for source, sequence, outcome in dropped:
            self._marks.setdefault(source, _Marks()).settle(sequence, outcome)
        self._pending.clear()
        return dropped

    def outcome(self, source: Source, sequence: int) -> str:
        """The outcome of a settled sequence."""
        marks = self._marks[source]
        assert marks.is_settled(sequence), "not settled"
        return marks.drops.get(sequence, TRAINED)

    def buffered(self) -> dict[int, tuple[int, ...]]:
        """Per open iteration, the ticket indices in hand, ascending."""
        indices: dict[int, list[int]] = {}
        for iteration, index in sorted(self._tickets):
            indices.setdefault(iteration, []).append(index)
        return {iteration: tuple(found) for iteration, found in indices.items()}

    def account(self) -> LearnerAccount:
        """The counts of all sources; drops count from the moment they are booked."""
        dropped = Counter(reason.value for reason in self._pending.values())
        for marks in self._marks.values():
            dropped.update(marks.drops.values())
        return LearnerAccount(
            received=self._received,
            trained=sum(marks.trained for marks in self._marks.values()),
            dropped=dict(dropped),
            buffered=len(self._buffered),
        )

    def settled(self, source: Source) -> tuple[int, dict[str, int]]:
        """Settled trajectories of one source: trained, and dropped by reason."""
        marks = self._marks.get(source, _Marks())
        return marks.trained, dict(Counter(marks.drops.values()))

    def sources(self) -> list[Source]:
        """Everyone of whom something is settled."""
        return list(self._marks)

    def note_rollback(self) -> None:
        """The newest checkpoint was unreadable: some of what actors forgot was never trained."""
        self.rolled_back = True

    def to_json(self) -> str:
        """The settled part, for the checkpoint."""
        sources = [
            _SourceRecord(
                source.name,
                source.incarnation,
                marks.trained,
                marks.mark,
                sorted(marks.extras),
                marks.drops,
            )
            for source, marks in self._marks.items()
        ]
        return msgspec.json.encode(_BookRecord(self.version, self.rolled_back, sources)).decode()

    @classmethod
    def from_json(cls, text: str) -> "LearnerBook":
        """Read back what `to_json` wrote.

        Raises:
            msgspec.DecodeError: something else was written.
        """
        record = msgspec.json.decode(text, type=_BookRecord)
        book = cls(record.version)
        book.rolled_back = record.rolled_back
        for entry in record.sources:
            source = Source(name=entry.name, incarnation=entry.incarnation)
            book._marks[source] = _Marks(
                entry.trained, entry.mark, set(entry.extras), dict(entry.drops)
            )
            book._received += entry.trained + len(entry.drops)
        return book

    def _known(self, source: Source, sequence: int) -> Verdict | None:
        marks = self._marks.get(source)
        if marks is not None and marks.is_settled(sequence):
            return Verdict.SETTLED
        if (source, sequence) in self._buffered or (source, sequence) in self._pending:
            return Verdict.RESENT
        return None

    def _reason_to_drop(self, iteration: int, index: int) -> Reason | None:
        if self._draining is not None:
            return self._draining
        if iteration < self.version or (iteration, index) in self._tickets:
            return Reason.DUPLICATE
        return None

    def _forget(self, source: Source, sequence: int) -> None:
        del self._tickets[self._buffered.pop((source, sequence))]
