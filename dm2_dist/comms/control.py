"""A role's line to the head: introduce yourself, stay known, notice a new head.

Shared by actors and learners. The owner calls `poll` often; HELLO is repeated until the head
answers, and said again when an answer shows that the head has been restarted.
"""

import itertools
import logging
from collections.abc import Callable, Iterator

from dm2_dist.comms import codec, messages
from dm2_dist.comms.refusal import Refused
from dm2_dist.comms.sockets import AddressError, Dealer, check_connect

_LOG = logging.getLogger(__name__)
_HELLO_SECONDS = 1.0
_PATIENCE_SECONDS = 600.0
"""A head that says nothing for so long does not come back: whoever waits for it may end."""


class Rejected(Exception):
    """The head refuses this role; the message is its reason."""


class HeadLostError(Exception):
    """The head has been silent for too long; the message names it."""


class HeadLink:
    """One DEALER to the head.

    source: who speaks.
    welcome: the newest WELCOME, None before the first.
    learners: agent -> (trajectory address, parameter address), as far as known.
    phase: what the head wants: `run`, `drain` or `stop`.
    keep_from: oldest parameter version that open tickets need.
    refused: messages of the head that could not be read.
    """

    def __init__(
        self,
        address: str,
        source: messages.Source,
        hello: Callable[[messages.Source], messages.Hello],
    ) -> None:
        self.source = source
        self.dealer = Dealer(address, f"{source.name}.{source.incarnation}".encode())
        self.welcome: messages.Welcome | None = None
        self.learners: dict[int, tuple[str, str]] = {}
        self.phase = "run"
        self.keep_from = 0
        self.refused = 0
        self._hello = hello
        self._hello_at = -_HELLO_SECONDS
        self._address = address
        self._heard_at: float | None = None

    def poll(self, now: float) -> Iterator[messages.Message]:
        """Handle what arrived; yield what only the owner can handle (leases).

        Args:
            now: monotonic seconds.

        Raises:
            Rejected: the head refuses this role.
            HeadLostError: it has said nothing for ten minutes.
        """
        if self.dealer.failure:
            raise Rejected(self.dealer.failure)
        if self.dealer.take_connected():
            self._hello_at = -_HELLO_SECONDS  # a broken connection may have swallowed anything
            self.welcome = None
        while (frames := self.dealer.recv()) is not None:
            self._heard_at = now
            message = self.hear(frames.header)
            if message is not None:
                yield message
        if self.welcome is None and now - self._hello_at >= _HELLO_SECONDS:
            self._hello_at = now
            self.dealer.send(self._hello(self.source))
        self._heard_at = now if self._heard_at is None else self._heard_at
        if now - self._heard_at > _PATIENCE_SECONDS:
            raise HeadLostError(
                f"the head at {self._address} has said nothing for {_PATIENCE_SECONDS:.0f} s; "
                "start it again, then this process"
            )

    def send(self, message: messages.Message) -> bool:
        """Send to the head; False when it cannot be reached now."""
        return self.dealer.send(message)

    def hear(self, header: bytes) -> messages.Message | None:
        """Take in one message of the head; returned if the owner has to look at it, too.

        Raises:
            Rejected: the head refuses this role.
        """
        message = self._read(header)
        match message:
            case messages.Welcome():
                self.welcome = message
                self._note_learners(message.learners)
                return message
            case messages.Directory():
                self._note_learners(message.learners)
            case messages.Orders():
                self._note_orders(message)
            case messages.Reject():
                raise Rejected(message.reason)
            case _:
                return message
        return None

    def _read(self, header: bytes) -> messages.Message | None:
        """Decode what the head said; None if it is no message of the head.

        What it was is unknown, a lease perhaps: HELLO tells the head what arrived and what did not.
        """
        try:
            message = codec.unpack(header, messages.CONTROL_KINDS)
            if isinstance(message, messages.Welcome | messages.Directory):
                for address in itertools.chain(*message.learners.values()):
                    check_connect(address)
        except (Refused, AddressError) as refusal:
            self.refused += 1
            _LOG.warning("refused peer=head reason=%s", refusal)
            self.welcome = None
            return None
        return message

    def _note_learners(self, learners: dict[str, tuple[str, str]]) -> None:
        self.learners = {int(agent): addresses for agent, addresses in learners.items()}

    def _note_orders(self, orders: messages.Orders) -> None:
        if self.welcome is not None and orders.head_incarnation != self.welcome.head_incarnation:
            _LOG.warning(
                "head_restarted incarnation=%s; saying hello again", orders.head_incarnation
            )
            self.welcome = None
        self.phase = orders.phase
        self.keep_from = orders.keep_from
