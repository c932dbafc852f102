"""The head's door: what a message must be before it is believed, and who is not heard any more.

`check` is pure. Everything that passes it can be handled without a further look: names fit their
senders, agents and tickets exist, counts belong together. Used by `launch.head`.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dm2_dist import ticket as tickets
from dm2_dist.comms import ban, codec, messages
from dm2_dist.comms.ban import BanList
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.comms.security import ForbiddenError, check_role
from dm2_dist.comms.sockets import AddressError, PeerFrames, Router, check_connect
from dm2_dist.config import RunConfig
from launch.status import Peer

_LOG = logging.getLogger(__name__)
_OPEN_ITERATIONS = 64
"""More than any schedule has open at once."""
_MEMBERS = 4096
"""Actors and learners that a run can have."""
_RECORD_KEYS = frozenset({"agent", "version", "env_steps", "wall_seconds"})
"""Keys of a line of `metrics.jsonl` that no metric may take."""

FromActor = messages.ActorBeat | messages.Want | messages.Returned | messages.Result
FromPeer = messages.LearnerBeat | FromActor | messages.Bye
FromLauncher = messages.Command | messages.Exited
ToHead = messages.Hello | FromPeer | FromLauncher


@dataclass(frozen=True, slots=True)
class Facts:
    """What the messages of a run are compared with; num_agents: K."""

    config: RunConfig
    num_agents: int


class Reception:
    """Reads what arrives at the head.

    bans: what was refused, and who is not listened to.
    banned: bans so far, by the role that the peer claims in its name.
    turned_away: roles that were told that they cannot take part, by the role they claimed.
    """

    def __init__(self, router: Router, facts: Facts, on_refused: Callable[[bytes], None]) -> None:
        """Listen at `router`; `on_refused` hears who sent something that could not be used."""
        self.bans = BanList()
        self.banned: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self._router, self._facts, self._on_refused = router, facts, on_refused

    def read(self, received: PeerFrames) -> ToHead | None:
        """Decode and check one message; None if it was refused or its sender is banned."""
        peer, now = received.peer, time.monotonic()
        if self.bans.ignores(peer):
            if self.bans.tells(peer, now):
                self._router.send(peer, messages.Reject(reason=ban.explain(peer)))
            return None
        try:
            message = codec.unpack(received.header, messages.CONTROL_KINDS)
            return check(message, peer, received.role, self._facts)
        except Refused as refusal:
            _LOG.warning("refused peer=%r reason=%s", peer[:80], refusal)
            if self.bans.refused(peer, refusal.reason, now):
                self.banned["learner" if peer.startswith(b"learner-") else "actor"] += 1
                _LOG.error("banned peer=%r reason=%s", peer[:80], refusal.reason.value)
                self._router.send(peer, messages.Reject(reason=ban.explain(peer)))
            self._on_refused(peer)
        return None

    def is_banned(self, peer: bytes) -> bool:
        """Whether this routing identity is not listened to."""
        return self.bans.is_banned(peer)


def check(message: messages.Message, peer: bytes, role: str | None, facts: Facts) -> ToHead:
    """Check that a message makes sense and that its sender may say it.

    Args:
        message: decoded.
        peer: the routing identity it came under.
        role: what the sender proved to be; None where nothing is authenticated.
        facts: of the run.

    Raises:
        Refused: schema.
    """
    if not isinstance(message, ToHead):
        raise Refused(Reason.SCHEMA, f"{message.kind} is not for the head")
    try:
        check_role(role, message)
    except ForbiddenError as error:
        raise Refused(Reason.SCHEMA, str(error)) from error
    if isinstance(message, FromLauncher):
        return message
    _require(message.source.identity == peer, f"speaks for {message.source.name}")
    match message:
        case messages.Hello():
            _check_hello(message, facts)
        case messages.LearnerBeat():
            _check_beat(message, facts)
        case messages.Result():
            _check_result(message, facts)
    return message


def object_to(hello: messages.Hello, known: Peer | None, members: int) -> str:
    """Why a role cannot take part, in one sentence with the mend; empty if it can.

    Args:
        hello: checked.
        known: who has this name now.
        members: roles that take part.
    """
    name = hello.source.name
    if hello.protocol != messages.PROTOCOL:
        return (
            f"{name} speaks protocol {hello.protocol} but this run speaks {messages.PROTOCOL}; "
            "install the same version of dm2-dist everywhere"
        )
    if known is not None and known.hello.source.incarnation > hello.source.incarnation:
        return "a newer incarnation of this name is known"
    if known is None and members >= _MEMBERS:
        return f"the run has {_MEMBERS} members already; start fewer actors"
    return ""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(Reason.SCHEMA, otherwise)


def _check_hello(hello: messages.Hello, facts: Facts) -> None:
    _require(hello.role in ("actor", "learner"), f"role {hello.role!r} takes no part")
    seats = {f"learner-{agent}" for agent in range(facts.num_agents)}
    name = hello.source.name
    if hello.role == "actor":
        _require(not name.startswith("learner-"), f"an actor called {name}")
        return
    _require(name in seats, f"{name} has no seat among {facts.num_agents} agents")
    for address in (hello.trajectory_address, hello.parameter_address):
        try:
            check_connect(address)
        except AddressError as error:
            raise Refused(Reason.SCHEMA, str(error)) from error


def _check_beat(beat: messages.LearnerBeat, facts: Facts) -> None:
    agent = beat.agent
    _require(agent < facts.num_agents, f"agent {agent} of {facts.num_agents}")
    _require(beat.source.name == f"learner-{agent}", f"{beat.source.name} speaks of agent {agent}")
    _require(str(beat.version) in beat.env_steps, "no env steps of the newest version")
    _require(len(beat.received) <= _OPEN_ITERATIONS, f"{len(beat.received)} open iterations")
    _require(len(beat.received_env_steps) <= _OPEN_ITERATIONS, "too many open iterations")
    size = tickets.tickets_per_iteration(facts.config)
    for indices in beat.received.values():
        _require(max(indices, default=0) < size, f"ticket {max(indices, default=0)} of {size}")
    _require(_RECORD_KEYS.isdisjoint(beat.metrics), "a metric has the name of a count")


def _check_result(result: messages.Result, facts: Facts) -> None:
    kind, version, index = result.ticket_id.split("/")
    _require(kind == tickets.EVALUATE, f"a result of {result.ticket_id}")
    played = tickets.evaluate_tickets(facts.config, int(version), facts.num_agents)
    _require(int(index) < len(played), f"ticket {index} of {len(played)}")
    episodes = len(played[int(index)].seeds)
    sizes = {len(result.returns), len(result.lengths), len(result.won)}
    _require(sizes == {episodes}, f"{sorted(sizes)} values for {episodes} episodes")
    _require(all(map(math.isfinite, result.returns)), "a return that is not finite")
