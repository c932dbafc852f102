"""What a learner knows of one source's trajectories: in hand, booked, settled.

The reason of a drop is kept until its source has acknowledged it: with each trajectory the source
says below which sequence it has heard everything. So what is kept is bounded by what a source may
still ask for, not by how long the run lasts. Used by `learner_book`.
"""

from collections import Counter
from dataclasses import dataclass, field

from dm2_dist.comms.actor_book import TRAINED
from dm2_dist.comms.refusal import Reason

REACH = 1 << 16
"""Sequences from a source's floor on that are listened to; far more than an actor has room for."""


@dataclass(slots=True)
class Lane:
    """What one source sent.

    held: in hand: sequence -> its ticket, (iteration, index).
    pending: drops that are booked and not settled yet.
    trained: settled as trained, a count.
    mark: everything below is settled, and so are the sequences in `extras`.
    floor: the source knows what became of everything below.
    drops: reason of each settled sequence from `floor` on that was not trained.
    dropped: all settled drops, by reason.
    """

    held: dict[int, tuple[int, int]] = field(default_factory=dict)
    pending: dict[int, Reason] = field(default_factory=dict)
    trained: int = 0
    mark: int = 0
    floor: int = 0
    extras: set[int] = field(default_factory=set)
    drops: dict[int, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def is_settled(self, sequence: int) -> bool:
        """Whether the commit that contains its effect is on disk, or is being made."""
        return sequence < self.mark or sequence in self.extras

    def settle(self, sequence: int, outcome: str) -> None:
        """It is neither in hand nor pending any more: trained, or dropped for a reason."""
        assert not self.is_settled(sequence), "settled twice"
        self.extras.add(sequence)
        self._raise_mark()
        if outcome == TRAINED:
            self.trained += 1
            return
        self.dropped[outcome] += 1
        self.drops[sequence] = outcome

    def acknowledge(self, floor: int) -> None:
        """The source knows what became of everything below `floor`, and will not ask again."""
        if floor > self.mark:  # of what it was told before a checkpoint was lost, we know nothing
            floor = min([floor, *self.held, *self.pending])
            self.mark = max(self.mark, floor)
            self.extras = {sequence for sequence in self.extras if sequence >= self.mark}
            self._raise_mark()
        self.floor = max(self.floor, floor)
        for sequence in [known for known in self.drops if known < floor]:
            del self.drops[sequence]

    def _raise_mark(self) -> None:
        while self.mark in self.extras:
            self.extras.remove(self.mark)
            self.mark += 1
