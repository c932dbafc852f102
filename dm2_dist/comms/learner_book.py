"""A learner's side of the books: what arrived, what was made of it, and what it may tell.

A pure state machine: no sockets, clocks or files. Its settled part is stored in the checkpoint, so
parameters and books move forward, or back after a crash, in one step. What was not in the last
checkpoint is forgotten on purpose: the actors still have it and send it again.
Used by `learners.journal` and `learners.intake`.
"""

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

import msgspec

from dm2_dist.comms.actor_book import TRAINED
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason
from dm2_dist.comms.source_lane import Lane


class Verdict(StrEnum):
    """What to do with a trajectory; whichever it is, the sender may send one more."""

    ACCEPT = "accept"
    """New: decode it and keep it for its iteration, or `drop` it."""
    RESENT = "resent"
    """In hand already, or its drop is booked, and not settled yet; or settled, and its sender has
    said that it knows: ignore the copy."""
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


class _SourceRecord(msgspec.Struct, frozen=True):
    name: str
    incarnation: int
    trained: int
    mark: int
    extras: list[int]
    drops: dict[int, str]
    floor: int = 0
    dropped: dict[str, int] | None = None


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
        self._num_held = 0
        self._lanes: dict[Source, Lane] = {}
        self._tickets: dict[int, dict[int, tuple[Source, int]]] = {}
        self._draining: Reason | None = None

    @property
    def num_buffered(self) -> int:
        """Trajectories in hand."""
        return self._num_held

    def receive(
        self, source: Source, sequence: int, iteration: int, index: int, floor: int = 0
    ) -> Verdict:
        """Judge a trajectory by its header, before its body is decoded.

        Args:
            source: who sent it.
            sequence: its number among those of this source and agent.
            iteration: of its ticket.
            index: of its ticket in the iteration.
            floor: the source has heard what became of every sequence below.
        """
        lane = self._lane(source)
        if floor > lane.floor:
            lane.acknowledge(floor)
        known = self._known(lane, sequence)
        if known is not None:
            return known
        self._received += 1
        tickets = self._tickets.get(iteration)
        if tickets is None:
            tickets = self._tickets[iteration] = {}
        if self._draining is not None or iteration < self.version or index in tickets:
            lane.pending[sequence] = self._draining or Reason.DUPLICATE
            return Verdict.DROP
        tickets[index] = source, sequence
        lane.held[sequence] = iteration, index
        self._num_held += 1
        return Verdict.ACCEPT

    def drop(self, source: Source, sequence: int, reason: Reason) -> Verdict:
        """Book a trajectory as dropped, whether it was accepted before or never judged.

        Its ticket is open again for another copy, from another playing of it: this one is settled
        with the next commit and not sent again.
        """
        lane = self._lane(source)
        if sequence in lane.held:
            self._forget(lane, sequence)
        else:
            known = self._known(lane, sequence)
            if known is not None:
                return known
            self._received += 1
        lane.pending[sequence] = reason
        return Verdict.DROP

    def drop_all(self, reason: Reason) -> None:
        """Book everything in hand as dropped, and whatever new arrives later; for a drain."""
        self._draining = reason
        for source, lane in self._lanes.items():
            for sequence in list(lane.held):
                self.drop(source, sequence, reason)

    def commit(self, iteration: int) -> list[Settlement]:
        """Book an iteration as trained, all of it, and settle the drops booked so far.

        NOTE: it is true only once `to_json` is on disk: until then tell nobody, receive nothing.

        Returns:
            What to tell the sources in SETTLE.
        """
        assert iteration == self.version, "iterations are trained in order"
        tickets = self._tickets.get(iteration, {})
        trained = [Settlement(*tickets[index], TRAINED) for index in sorted(tickets)]
        for source, sequence, outcome in trained:
            lane = self._lanes[source]
            self._forget(lane, sequence)
            lane.settle(sequence, outcome)
        self.version = iteration + 1
        self._tickets = {at: kept for at, kept in self._tickets.items() if at > iteration and kept}
        return trained + self.commit_drops()

    def commit_drops(self) -> list[Settlement]:
        """Settle the drops booked so far, without an iteration; see `commit`."""
        dropped = []
        for source, lane in self._lanes.items():
            for sequence, reason in lane.pending.items():
                dropped.append(Settlement(source, sequence, reason.value))
                lane.settle(sequence, reason.value)
            lane.pending.clear()
        return dropped

    def outcome(self, source: Source, sequence: int) -> str:
        """The outcome of a settled sequence that its source has not acknowledged."""
        lane = self._lanes[source]
        assert lane.is_settled(sequence), "not settled"
        assert sequence >= lane.floor, "acknowledged"
        return lane.drops.get(sequence, TRAINED)

    def buffered(self) -> dict[int, tuple[int, ...]]:
        """Per open iteration, the ticket indices in hand, ascending."""
        return {
            iteration: tuple(sorted(tickets))
            for iteration, tickets in sorted(self._tickets.items())
            if tickets
        }

    def account(self) -> LearnerAccount:
        """The counts of all sources; drops count from the moment they are booked."""
        dropped: Counter[str] = Counter()
        for lane in self._lanes.values():
            dropped.update(lane.dropped)
            dropped.update(reason.value for reason in lane.pending.values())
        return LearnerAccount(
            received=self._received,
            trained=sum(lane.trained for lane in self._lanes.values()),
            dropped=dict(dropped),
            buffered=sum(len(lane.held) for lane in self._lanes.values()),
        )

    def settled(self, source: Source) -> tuple[int, dict[str, int]]:
        """Settled trajectories of one source: trained, and dropped by reason."""
        lane = self._lanes.get(source, Lane())
        return lane.trained, dict(lane.dropped)

    def sources(self) -> list[Source]:
        """Everyone of whom something is settled."""
        return [source for source, lane in self._lanes.items() if lane.trained or lane.dropped]

    def kept_reasons(self) -> int:
        """Settled drops whose reason is kept because their source may still ask."""
        return sum(len(lane.drops) for lane in self._lanes.values())

    def note_rollback(self) -> None:
        """The newest checkpoint was unreadable: some of what actors forgot was never trained."""
        self.rolled_back = True

    def to_json(self) -> str:
        """The settled part, for the checkpoint."""
        sources = [
            _SourceRecord(
                source.name,
                source.incarnation,
                lane.trained,
                lane.mark,
                sorted(lane.extras),
                lane.drops,
                lane.floor,
                lane.dropped,
            )
            for source, lane in self._lanes.items()
            if lane.mark or lane.extras
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
            lane = book._lanes[source] = Lane(
                trained=entry.trained,
                mark=entry.mark,
                floor=entry.floor,
                extras=set(entry.extras),
                drops=dict(entry.drops),
                # Before there was a floor, every reason was kept.
                dropped=Counter(entry.drops.values() if entry.dropped is None else entry.dropped),
            )
            book._received += lane.trained + lane.dropped.total()
        return book

    def _lane(self, source: Source) -> Lane:
        lane = self._lanes.get(source)
        if lane is None:
            lane = self._lanes[source] = Lane()
        return lane

    def _known(self, lane: Lane, sequence: int) -> Verdict | None:
        if lane.is_settled(sequence):
            return Verdict.SETTLED if sequence >= lane.floor else Verdict.RESENT
        return Verdict.RESENT if sequence in lane.held or sequence in lane.pending else None

    def _forget(self, lane: Lane, sequence: int) -> None:
        iteration, index = lane.held.pop(sequence)
        del self._tickets[iteration][index]
        self._num_held -= 1
