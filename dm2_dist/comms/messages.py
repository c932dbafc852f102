"""Every message that crosses a process boundary: one frozen struct per kind, nothing untyped.

Three conversations, each in both directions:
  control       actors, learners and the launcher with the head:
                HELLO, BEAT, WANT, RESULT, BYE / WELCOME, LEASE, ORDERS, STATUS
  trajectories  an actor with learner k:
                OPEN, TRAJECTORY, GET / CREDIT, SETTLE, PARAMETERS, REJECT
  parameters    learner k to every actor: PARAMETERS, BEACON
                (published; who missed one sees the beacon and asks with GET)

Frame 1 is a msgpack header of at most 4 KiB (256 KiB on control), frame 2 one optional body of raw
bytes. CREDIT says "it is off the wire, send more"; SETTLE says "the checkpoint that contains its
effect is on disk".
"""

from typing import Annotated, Any, ClassVar

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number that is never negative: a sequence, an index, a version, an incarnation."""
Name = Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
"""A short name that is safe in file names, log lines and metric labels."""
Outcome = Annotated[str, msgspec.Meta(max_length=32, pattern=r"\A[a-z_]+\Z")]
"""`trained` or a reason of `refusal.Reason`."""

PROTOCOL = 1
"""Version of the framing; peers of another version are refused at HELLO and OPEN."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all headers; `kind` is the wire name."""

    kind: ClassVar[str] = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends: a stable name and the incarnation that fences off its predecessors.

    name: for instance `actor-3` or `learner-0`.
    incarnation: grows with every start of that name (nanoseconds of the start).
    """

    name: Name
    incarnation: Count


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a body: its bytes start at `offset`, a multiple of 64."""

    name: str
    dtype: str
    shape: tuple[Count, ...]
    offset: Count


# --- control: to the head ---


class Hello(Message, frozen=True, kw_only=True):
    """A role introduces itself. Learners say where they listen and what they hold."""

    kind: ClassVar[str] = "hello"
    protocol: int
    source: Source
    role: str
    pid: int
    metrics_address: str = ""
    trajectory_address: str = ""
    parameter_address: str = ""
    holding: tuple[str, ...] = ()
    """Ids of the tickets an actor is playing or has not settled; it has no others."""


class LearnerBeat(Message, frozen=True, kw_only=True):
    """Twice a second, and on every change: what a learner has.

    version: newest committed parameter version (= iterations trained).
    env_steps: training env steps up to each retained version (keys are versions in decimal).
    received: per open iteration, the ticket indices that arrived.
    received_env_steps: env steps of those tickets, per iteration.
    finished: the run's env steps are reached and the final version is committed.
    trained, dropped: trajectories trained, and dropped by reason, in the newest commit.
    metrics: newest iteration's learning metrics.
    phases: seconds spent so far, by phase.
    parameters_sha256: hash of the newest committed version.
    """

    kind: ClassVar[str] = "learner_beat"
    source: Source
    agent: Count
    version: Count
    env_steps: dict[str, int]
    received: dict[str, tuple[int, ...]]
    received_env_steps: dict[str, int]
    finished: bool
    trained: int
    dropped: dict[str, int]
    metrics: dict[str, float]
    phases: dict[str, float]
    parameters_sha256: str


class ActorBeat(Message, frozen=True, kw_only=True):
    """Once a second: what an actor does."""

    kind: ClassVar[str] = "actor_beat"
    source: Source
    env_steps: int
    episodes: int
    produced: int
    unsettled: int
    phases: dict[str, float]


class Want(Message, frozen=True, kw_only=True):
    """An actor asks for a ticket; the head answers when it has one."""

    kind: ClassVar[str] = "want"
    source: Source


class Returned(Message, frozen=True, kw_only=True):
    """A learner refused what an actor made of a ticket; somebody has to play it again."""

    kind: ClassVar[str] = "returned"
    source: Source
    ticket_id: str


class Result(Message, frozen=True, kw_only=True):
    """What an evaluate ticket came to, one entry per episode."""

    kind: ClassVar[str] = "result"
    source: Source
    ticket_id: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    won: tuple[bool, ...]


class Bye(Message, frozen=True, kw_only=True):
    """A role leaves on purpose; an actor that says it has nothing unsettled."""

    kind: ClassVar[str] = "bye"
    source: Source


class Exited(Message, frozen=True, kw_only=True):
    """The supervisor reports the end of a child, so that leases need not wait for a deadline."""

    kind: ClassVar[str] = "exited"
    name: Name
    incarnation: Count
    exit_code: int


class Command(Message, frozen=True, kw_only=True):
    """What the launcher says, each time answered with a STATUS.

    name: `status`; `drain` the run; `fail`: a role cannot be kept up; `close`: everybody else has
        gone.
    restarts: role -> restarts so far, as the supervisor counts them.
    detail: for `fail`, the reason; for `drain`, who asked.
    """

    kind: ClassVar[str] = "command"
    name: str
    restarts: dict[str, int] = {}
    detail: str = ""


