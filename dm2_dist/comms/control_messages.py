"""The control conversation: actors, learners and the launcher with the head."""

from typing import Annotated, Any

import msgspec

from dm2_dist.comms.message import (
    Address,
    Count,
    Decimal,
    Message,
    Name,
    Outcome,
    Seconds,
    Source,
    TicketId,
    Total,
    Word,
)

Phases = Annotated[dict[Word, Seconds], msgspec.Meta(max_length=64)]
"""Seconds spent so far, by phase."""
Restarts = Annotated[
    dict[Word, Annotated[int, msgspec.Meta(ge=0, le=100_000)]], msgspec.Meta(max_length=16)
]
"""How often children were started again, by role."""


# --- control: to the head ---


class Hello(Message, frozen=True, kw_only=True):
    """A role introduces itself. Learners say where they listen and what they hold."""

    protocol: Count
    source: Source
    role: Word
    pid: Count
    metrics_address: Address = ""
    trajectory_address: Address = ""
    parameter_address: Address = ""
    holding: tuple[TicketId, ...] = ()
    """Ids of the tickets an actor is playing or has not settled; it has no others."""


class LearnerBeat(Message, frozen=True, kw_only=True):
    """Twice a second, and on every change: what a learner has.

    version: newest committed parameter version (= iterations trained).
    env_steps: training env steps up to each retained version (keys are versions in decimal).
    received: per open iteration, the ticket indices that arrived.
    received_env_steps: env steps of those tickets, per iteration.
    trained, dropped: trajectories trained, and dropped by reason, in the newest commit.
    metrics: newest iteration's learning metrics.
    phases: seconds spent so far, by phase.
    parameters_sha256: hash of the newest committed version.
    """

    source: Source
    agent: Count
    version: Count
    env_steps: dict[Decimal, Total]
    received: dict[Decimal, tuple[Count, ...]]
    received_env_steps: dict[Decimal, Total]
    trained: Total
    dropped: Annotated[dict[Outcome, Total], msgspec.Meta(max_length=32)]
    metrics: Annotated[dict[Word, float], msgspec.Meta(max_length=256)]
    phases: Phases
    parameters_sha256: Annotated[str, msgspec.Meta(max_length=64)]


class ActorBeat(Message, frozen=True, kw_only=True):
    """Once a second: what an actor does."""

    source: Source
    env_steps: Total
    episodes: Total
    produced: Total
    unsettled: Total
    phases: Phases


class Want(Message, frozen=True, kw_only=True):
    """An actor asks for a ticket; the head answers when it has one."""

    source: Source


class Returned(Message, frozen=True, kw_only=True):
    """A learner refused what an actor made of a ticket; somebody has to play it again."""

    source: Source
    ticket_id: TicketId


class Result(Message, frozen=True, kw_only=True):
    """What an evaluate ticket came to, one entry per episode."""

    source: Source
    ticket_id: TicketId
    returns: tuple[float, ...]
    lengths: tuple[Total, ...]
    won: tuple[bool, ...]


class Bye(Message, frozen=True, kw_only=True):
    """A role leaves on purpose; an actor that says it has nothing unsettled."""

    source: Source


class Exited(Message, frozen=True, kw_only=True):
    """The supervisor reports the end of a child, so that leases need not wait for a deadline."""

    name: Name
    incarnation: Count
    exit_code: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]


class Command(Message, frozen=True, kw_only=True):
    """What the launcher says, each time answered with a STATUS.

    name: `status`; `drain` the run; `fail`: a role cannot be kept up; `close`: everybody else has
        gone.
    restarts: role -> restarts so far, as the supervisor counts them.
    detail: for `fail`, the reason; for `drain`, who asked.
    """

    name: Word
    restarts: Restarts = msgspec.field(default_factory=dict)
    detail: Annotated[str, msgspec.Meta(max_length=4096)] = ""


# --- control: from the head ---


class Welcome(Message, frozen=True, kw_only=True):
    """Answer to HELLO: everything the role needs to work."""

    run_id: str
    head_incarnation: Count
    config_json: str
    learners: dict[Decimal, tuple[Address, Address]]
    """Agent -> (trajectory address, parameter address) of the learners known so far."""


class Directory(Message, frozen=True, kw_only=True):
    """The learners' addresses changed."""

    learners: dict[Decimal, tuple[Address, Address]]


class Lease(Message, frozen=True, kw_only=True):
    """A ticket to play; its fields are those of `dm2_dist.ticket.Ticket`."""

    head_incarnation: Count
    ticket_kind: Annotated[str, msgspec.Meta(pattern=r"\A(train|evaluate|record)\Z")]
    iteration: Count
    index: Count
    seeds: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    versions: tuple[Count, ...]
    greedy: bool
    newest: bool


class Orders(Message, frozen=True, kw_only=True):
    """Answer to every beat: what the head wants of a role.

    keep_from: oldest parameter version that open tickets still need (learners).
    phase: `run`; `drain`: play no more, account for what is in hand; `stop`: all actors are gone,
        leave.
    head_incarnation: another than in WELCOME means: say HELLO again. It is a new head, or one that
        gave up on this role (then 0).
    """

    head_incarnation: Count
    keep_from: Count
    phase: Annotated[str, msgspec.Meta(pattern=r"\A(run|drain|stop)\Z")]


class Status(Message, frozen=True, kw_only=True):
    """Answer to the `status` command: the run as JSON (a view for people and for summary.json)."""

    report: dict[str, Any]


class Reject(Message, frozen=True, kw_only=True):
    """A peer is refused, with the reason and the mend in one sentence."""

    reason: str
