"""The actors that a learner talks with: what they may send, what they are told, who is not heard.

Decodes what arrives and refuses what is no message, grants credit, tells what is settled, and bans
who sends nothing but poison. Owned by `learners.intake`, which knows what the messages mean.
"""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from dm2_dist.comms import ban, codec, messages
from dm2_dist.comms.ban import BanList
from dm2_dist.comms.codec import Buffer
from dm2_dist.comms.ledger import Settlement
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.comms.security import ForbiddenError, check_role
from dm2_dist.comms.sockets import PeerFrames, Router
from dm2_dist.comms.source_lane import REACH
from monitoring.metrics import LearnerMetrics

_LOG = logging.getLogger(__name__)
_KEPT_SOURCES = 4096
_ROLE = "actor"
CREDIT = 8
"""Trajectories one actor may have on the wire to one learner."""
GRANT = 4
"""Trajectories that one CREDIT answers; less than the window, so that nobody waits for the rest."""


class Letter(NamedTuple):
    """A message that could be read, and the routing identity of its sender."""

    peer: bytes
    message: messages.Open | messages.Get | messages.Trajectory
    body: Buffer | None


class Correspondents:
    """Everybody who sends to one learner.

    bans: what was refused, and who is not listened to.
    """

    def __init__(self, router: Router, incarnation: int, metrics: LearnerMetrics) -> None:
        """Listen at `router` as this incarnation of a learner."""
        self.bans = BanList()
        self._router, self._incarnation, self._metrics = router, incarnation, metrics
        self._peers: OrderedDict[messages.Source, bytes] = OrderedDict()
        self._owed: Counter[bytes] = Counter()

    def read(self, received: PeerFrames) -> Letter | None:
        """Decode one message; None if it was refused, or comes from somebody who is banned."""
        peer = received.peer
        if self.bans.ignores(peer):
            if self.bans.tells(peer, time.monotonic()):
                self.reject(peer, ban.explain(peer))
            return None
        try:
            return self._read(received)
        except Refused as refusal:
            _LOG.warning("refused peer=%r reason=%s", peer[:80], refusal)
            self._metrics.message_refused(refusal.reason.value)
            self.refused(peer, refusal.reason)
            self._begin_anew(peer)
        return None

    def refused(self, peer: bytes, reason: Reason) -> None:
        """A message of this peer had to be refused; one too many, and it is banned."""
        if self.bans.refused(peer, reason, time.monotonic()):
            _LOG.error("banned peer=%r reason=%s", peer[:80], reason.value)
            self._metrics.peer_banned(_ROLE)
            self.reject(peer, ban.explain(peer))

    def open(self, peer: bytes, message: messages.Open, run_id: str) -> None:
        """An actor begins its conversation: grant it the whole window, or say what is wrong."""
        reason = ""
        if message.protocol != messages.PROTOCOL:
            reason = f"protocol {message.protocol} is not {messages.PROTOCOL}; install one version"
        elif message.run_id != run_id:
            reason = f"this learner belongs to run {run_id}, not {message.run_id[:80]!r}"
        if reason:
            self._metrics.peer_refused(_ROLE)
            self.reject(peer, reason)
            return
        self.opened(message.source, peer)

    def opened(self, source: messages.Source, peer: bytes) -> None:
        """An actor began its conversation: grant it the whole window."""
        self._remember(source, peer)
        self.credit(peer, CREDIT, opens=True)

    def reject(self, peer: bytes, reason: str) -> None:
        """Tell a peer that it may not take part, and why."""
        self._router.send(peer, messages.Reject(reason=reason))

    def taken(self, source: messages.Source, peer: bytes) -> None:
        """A trajectory is off the wire: after a few of them, as many more may be sent."""
        self._remember(source, peer)
        self._owed[peer] += 1
        if self._owed[peer] >= GRANT:
            self.credit(peer, self._owed[peer], opens=False)

    def credit(self, peer: bytes, amount: int, *, opens: bool) -> None:
        """Permit a peer to send so many messages (more); nothing is owed to it then."""
        self._owed.pop(peer, None)
        credit = messages.Credit(learner_incarnation=self._incarnation, amount=amount, opens=opens)
        self._router.send(peer, credit)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the sources what is on disk; whoever misses it hears it again when it resends."""
        outcomes: dict[messages.Source, list[tuple[int, str]]] = {}
        for source, sequence, outcome in settlements:
            outcomes.setdefault(source, []).append((sequence, outcome))
        for source, pairs in outcomes.items():
            peer = self._peers.get(source)
            if peer is None:
                continue
            for message in codec.settle_messages(self._incarnation, pairs):
                self._router.send(peer, message)

    def _read(self, received: PeerFrames) -> Letter:
        message = codec.unpack(received.header, messages.TRAJECTORY_KINDS)
        try:
            check_role(received.role, message)
        except ForbiddenError as error:
            raise Refused(Reason.SCHEMA, str(error)) from error
        if not isinstance(message, messages.Open | messages.Get | messages.Trajectory):
            raise Refused(Reason.SCHEMA, f"{message.kind} is not for learners")
        source = message.source
        if self._peers.get(source) != received.peer and source.identity != received.peer:
            raise Refused(Reason.SCHEMA, f"speaks for {source.name}")
        if isinstance(message, messages.Trajectory):
            _check_sequence(message)
        return Letter(received.peer, message, received.body)

    def _begin_anew(self, peer: bytes) -> None:
        """What could not be read may have been a trajectory: have it sent again.

        An answer to OPEN makes an actor send everything unsettled; the books know the copies.
        """
        if peer in self._peers.values() and not self.bans.is_banned(peer):
            self.credit(peer, CREDIT, opens=True)

    def _remember(self, source: messages.Source, peer: bytes) -> None:
        self._peers[source] = peer
        self._peers.move_to_end(source)
        if len(self._peers) > _KEPT_SOURCES:
            self._forget()

    def _forget(self) -> None:
        while len(self._peers) > _KEPT_SOURCES:
            self._owed.pop(self._peers.popitem(last=False)[1], None)


def _check_sequence(message: messages.Trajectory) -> None:
    """What a source has not acknowledged is kept, so it must not run away from that."""
    if not message.floor <= message.sequence < message.floor + REACH:
        raise Refused(
            Reason.SCHEMA,
            f"sequence {message.sequence} with everything below {message.floor} known",
        )
