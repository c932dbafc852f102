"""Why a message was not accepted: a closed set of reasons, so that every drop has a counter.

Raised by `codec` and `inspection`, booked by `ledger`, told to the sender in SETTLE.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Reasons for refusing or dropping a trajectory; also the label of the counters."""

    SCHEMA = "schema"
    """Not the agreed structure: kind, field, type, tensor name, dtype, shape, offset or range."""
    OVERSIZE = "oversize"
    """A header or body larger than its limit."""
    CORRUPT = "corrupt"
    """The bytes are not those that were sent."""
    NONFINITE = "nonfinite"
    """A NaN or an infinity."""
    ILLEGAL_ACTION = "illegal_action"
    """An action that does not exist or was not available."""
    UNKNOWN_RUN = "unknown_run"
    """It belongs to another run."""
    STALE = "stale"
    """Played with other parameter versions than its iteration asks for."""
    DUPLICATE = "duplicate"
    """The same ticket was accepted from elsewhere."""
    BUFFER_FULL = "buffer_full"
    """It belongs to an iteration further ahead than the learner keeps room for."""
    SHUTDOWN = "shutdown"
    """The run is draining; nothing more is trained."""


class Refused(Exception):
    """A message from the outside that must not be used.

    Attributes:
        reason: which kind of refusal; closed set.
        detail: one clause for the log, of bounded length.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        """Keep the reason and a detail cut to 200 characters."""
        self.reason = reason
        self.detail = detail[:200]
        super().__init__(f"{reason.value}: {self.detail}")
