"""The policies an actor holds: the newest versions of every seat, published or asked for.

Owned by `actors.session`, which also asks for what is missing.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dm2_dist.comms import codec, messages
from dm2_dist.comms.refusal import Refused
from dm2_dist.comms.sockets import Subscriber

_LOG = logging.getLogger(__name__)
KEPT_VERSIONS = 6

Parameters = dict[str, npt.NDArray[np.float32]]


class ParameterCache:
    """The last few versions of each agent's policy, decoded when they are used, and only once.

    subscriber: hears what the learners publish.
    """

    def __init__(self, num_agents: int) -> None:
        self.subscriber = Subscriber()
        self._streams: dict[int, str] = {}
        self._announced: dict[int, int] = {}
        self._bodies: dict[int, OrderedDict[int, tuple[bytes, str]]] = {
            agent: OrderedDict() for agent in range(num_agents)
        }
        self._decoded: list[tuple[tuple[bytes, str], Parameters] | None] = [None] * num_agents

    @property
    def num_bytes(self) -> int:
        """Bytes of the versions held."""
        return sum(len(body) for kept in self._bodies.values() for body, _ in kept.values())

    @property
    def limit_bytes(self) -> int:
        """Most that they can be."""
        return len(self._bodies) * KEPT_VERSIONS * codec.PARAMETERS_LIMIT

    def follow(self, agent: int, address: str) -> None:
        """Listen to a learner's publications, at this address from now on."""
        before = self._streams.get(agent)
        if before == address:
            return
        if before is not None:
            # NOTE: a poll fetches the first frame of what waits, and libzmq aborts the process if
            # that connection is given up before the other frames are read.
            self.receive()
            self.subscriber.disconnect(before)
        self.subscriber.connect(address)
        self._streams[agent] = address

    def receive(self) -> None:
        """Take in everything that was published."""
        while (frames := self.subscriber.recv()) is not None:
            try:
                message = codec.unpack(frames.header, messages.TRAJECTORY_KINDS)
            except Refused as refusal:
                _LOG.warning("refused publication reason=%s", refusal)
                continue
            if isinstance(message, messages.Parameters) and frames.body is not None:
                self.keep(message, bytes(frames.body))
            elif isinstance(message, messages.Beacon):
                self._announced[message.agent] = message.version

    def keep(self, message: messages.Parameters, body: bytes) -> None:
        """Hold a version; the oldest gives way. One of an agent that this run lacks is refused."""
        kept = self._bodies.get(message.agent)
        if kept is None or len(body) > codec.PARAMETERS_LIMIT:
            _LOG.warning("refused publication agent=%s bytes=%s", message.agent, len(body))
            return
        kept[message.version] = body, message.digest
        while len(kept) > KEPT_VERSIONS:
            kept.popitem(last=False)

    def newest(self, oldest: Sequence[int]) -> tuple[int, ...]:
        """The newest version of each seat that is here, [K]; `oldest` where all are older.

        Args:
            oldest: [K] how old they may be.
        """
        return tuple(
            max(least, *self._bodies[k]) if self._bodies[k] else least
            for k, least in enumerate(oldest)
        )

    def outdated(self, versions: Sequence[int]) -> dict[int, int]:
        """Seats that have a newer version than `versions` [K]: a publication was missed."""
        return {
            agent: version
            for agent, version in self._announced.items()
            if agent < len(versions) and version > versions[agent]
        }

    def missing(self, versions: Sequence[int]) -> list[int]:
        """Seats whose version is not here.

        Args:
            versions: [K] one per seat.
        """
        return [k for k, version in enumerate(versions) if version not in self._bodies[k]]

    def take(self, versions: Sequence[int]) -> list[Parameters] | None:
        """The policies of a ticket, one per seat; None if one had been damaged on the way.

        Args:
            versions: [K] one per seat, none of them missing.
        """
        policies = []
        for agent, version in enumerate(versions):
            try:
                policies.append(self._decode(agent, self._bodies[agent][version]))
            except Refused as refusal:
                _LOG.warning("refused agent=%s version=%s reason=%s", agent, version, refusal)
                del self._bodies[agent][version]
                return None
        return policies

    def _decode(self, agent: int, snapshot: tuple[bytes, str]) -> Parameters:
        """Check and decode a snapshot, unless the seat's last ticket was played with this one."""
        last = self._decoded[agent]
        if last is not None and last[0] is snapshot:
            return last[1]
        parameters = codec.decode_parameters(*snapshot)
        self._decoded[agent] = snapshot, parameters
        return parameters
