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
    """The last few versions of each agent's policy, decoded when they are used.

    subscriber: hears what the learners publish.
    """

    def __init__(self, num_agents: int) -> None:
        self.subscriber = Subscriber()
        self._streams: dict[int, str] = {}
        self._bodies: dict[int, OrderedDict[int, tuple[bytes, str]]] = {
            agent: OrderedDict() for agent in range(num_agents)
        }

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

    def keep(self, message: messages.Parameters, body: bytes) -> None:
        """Hold a version; the oldest gives way. One of an agent that this run lacks is refused."""
        kept = self._bodies.get(message.agent)
        if kept is None or len(body) > codec.PARAMETERS_LIMIT:
            _LOG.warning("refused publication agent=%s bytes=%s", message.agent, len(body))
            return
        kept[message.version] = body, message.digest
        while len(kept) > KEPT_VERSIONS:
            kept.popitem(last=False)

    def missing(self, versions: Sequence[int]) -> list[int]:
        """Seats whose version is not here.

        Args:
            versions: [K] one per seat.
        """
        return [k for k, version in enumerate(versions) if version not in self._bodies[k]]

    def take(self, versions: Sequence[int]) -> list[Parameters] | None:
        """Decode the policies of a ticket, one per seat; None if one had been damaged on the way.

        Args:
            versions: [K] one per seat, none of them missing.
        """
        policies = []
        for agent, version in enumerate(versions):
            try:
                policies.append(codec.decode_parameters(*self._bodies[agent][version]))
            except Refused as refusal:
                _LOG.warning("refused agent=%s version=%s reason=%s", agent, version, refusal)
                del self._bodies[agent][version]
                return None
        return policies
