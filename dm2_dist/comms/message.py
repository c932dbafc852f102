"""What every message is made of: the base of all headers, who sends, and the checked words in them.

Whatever a field may hold is said here or at the field; `codec.unpack` enforces it, so that nobody
has to check a number or a name again. Used by `control_messages` and `trajectory_messages`.
"""

import re
from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number that is never negative: a sequence, an index, a version, an incarnation."""
Total = Annotated[int, msgspec.Meta(ge=0, le=2**48)]
"""A count of things done; thousands of them add up without leaving 64 bits."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""A time span; never NaN."""
Name = Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
"""A short name that is safe in file names, log lines and metric labels."""
Word = Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[a-z][a-z0-9_]*\Z")]
"""The name of a phase, a metric or a role."""
Outcome = Annotated[str, msgspec.Meta(max_length=32, pattern=r"\A[a-z_]+\Z")]
"""`trained` or a reason of `refusal.Reason`."""
Decimal = Annotated[str, msgspec.Meta(max_length=18, pattern=r"\A(0|[1-9][0-9]*)\Z")]
"""A count as the key of a map, where msgpack's limits ask for text."""
Address = Annotated[str, msgspec.Meta(max_length=256, pattern=r"\A[\x21-\x7e]*\Z")]
"""Where something listens; empty if nowhere."""
TicketId = Annotated[
    str,
    msgspec.Meta(
        max_length=64,
        pattern=r"\A(train|evaluate|record)/(0|[1-9][0-9]{0,17})/(0|[1-9][0-9]{0,17})\Z",
    ),
]
"""See `ticket.Ticket.ticket_id`."""

PROTOCOL = 3
"""Version of the framing; peers of another version are refused."""


def _wire_name(name: str) -> str:
    """LearnerBeat -> learner_beat."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.rpartition(".")[2]).lower()


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=_wire_name):
    """Base of all headers; on the wire the key `kind` holds the name of the class."""

    @property
    def kind(self) -> str:
        """The wire name."""
        return str(self.__struct_config__.tag)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends: a stable name and the incarnation that fences off its predecessors.

    name: for instance `actor-3` or `learner-0`.
    incarnation: grows with every start of that name (nanoseconds of the start).
    """

    name: Name
    incarnation: Count

    @property
    def identity(self) -> bytes:
        """The routing identity that this source speaks under."""
        return f"{self.name}.{self.incarnation}".encode()