# --- control: from the head ---


class Welcome(Message, frozen=True, kw_only=True):
    """Answer to HELLO: everything the role needs to work."""

    kind: ClassVar[str] = "welcome"
    run_id: str
    head_incarnation: int
    config_json: str
    learners: dict[str, tuple[str, str]]
    """Agent -> (trajectory address, parameter address) of the learners known so far."""


class Directory(Message, frozen=True, kw_only=True):
    """The learners' addresses changed."""

    kind: ClassVar[str] = "directory"
    learners: dict[str, tuple[str, str]]


class Lease(Message, frozen=True, kw_only=True):
    """A ticket to play."""

    kind: ClassVar[str] = "lease"
    head_incarnation: int
    ticket_kind: str
    iteration: int
    index: int
    seeds: tuple[int, ...]
    versions: tuple[int, ...]
    greedy: bool


class Orders(Message, frozen=True, kw_only=True):
    """Answer to every beat: what the head wants of a role.

    keep_from: oldest parameter version that open tickets still need (learners).
    phase: `run`; `drain`: play no more, account for what is in hand; `stop`: all actors are gone,
        leave.
    head_incarnation: another than in WELCOME means: say HELLO again. It is a new head, or one that
        gave up on this role (then 0).
    """

    kind: ClassVar[str] = "orders"
    head_incarnation: int
    keep_from: int
    phase: str


class Status(Message, frozen=True, kw_only=True):
    """Answer to the `status` command: the run as JSON (a view for people and for summary.json)."""

    kind: ClassVar[str] = "status"
    report: dict[str, Any]


class Reject(Message, frozen=True, kw_only=True):
    """A peer is refused, with the reason and the mend in one sentence."""

    kind: ClassVar[str] = "reject"
    reason: str


# --- trajectories: actor to learner ---


class Open(Message, frozen=True, kw_only=True):
    """An actor opens its conversation with a learner and asks for credit."""

    kind: ClassVar[str] = "open"
    protocol: int
    source: Source
    run_id: str


class Trajectory(Message, frozen=True, kw_only=True):
    """One agent's slice of one played ticket; the body holds its tensors.

    learner_incarnation: the learner it was addressed to; after a restart the actor resends.
    sequence: 0, 1, 2, ... per (source, agent), without gaps: the unit of the books.
    digest: 128-bit BLAKE2b of the body, hexadecimal.
    """

    kind: ClassVar[str] = "trajectory"
    source: Source
    learner_incarnation: Count
    run_id: str
    agent: Count
    sequence: Count
    iteration: Count
    index: Count
    versions: tuple[Count, ...]
    tensors: tuple[TensorSpec, ...]
    digest: str


class Get(Message, frozen=True, kw_only=True):
    """An actor asks for one parameter version."""

    kind: ClassVar[str] = "get"
    source: Source
    version: Count


# --- trajectories: learner to actor ---


class Credit(Message, frozen=True, kw_only=True):
    """Permission to send `amount` more; answers OPEN and every trajectory taken off the wire.

    opens: it answers OPEN: `amount` is the whole window and replaces what was granted before, and
        whatever is unsettled must be sent again: a connection that broke may have swallowed it.
    """

    kind: ClassVar[str] = "credit"
    learner_incarnation: Count
    amount: Count
    opens: bool = False


class Settle(Message, frozen=True, kw_only=True):
    """These are accounted for on disk: (sequence, outcome), `trained` or a reason."""

    kind: ClassVar[str] = "settle"
    learner_incarnation: Count
    outcomes: tuple[tuple[Count, Outcome], ...]


# --- parameters: learner to actors ---


class Parameters(Message, frozen=True, kw_only=True):
    """A policy snapshot; the body is safetensors. Published, and sent in answer to GET."""

    kind: ClassVar[str] = "parameters"
    agent: Count
    version: Count
    digest: str


class Beacon(Message, frozen=True, kw_only=True):
    """Once a second: the newest version, for whoever missed its publication."""

    kind: ClassVar[str] = "beacon"
    agent: Count
    version: Count
    digest: str


class Missing(Message, frozen=True, kw_only=True):
    """Answer to GET of a version that is not there (any more, or yet)."""

    kind: ClassVar[str] = "missing"
    agent: Count
    version: Count


CONTROL_KINDS: tuple[type[Message], ...] = (
    Hello, LearnerBeat, ActorBeat, Want, Returned, Result, Bye, Exited, Command,
    Welcome, Directory, Lease, Orders, Status, Reject,
)  # fmt: skip
TRAJECTORY_KINDS: tuple[type[Message], ...] = (
    Open, Trajectory, Get, Credit, Settle, Parameters, Beacon, Missing, Reject,
)  # fmt: skip
