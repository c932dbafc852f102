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

from actors.parameter_cache import ParameterCache, Parameters
from dm2_dist import ticket as tickets
from dm2_dist.comms import codec, messages
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.counter_file import CounterFile
from dm2_dist.comms.ledger import TRAINED, ActorBook
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.comms.sockets import Dealer, Frames, Poller
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS = 1.0
_OPEN_SECONDS = 1.0
_GET_SECONDS = 0.5


class Leaving(Exception):
    """The run drains: abandon what is being played."""


class _Parcel(NamedTuple):
    """A slice on its way: all of a TRAJECTORY that does not depend on the learner's incarnation."""

    ticket: Ticket
    tensors: tuple[messages.TensorSpec, ...]
    body: bytes
    digest: str


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
        self.book: ActorBook[_Parcel] = ActorBook(num_agents, capacity)
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
        self._learners: dict[int, Dealer] = {}
        self._opened_at: dict[int, float] = {}
        self._run_id = ""
        self._leases: deque[Ticket] = deque()
        self._playing: Ticket | None = None
        self._waiting = False
        self._unavailable = False
        self._beat_at = 0.0

    # --- what the actor asks for ---

    def next_ticket(self) -> Ticket:
        """Wait for a ticket.

        Raises:
            Leaving: the run drains.
        """
        self._playing = None
        self._waiting = bool(self._leases)
        while True:
            self._check_leaving()
            if self._leases:
                self._playing = self._leases.popleft()
                return self._playing
            if not self._waiting and self._head.welcome is not None and not self.book.is_full:
                self._waiting = self._head.send(messages.Want(source=self.source))
            self.pump(0.2)

    def parameters(self, versions: Sequence[int]) -> list[Parameters] | None:
        """Wait for the policies of a ticket, one per seat, asking for what was not published to us.

        Returns:
            The policies, or None if a learner has no such version (any more).

        Raises:
            Leaving: the run drains.
        """
        asked_at = 0.0
        self._unavailable = False
        while not self._unavailable:
            self._check_leaving()
            missing = self._parameters.missing(versions)
            if not missing:
                policies = self._parameters.take(versions)
                if policies is not None:
                    return policies
                continue
            now = time.monotonic()
            if now - asked_at >= _GET_SECONDS:
                asked_at = now
                for agent in missing:
                    if agent in self._learners:
                        get = messages.Get(source=self.source, version=versions[agent])
                        self._learners[agent].send(get)
            self.pump(0.05)
        return None

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
        for agent, part in enumerate(slices):
            tensors, body, digest = codec.encode_slice(part)
            self.book.produce(agent, _Parcel(ticket, tensors, body, digest))
            self._counters.set_produced(agent, self.book.account(agent).produced)
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
        if time.monotonic() - self._beat_at >= _BEAT_SECONDS / 2:
            self.pump(0.0)
        self._check_leaving()

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
        for dealer in (*self._learners.values(), self._head.dealer):
            dealer.close()
        self._parameters.subscriber.close()

    # --- the sockets ---

    def pump(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for messages, then handle and send whatever there is."""
        self._poller.wait(timeout)
        now = time.monotonic()
        for message in self._head.poll(now):
            self._from_head(message)
        self._parameters.receive()
        for agent, dealer in self._learners.items():
            self._converse(agent, dealer, now)
        if now - self._beat_at >= _BEAT_SECONDS:
            self._beat(now)

    def _from_head(self, message: messages.Message) -> None:
        match message:
            case messages.Welcome():
                self._run_id = message.run_id
                self._waiting = False
            case messages.Lease():
                self._leases.append(
                    Ticket(
                        kind=message.ticket_kind,
                        iteration=message.iteration,
                        index=message.index,
                        seeds=message.seeds,
                        versions=message.versions,
                        greedy=message.greedy,
                    )
                )
            case _:
                _LOG.warning("unexpected kind=%s", message.kind)
        self._connect()

    def _connect(self) -> None:
        """Follow the directory: learners that are new, or that listen elsewhere after a restart."""
        for agent, (trajectories, parameters) in self._head.learners.items():
            if agent not in self._learners:
                identity = f"{self.source.name}.{self.source.incarnation}".encode()
                self._learners[agent] = Dealer(trajectories, identity)
                self._poller.add(self._learners[agent])
            self._learners[agent].reconnect(trajectories)
            self._parameters.follow(agent, parameters)

    def _converse(self, agent: int, dealer: Dealer, now: float) -> None:
        """Open the conversation where needed, hear the learner out, send what it granted."""
        if dealer.take_connected() or agent not in self._opened_at:
            self._open(agent, dealer, now)
        while (frames := dealer.recv()) is not None:
            self._from_learner(frames, agent)
        if self.book.incarnation(agent) < 0 and now - self._opened_at[agent] >= _OPEN_SECONDS:
            self._open(agent, dealer, now)
        while (entry := self.book.to_send(agent)) is not None:
            sequence, parcel = entry
            if not dealer.send(self._trajectory(agent, sequence, parcel), parcel.body):
                break
            self.book.sent(agent, sequence)

    def _open(self, agent: int, dealer: Dealer, now: float) -> None:
        self._opened_at[agent] = now
        opening = messages.Open(protocol=messages.PROTOCOL, source=self.source, run_id=self._run_id)
        if dealer.send(opening):
            self.book.on_open(agent)

    def _from_learner(self, frames: Frames, agent: int) -> None:
        try:
            message = codec.unpack(frames.header, messages.TRAJECTORY_KINDS)
        except Refused as refusal:
            _LOG.warning("refused agent=%s reason=%s", agent, refusal)
            return
        match message:
            case messages.Parameters() if frames.body is not None:
                self._parameters.keep(message, bytes(frames.body))
            case messages.Credit():
                self.book.on_credit(
                    agent, message.learner_incarnation, message.amount, opens=message.opens
                )
            case messages.Settle():
                for parcel, outcome in self.book.on_settle(
                    agent, message.learner_incarnation, message.outcomes
                ):
                    self._settled(parcel.ticket, outcome)
                account = self.book.account(agent)
                self._counters.set_settled(agent, account.produced - account.unsettled)
            case messages.Reject():
                raise RuntimeError(f"learner {agent} refuses this actor: {message.reason}")
            case messages.Missing():
                _LOG.warning("missing agent=%s version=%s", message.agent, message.version)
                self._unavailable = True
            case _:
                _LOG.warning("unexpected kind=%s", message.kind)

    def _settled(self, ticket: Ticket, outcome: str) -> None:
        """A slice that its learner cannot use must be played again, by somebody."""
        if outcome not in (TRAINED, Reason.DUPLICATE, Reason.SHUTDOWN):
            self.give_back(ticket)

    def _trajectory(self, agent: int, sequence: int, parcel: _Parcel) -> messages.Trajectory:
        return messages.Trajectory(
            source=self.source,
            learner_incarnation=self.book.incarnation(agent),
            run_id=self._run_id,
            agent=agent,
            sequence=sequence,
            iteration=parcel.ticket.iteration,
            index=parcel.ticket.index,
            versions=parcel.ticket.versions,
            tensors=parcel.tensors,
            digest=parcel.digest,
        )

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
        accounts = [self.book.account(agent) for agent in range(self._num_agents)]
        return Totals(
            produced=sum(account.produced for account in accounts),
            unsettled=sum(account.unsettled for account in accounts),
        )

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
        if self._head.phase != "run":
            raise Leaving
