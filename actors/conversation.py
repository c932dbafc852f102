"""An actor's conversation with one learner: OPEN, trajectories and GET out; answers in.

Whatever breaks, the cure is the same: say OPEN again, and everything unsettled is sent again. Owned
by `actors.session`, which hands in the books and keeps the parameters.
"""

import logging
from typing import NamedTuple

from actors.parameter_cache import ParameterCache
from dm2_dist.comms import codec, messages
from dm2_dist.comms.keys import Role
from dm2_dist.comms.ledger import ActorBook
from dm2_dist.comms.refusal import Refused
from dm2_dist.comms.sockets import Dealer, Frames
from dm2_dist.ticket import Ticket

_LOG = logging.getLogger(__name__)
_OPEN_SECONDS = 1.0
_SILENT_SECONDS = 0.05


class RefusedByLearnerError(RuntimeError):
    """A learner does not talk with this incarnation of the actor; the message is its reason."""


class Parcel(NamedTuple):
    """A slice on its way: all of a TRAJECTORY that does not depend on the learner's incarnation."""

    ticket: Ticket
    tensors: tuple[messages.TensorSpec, ...]
    body: bytes
    digest: str


class Conversation:
    """What is said between this actor and the learner of one agent.

    unavailable: the learner has said that it lacks a version; for the owner to reset.
    refused: messages of the learner that could not be read.
    """

    def __init__(
        self,
        agent: int,
        source: messages.Source,
        book: ActorBook[Parcel],
        parameters: ParameterCache,
        address: str,
    ) -> None:
        """Connect to the learner of `agent` at `address`."""
        self.agent, self.unavailable, self.refused = agent, False, 0
        self.dealer = Dealer(address, source.identity, Role.LEARNER)
        self._source, self._book, self._parameters = source, book, parameters
        self._opened_at = self._heard_at = float("-inf")
        self._garbled = False

    def ask(self, version: int) -> None:
        """Ask for one version of the learner's parameters."""
        self.dealer.send(messages.Get(source=self._source, version=version))

    def turn(self, run_id: str, now: float, *, silent: bool = False) -> list[tuple[Parcel, str]]:
        """Open the conversation where needed, hear the learner out, send what it granted.

        Args:
            run_id: of this run.
            now: monotonic seconds.
            silent: a poll has just found that the learner says nothing; then only what is granted
                is sent, except now and then.

        Returns:
            What is settled now, with its outcome.

        Raises:
            RefusedByLearnerError: the learner does not talk with this actor.
        """
        if silent and now - self._heard_at < _SILENT_SECONDS:
            self._send(run_id)
            return []
        self._heard_at = now
        if self.dealer.failure:
            raise RefusedByLearnerError(self.dealer.failure)
        if self.dealer.take_connected() or self._opened_at == float("-inf"):
            self._open(run_id, now)
        news = []
        while (frames := self.dealer.recv()) is not None:
            news.extend(self.hear(frames))
        anew = self._garbled or self._book.awaits_answer(self.agent)
        if anew and now - self._opened_at >= _OPEN_SECONDS:
            self._open(run_id, now)
        self._send(run_id)
        return news

    def _send(self, run_id: str) -> None:
        """Send what is granted, as long as the socket takes it."""
        while (entry := self._book.to_send(self.agent)) is not None:
            sequence, parcel = entry
            if not self.dealer.send(self._trajectory(run_id, sequence, parcel), parcel.body):
                return
            self._book.sent(self.agent, sequence)

    def _open(self, run_id: str, now: float) -> None:
        self._opened_at = now
        opening = messages.Open(protocol=messages.PROTOCOL, source=self._source, run_id=run_id)
        if self.dealer.send(opening):
            self._garbled = False
            self._book.on_open(self.agent)

    def hear(self, frames: Frames) -> list[tuple[Parcel, str]]:
        """Take in one message of the learner; returns what it settles. See `turn`."""
        try:
            message = codec.unpack(frames.header, messages.TRAJECTORY_KINDS)
        except Refused as refusal:
            # A credit or a settlement may be lost: the answer to OPEN makes up for both.
            self.refused += 1
            self._garbled = True
            _LOG.warning("refused agent=%s reason=%s", self.agent, refusal)
            return []
        match message:
            case messages.Parameters(agent=self.agent) if frames.body is not None:
                self._parameters.keep(message, bytes(frames.body))
            case messages.Credit():
                self._book.on_credit(
                    self.agent, message.learner_incarnation, message.amount, opens=message.opens
                )
            case messages.Settle():
                return self._book.on_settle(
                    self.agent, message.learner_incarnation, message.outcomes
                )
            case messages.Reject():
                raise RefusedByLearnerError(
                    f"learner {self.agent} refuses this actor: {message.reason}"
                )
            case messages.Missing():
                _LOG.warning("missing agent=%s version=%s", message.agent, message.version)
                self.unavailable = True
            case _:
                _LOG.warning("unexpected kind=%s", message.kind)
        return []

    def _trajectory(self, run_id: str, sequence: int, parcel: Parcel) -> messages.Trajectory:
        return messages.Trajectory(
            source=self._source,
            learner_incarnation=self._book.incarnation(self.agent),
            run_id=run_id,
            agent=self.agent,
            sequence=sequence,
            iteration=parcel.ticket.iteration,
            index=parcel.ticket.index,
            versions=parcel.ticket.versions,
            tensors=parcel.tensors,
            digest=parcel.digest,
            floor=self._book.floor(self.agent),
        )


def ticket_of(lease: messages.Lease) -> Ticket:
    """The ticket that the head leases."""
    return Ticket(
        kind=lease.ticket_kind,
        iteration=lease.iteration,
        index=lease.index,
        seeds=lease.seeds,
        versions=lease.versions,
        greedy=lease.greedy,
        newest=lease.newest,
    )
