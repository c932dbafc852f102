"""An actor's side of the books: what it produced and still has to keep, per agent.

A pure state machine: no sockets, clocks or files. An actor keeps a payload until the learner has
settled it, and sends it again whenever the conversation starts anew. Used by `actors.session`.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Payload = TypeVar("Payload")

TRAINED = "trained"
"""The outcome of a trajectory whose effect is in a checkpoint; every other outcome is a reason."""


class Account(NamedTuple):
    """Trajectories of one agent: produced = trained + dropped + unsettled."""

    produced: int
    trained: int
    dropped: dict[str, int]
    unsettled: int

    @property
    def imbalance(self) -> int:
        """Difference of the two sides; anything but 0 is a bug."""
        return self.produced - self.trained - sum(self.dropped.values()) - self.unsettled


@dataclass(slots=True)
class _Lane(Generic[Payload]):
    """The conversation with one learner.

    floor: every sequence below is settled.
    queue: sequences to send next; may still name some that were settled meanwhile.
    opening: OPEN was said and not answered; what is granted meanwhile belongs to the past.
    """

    produced: int = 0
    trained: int = 0
    floor: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unsettled: dict[int, Payload] = field(default_factory=dict)
    queue: deque[int] = field(default_factory=deque)
    incarnation: int = -1
    credits: int = 0
    opening: bool = False


class ActorBook(Generic[Payload]):
    """What one incarnation of an actor produced, for each of K agents."""

    def __init__(self, num_agents: int, capacity: int) -> None:
        """Open the book.

        Args:
            num_agents: K.
            capacity: payloads per agent that may wait for their settlement. At least the tickets of
                all iterations that may be open at once: an iteration is settled as a whole, so a
                lone actor with less room would wait for itself.
        """
        self._capacity = capacity
        self._lanes: list[_Lane[Payload]] = [_Lane() for _ in range(num_agents)]

    @property
    def capacity(self) -> int:
        """Payloads of all agents that may wait for their settlement."""
        return self._capacity * len(self._lanes)

    @property
    def is_full(self) -> bool:
        """Whether some agent has no room for another payload: play nothing more for now."""
        return self.room < 1

    @property
    def room(self) -> int:
        """Payloads that every agent has room for."""
        return self._capacity - max(len(lane.unsettled) for lane in self._lanes)

    @property
    def unsettled(self) -> int:
        """Payloads of all agents that wait for their settlement."""
        return sum(len(lane.unsettled) for lane in self._lanes)

    def produce(self, agent: int, payload: Payload) -> int:
        """Enter a payload and return its sequence; write the counter file before sending it."""
        lane = self._lanes[agent]
        assert len(lane.unsettled) < self._capacity, "ask is_full before playing"
        sequence = lane.produced
        lane.produced += 1
        lane.unsettled[sequence] = payload
        lane.queue.append(sequence)
        return sequence

    def on_open(self, agent: int) -> None:
        """OPEN was sent: send nothing until it is answered.

        What was sent before has then been received or is lost, so both sides count anew.
        """
        lane = self._lanes[agent]
        lane.opening = True
        lane.credits = 0

    def on_credit(self, agent: int, incarnation: int, amount: int, *, opens: bool = False) -> None:
        """The learner grants `amount` more messages.

        An answer to OPEN or a newer incarnation of the learner starts the conversation anew: the
        amount replaces the credits, and everything unsettled is sent again. A learner that has
        been replaced is not listened to.
        """
        lane = self._lanes[agent]
        if incarnation < lane.incarnation:
            return
        if opens or incarnation > lane.incarnation:
            lane.incarnation = incarnation
            lane.opening = False
            lane.credits = amount
            lane.queue = deque(lane.unsettled)
        elif not lane.opening:
            lane.credits += amount

    def on_settle(
        self, agent: int, incarnation: int, outcomes: Iterable[tuple[int, str]]
    ) -> list[tuple[Payload, str]]:
        """Forget payloads that are accounted for on disk.

        Returns:
            The payloads forgotten and their outcomes; repeats and the word of a replaced learner
            are no news.
        """
        lane = self._lanes[agent]
        if incarnation != lane.incarnation:
            return []
        news = []
        for sequence, outcome in outcomes:
            if sequence not in lane.unsettled:
                continue
            news.append((lane.unsettled.pop(sequence), outcome))
            if outcome == TRAINED:
                lane.trained += 1
            else:
                lane.dropped[outcome] += 1
        while lane.floor < lane.produced and lane.floor not in lane.unsettled:
            lane.floor += 1
        return news

    def payloads(self) -> Iterator[Payload]:
        """Everything that waits for its settlement."""
        for lane in self._lanes:
            yield from lane.unsettled.values()

    def incarnation(self, agent: int) -> int:
        """The learner's incarnation to address messages to; -1 before its first word."""
        return self._lanes[agent].incarnation

    def floor(self, agent: int) -> int:
        """Every sequence below is settled, and need not be remembered for us."""
        return self._lanes[agent].floor

    def produced(self, agent: int) -> int:
        """Trajectories of one agent so far."""
        return self._lanes[agent].produced

    def awaits_answer(self, agent: int) -> bool:
        """Whether the learner has not said a word yet, or OPEN was not answered."""
        lane = self._lanes[agent]
        return lane.opening or lane.incarnation < 0

    def to_send(self, agent: int) -> tuple[int, Payload] | None:
        """The next (sequence, payload) to send, or None; call `sent` once the socket took it."""
        lane = self._lanes[agent]
        while lane.queue and lane.queue[0] not in lane.unsettled:
            lane.queue.popleft()
        if not lane.queue or lane.credits < 1:
            return None
        return lane.queue[0], lane.unsettled[lane.queue[0]]

    def sent(self, agent: int, sequence: int) -> None:
        """The socket took what `to_send` named: one credit is spent."""
        lane = self._lanes[agent]
        assert lane.credits > 0, "sent without credit"
        assert lane.queue[0] == sequence, "sent something else"
        lane.queue.popleft()
        lane.credits -= 1

    def account(self, agent: int) -> Account:
        """The counts of one agent."""
        lane = self._lanes[agent]
        return Account(lane.produced, lane.trained, dict(lane.dropped), len(lane.unsettled))
