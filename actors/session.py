"""An actor's conversations: tickets and parameters come in, trajectories go out.

The session keeps what was produced until the learner has settled it, and sends it again to a
learner that was restarted. All waiting happens in `pump`, which also says the heartbeats. Fed by
`dm2_dist.comms`; used by `actors.main`.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from actors.conversation import Conversation, Parcel, ticket_of
from actors.parameter_cache import ParameterCache, Parameters
from actors.policies import Policies
from dm2_dist import ticket as tickets
from dm2_dist.comms import codec, messages, slice_body
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.counter_file import CounterFile
from dm2_dist.comms.ledger import TRAINED, ActorBook
from dm2_dist.comms.refusal import Reason
from dm2_dist.comms.sockets import Poller
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS = 1.0
_ASK_SECONDS = 0.02


class Leaving(Exception):
    """The run drains: abandon what is being played."""


class Totals(NamedTuple):
    """Trajectories of all agents."""

    produced: int
    unsettled: int


class ActorSession:
    """Everything an actor says and hears.

    phases: seconds spent by phase; env_steps and episodes: played so far.
    """

    def __init__(
        self,
        head: str,
        source: messages.Source,
        ledger: Path,
        num_agents: int,
        capacity: int,
        metrics_address: str,
    ) -> None:
        self.source = source
        self.phases: dict[str, float] = {}
        self.env_steps = 0
        self.episodes = 0
        self.book: ActorBook[Parcel] = ActorBook(num_agents, capacity)
        self._metrics_address = metrics_address
        self._num_agents = num_agents
        self._counters = CounterFile(
            ledger / f"{source.name}@{source.incarnation}.cnt", source, num_agents
        )
        self._head = HeadLink(head, source, self._hello)
        self._parameters = ParameterCache(num_agents)
        self._poller = Poller()
        self._poller.add(self._head.dealer)
        self._poller.add(self._parameters.subscriber)
        self._learners: dict[int, Conversation] = {}
        self._policies = Policies(self._parameters, self._learners)
        self._run_id = ""
        self._leases: deque[Ticket] = deque()
        self._playing: Ticket | None = None
        self._waiting = False
        self._leaving = False
        self._beat_at = self._pumped_at = self._asked_at = 0.0

    # --- what the actor asks for ---

    def next_ticket(self) -> Ticket:
        """Wait for a ticket.

        Raises:
            Leaving: the run drains.
        """
        self._playing = None
        while True:
            self._check_leaving()
            if self._leases and not self.book.is_full:
                self._playing = self._leases.popleft()
                self._waiting = bool(self._leases)
                return self._playing
            self.want(in_hand=0)
            self.pump(0.2)

    def want(self, in_hand: int) -> None:
        """Ask for the next ticket, unless that is asked for already or the books would be full.

        Args:
            in_hand: tickets that are played and not in the books yet.
        """
        if not self._waiting and self._head.welcome is not None and self.book.room > in_hand:
            self._waiting = self._head.send(messages.Want(source=self.source))

    def parameters(self, ticket: Ticket) -> tuple[Ticket, list[Parameters]] | None:
        """Wait for the parameters of a ticket; see `Policies.wait`.

        Raises:
            Leaving: the run drains.
        """

        def pump(seconds: float) -> None:
            self._check_leaving()
            self.pump(seconds)

        return self._policies.wait(ticket, pump)

    def give_back(self, ticket: Ticket) -> None:
        """This ticket cannot be played, or was refused: the head may lease it again."""
        returned = messages.Returned(source=self.source, ticket_id=ticket.ticket_id)
        self._head.send(returned)

    def cut_off(self, ticket: Ticket) -> None:
        """A lost game cut off a playing of this ticket: K trajectories that will never be sent."""
        if ticket.kind == tickets.TRAIN:
            self._counters.add_cut_off(self._num_agents)

    def deliver(self, ticket: Ticket, slices: Sequence[Slice]) -> None:
        """Enter a played ticket into the books and send each agent's slice to its learner."""
        self.want(in_hand=1)  # the head answers while the slices are packed
        for agent, part in enumerate(slices):
            tensors, body, digest = slice_body.encode_slice(part)
            self.book.produce(agent, Parcel(ticket, tensors, body, digest))
            self._counters.set_produced(agent, self.book.produced(agent))
        self.pump(0.0)

    def report(self, ticket: Ticket, part: Slice) -> None:
        """Tell the head what an evaluate ticket came to."""
        self._head.send(
            messages.Result(
                source=self.source,
                ticket_id=ticket.ticket_id,
                returns=tuple(float(value) for value in part.returns()),
                lengths=tuple(int(value) for value in part.length),
                won=tuple(bool(value) for value in part.won),
            )
        )

    def keep_alive(self) -> None:
        """Called while playing: answer what waits, at most twice a second.

        Raises:
            Leaving: the run drains.
        """
        if time.monotonic() - self._pumped_at >= _BEAT_SECONDS / 2:
            self.pump(0.0)
        self._check_leaving()

    def ask_to_leave(self) -> None:
        """Somebody wants this actor to end: from now on it raises `Leaving`; safe in a signal."""
        self._leaving = True

    def leave(self, patience: float) -> None:
        """Deliver what is unsettled, wait until it is settled, say goodbye.

        Args:
            patience: seconds after which the actor leaves all the same; what is unsettled then is
                lost and counted.
        """
        deadline = time.monotonic() + patience
        while self.book.unsettled and time.monotonic() < deadline and self._head.phase != "stop":
            self.pump(0.05)
        self._counters.close(clean=not self.book.unsettled)
        self._beat(time.monotonic())
        self._head.send(messages.Bye(source=self.source))
        for dealer in (*(each.dealer for each in self._learners.values()), self._head.dealer):
            dealer.close()
        self._parameters.subscriber.close()

    # --- the sockets ---

    def pump(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for messages, then handle and send whatever there is."""
        ready = self._poller.wait(timeout)
        now = self._pumped_at = time.monotonic()
        if self._head.dealer in ready or now - self._asked_at >= _ASK_SECONDS:
            self._asked_at = now
            for message in self._head.poll(now):
                self._from_head(message)
            self._connect()
        if self._parameters.subscriber in ready:
            self._parameters.receive()
        for agent, learner in self._learners.items():
            self._converse(agent, now, silent=learner.dealer not in ready)
        if now - self._beat_at >= _BEAT_SECONDS:
            self._beat(now)

    def _from_head(self, message: messages.Message) -> None:
        match message:
            case messages.Welcome():
                self._run_id = message.run_id
                self._waiting = False
            case messages.Lease():
                self._lease(message)
            case _:
                _LOG.warning("unexpected kind=%s", message.kind)

    def _lease(self, lease: messages.Lease) -> None:
        ticket = ticket_of(lease)
        if not ticket.seeds or len(ticket.versions) != self._num_agents:
            _LOG.warning("unplayable ticket=%s", ticket.ticket_id)
            self.give_back(ticket)
            self._waiting = False
            return
        self._leases.append(ticket)

    def _connect(self) -> None:
        """Follow the directory: learners that are new, or that listen elsewhere after a restart."""
        if not self._run_id:
            return  # the directory came before the welcome: a learner must be told which run
        for agent, (trajectories, parameters) in self._head.learners.items():
            if agent >= self._num_agents:
                _LOG.warning("unexpected learner agent=%s", agent)
                continue
            if agent not in self._learners:
                self._learners[agent] = Conversation(
                    agent, self.source, self.book, self._parameters, trajectories
                )
                self._poller.add(self._learners[agent].dealer)
            self._learners[agent].dealer.reconnect(trajectories)
            self._parameters.follow(agent, parameters)

    def _converse(self, agent: int, now: float, *, silent: bool) -> None:
        news = self._learners[agent].turn(self._run_id, now, silent=silent)
        if not news:
            return
        for parcel, outcome in news:
            self._settled(parcel.ticket, outcome)
        account = self.book.account(agent)  # once for all that one turn has settled
        self._counters.set_settled(agent, account.produced - account.unsettled)

    def _settled(self, ticket: Ticket, outcome: str) -> None:
        """What was not trained may have to be played again; a duplicate's twin may be lost."""
        if outcome not in (TRAINED, Reason.SHUTDOWN):
            self.give_back(ticket)

    def _hello(self, source: messages.Source) -> messages.Hello:
        return messages.Hello(
            protocol=messages.PROTOCOL,
            source=source,
            role="actor",
            pid=os.getpid(),
            metrics_address=self._metrics_address,
            holding=self._holding(),
        )

    def _holding(self) -> tuple[str, ...]:
        """Tickets that a new head must not lease again: the one in play and those not settled."""
        held = {parcel.ticket.ticket_id for parcel in self.book.payloads()}
        if self._playing is not None:
            held.add(self._playing.ticket_id)
        held.update(ticket.ticket_id for ticket in self._leases)
        return tuple(sorted(held))

    def totals(self) -> Totals:
        """Trajectories of all agents, produced and unsettled."""
        produced = sum(self.book.account(agent).produced for agent in range(self._num_agents))
        return Totals(produced, self.book.unsettled)

    def held(self) -> dict[str, tuple[int, int]]:
        """Bytes kept here and the most that may be: of unsettled trajectories, of parameters."""
        cache, parcels = self._parameters, self.book.payloads()
        return {
            "unsettled": (sum(len(p.body) for p in parcels), self.book.capacity * codec.BODY_LIMIT),
            "parameters": (cache.num_bytes, cache.limit_bytes),
        }

    def _beat(self, now: float) -> None:
        self._beat_at = now
        totals = self.totals()
        self._head.send(
            messages.ActorBeat(
                source=self.source,
                env_steps=self.env_steps,
                episodes=self.episodes,
                produced=totals.produced,
                unsettled=totals.unsettled,
                phases=dict(self.phases),
            )
        )

    def _check_leaving(self) -> None:
        if self._leaving or self._head.phase != "run":
            raise Leaving
