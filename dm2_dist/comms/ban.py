"""Who is not listened to any more: a peer that keeps sending what must be refused.

A pure rule: no sockets and no clock. A peer is its routing identity, `NAME.INCARNATION`, so a ban
ends when the role is started again. Used by `learners.intake` and `launch.head`.
"""

from collections import Counter, OrderedDict, deque

from dm2_dist.comms.refusal import Reason

LIMIT = 10
"""Refusals within the window that are one too many."""
WINDOW_SECONDS = 60.0
_TOLD_SECONDS = 1.0
_KEPT_PEERS = 1024
_BLAMELESS = frozenset({Reason.STALE, Reason.DUPLICATE, Reason.BUFFER_FULL, Reason.SHUTDOWN})
"""What happens to honest peers: they were slow, played what another played, or the run ends."""


class BanList:
    """Refusals of every peer, and who has had too many of them.

    refusals: messages refused so far, by reason; those of banned peers that nobody read are
        `ignored`.
    banned: bans so far.
    """

    def __init__(self, kept_peers: int = _KEPT_PEERS) -> None:
        """Begin with nobody banned.

        Args:
            kept_peers: identities remembered, those with refusals and those banned alike; the ones
                longest without a message are forgotten first.
        """
        self.refusals: Counter[str] = Counter()
        self.ignored = 0
        self.banned = 0
        self._kept_peers = kept_peers
        self._refused_at: OrderedDict[bytes, deque[float]] = OrderedDict()
        self._told_at: OrderedDict[bytes, float] = OrderedDict()

    def refused(self, peer: bytes, reason: Reason, now: float) -> bool:
        """A message of `peer` was refused at `now`, monotonic seconds.

        Returns:
            Whether this was one too many: the peer has just been banned.
        """
        self.refusals[reason.value] += 1
        if reason in _BLAMELESS or peer in self._told_at:
            return False
        times = self._refused_at.setdefault(peer, deque(maxlen=LIMIT))
        self._refused_at.move_to_end(peer)
        times.append(now)
        if len(times) == LIMIT and now - times[0] <= WINDOW_SECONDS:
            del self._refused_at[peer]
            self._told_at[peer] = now
            self.banned += 1
            self._forget(self._told_at)
            return True
        self._forget(self._refused_at)
        return False

    def is_banned(self, peer: bytes) -> bool:
        """Whether this routing identity is not listened to."""
        return peer in self._told_at

    def ignores(self, peer: bytes) -> bool:
        """Whether a message of `peer` must not even be read; it is counted then."""
        if peer not in self._told_at:
            return False
        self._told_at.move_to_end(peer)
        self.ignored += 1
        return True

    def tells(self, peer: bytes, now: float) -> bool:
        """Whether to tell a banned peer again that it is banned: at most once a second."""
        if now - self._told_at[peer] < _TOLD_SECONDS:
            return False
        self._told_at[peer] = now
        return True

    def _forget(self, peers: OrderedDict[bytes, deque[float]] | OrderedDict[bytes, float]) -> None:
        while len(peers) > self._kept_peers:
            peers.popitem(last=False)


def explain(peer: bytes) -> str:
    """What a banned peer is told, in one sentence."""
    name = peer[:80].decode(errors="backslashreplace")
    return (
        f"{name} sent {LIMIT} messages within {WINDOW_SECONDS:.0f} s that had to be refused and is "
        "not listened to any more; start it again, with the version of dm2-dist that the run has"
    )
