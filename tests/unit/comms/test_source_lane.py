"""What a learner keeps of a source is bounded by what the source may still ask for."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.comms.actor_book import ActorBook
from dm2_dist.comms.ledger import LearnerBook, Verdict
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason

SOURCE = Source(name="actor-0", incarnation=1)
CAPACITY = 6


HARM = {0: Reason.NONFINITE, 1: Reason.STALE}


class Exchange:
    """An actor and a learner; iteration i is the actor's trajectory i, whole or spoilt.

    spoilt: sequence -> what is wrong with it, 2 and more for nothing; fate: as it was settled;
    heard: outcomes that the actor heard of.
    """

    def __init__(self):
        self.actor, self.book = ActorBook(1, CAPACITY), LearnerBook()
        self.spoilt, self.fate, self.heard = {}, {}, Counter()
        self.open()

    def open(self):
        self.actor.on_credit(0, 1, 10**6, opens=True)

    def restart(self):
        self.book = LearnerBook.from_json(self.book.to_json())
        self.open()

    def hear(self, pairs):
        self.heard.update(outcome for _, outcome in self.actor.on_settle(0, 1, pairs))

    def deliver(self):
        while (entry := self.actor.to_send(0)) is not None:
            sequence, floor = entry[0], self.actor.floor(0)
            self.actor.sent(0, sequence)
            verdict = self.book.receive(SOURCE, sequence, sequence, 0, floor)
            assert self.book.kept_reasons() <= self.actor.produced(0) - floor
            if verdict is Verdict.SETTLED:
                outcome = self.book.outcome(SOURCE, sequence)
                assert outcome == self.fate[sequence]
                self.hear([(sequence, outcome)])
            elif verdict is Verdict.ACCEPT and self.spoilt[sequence] in HARM:
                self.book.drop(SOURCE, sequence, HARM[self.spoilt[sequence]])

    def settle(self, *, lost):
        """Drops at once, an iteration when it is in hand or was dropped."""
        settlements = self.book.commit_drops()
        if self.book.version in {**self.book.buffered(), **self.fate, **dict(settled(settlements))}:
            settlements += self.book.commit(self.book.version)
        self.fate.update(settled(settlements))
        if not lost:
            self.hear(settled(settlements))


def settled(settlements):
    return [(each.sequence, each.outcome) for each in settlements]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()),
        min_size=1,
        max_size=80,
    )
)
def test_an_actor_hears_every_fate_and_the_book_stays_small(steps):
    """Settlements get lost, the learner restarts; both count the same in the end."""
    world = Exchange()
    for spoilt, lost, restarts, again in steps:
        if not world.actor.is_full:
            world.spoilt[world.actor.produce(0, None)] = spoilt
        if again:
            world.open()
        world.deliver()
        world.settle(lost=lost)
        if restarts:
            world.restart()
    for _ in range(2 * len(steps)):
        world.open()
        world.deliver()
        world.settle(lost=False)
    account = world.book.account()
    assert world.actor.unsettled == account.imbalance == world.actor.account(0).imbalance == 0
    assert account.received == world.actor.produced(0) == len(world.fate)
    assert world.heard == Counter(world.fate.values())
    assert account.dropped == {k: v for k, v in world.heard.items() if k != "trained"}


def dropped_book(count):
    book = LearnerBook(version=5)
    for sequence in range(count):
        assert book.receive(SOURCE, sequence, 0, 0) is Verdict.DROP
    book.commit_drops()
    return book


def test_an_acknowledged_reason_is_forgotten_and_still_counted():
    book = dropped_book(1000)
    assert book.kept_reasons() == 1000
    size = len(book.to_json())
    assert book.receive(SOURCE, 1000, 9, 0, floor=999) is Verdict.ACCEPT
    assert book.kept_reasons() == 1
    assert book.account().dropped == {"duplicate": 1000}
    assert len(book.to_json()) < size / 20
    assert book.receive(SOURCE, 998, 0, 0, floor=0) is Verdict.RESENT
    assert book.receive(SOURCE, 999, 0, 0, floor=0) is Verdict.SETTLED
    again = LearnerBook.from_json(book.to_json())
    assert again.account().dropped == {"duplicate": 1000}
    assert again.receive(SOURCE, 5, 0, 0) is Verdict.RESENT
    assert again.outcome(SOURCE, 999) == "duplicate"


def test_a_book_of_before_there_was_a_floor_is_read():
    text = (
        '{"version":3,"rolled_back":false,"sources":[{"name":"actor-0","incarnation":1,'
        '"trained":2,"mark":3,"extras":[],"drops":{"1":"stale"}}]}'
    )
    book = LearnerBook.from_json(text)
    assert book.account().dropped == {"stale": 1}
    assert book.settled(SOURCE) == (2, {"stale": 1})
    assert book.outcome(SOURCE, 1) == "stale"


def test_what_is_in_hand_cannot_be_acknowledged():
    """A source that claims to know the fate of what has none yet changes nothing."""
    book = LearnerBook()
    assert book.receive(SOURCE, 0, 0, 0) is Verdict.ACCEPT
    assert book.receive(SOURCE, 7, 0, 1, floor=7) is Verdict.ACCEPT
    assert book.receive(SOURCE, 0, 0, 0) is Verdict.RESENT
    assert [each.sequence for each in book.commit(0)] == [0, 7]
    assert book.account().trained == 2


def test_what_was_settled_before_a_lost_checkpoint_leaves_no_gap():
    """After a rollback the book has never seen what its source knows to be settled."""
    book = LearnerBook()
    for sequence in range(500, 600):
        assert book.receive(SOURCE, sequence, sequence - 500, 0, floor=500) is Verdict.ACCEPT
        book.commit(sequence - 500)
    assert len(book.to_json()) < 250
