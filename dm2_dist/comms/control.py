"""A role's line to the head: introduce yourself, stay known, notice a new head.

Shared by actors and learners. The owner calls `poll` often; HELLO is repeated until the head
answers, and said again when an answer shows that the head has been restarted.
"""

import logging
from collections.abc import Callable, Iterator

from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Dealer

_LOG = logging.getLogger(__name__)
_HELLO_SECONDS = 1.0


class Rejected(Exception):
    """The head refuses this role; the message is its reason."""


class HeadLink:
    """One DEALER to the head.

    source: who speaks.
    welcome: the newest WELCOME, None before the first.
    learners: agent -> (trajectory address, parameter address), as far as known.
    phase: what the head wants: `run`, `drain` or `stop`.
    keep_from: oldest parameter version that open tickets need.
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
        self._hello = hello
        self._hello_at = -_HELLO_SECONDS

    def poll(self, now: float) -> Iterator[messages.Message]:
        """Handle what arrived; yield what only the owner can handle (leases).

        Args:
            now: monotonic seconds.

        Raises:
            Rejected: the head refuses this role.
        """
        if self.dealer.take_connected():
            self._hello_at = -_HELLO_SECONDS  # a broken connection may have swallowed anything
            self.welcome = None
        while (frames := self.dealer.recv()) is not None:
            message = codec.unpack(frames[0], messages.CONTROL_KINDS)
            match message:
                case messages.Welcome():
                    self.welcome = message
                    self._note_learners(message.learners)
                    yield message
                case messages.Directory():
                    self._note_learners(message.learners)
                case messages.Orders():
                    self._note_orders(message)
                case messages.Reject():
                    raise Rejected(message.reason)
                case _:
                    yield message
        if self.welcome is None and now - self._hello_at >= _HELLO_SECONDS:
            self._hello_at = now
            self.dealer.send(self._hello(self.source))

    def send(self, message: messages.Message) -> bool:
        """Send to the head; False when it cannot be reached now."""
        return self.dealer.send(message)

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
