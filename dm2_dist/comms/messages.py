"""Every message that crosses a process boundary: one frozen struct per kind, nothing untyped.

Three conversations, each in both directions:
  control       actors, learners and the launcher with the head:
                HELLO, BEAT, WANT, RESULT, BYE / WELCOME, LEASE, ORDERS, STATUS
  trajectories  an actor with learner k:
                OPEN, TRAJECTORY, GET / CREDIT, SETTLE, PARAMETERS, REJECT
  parameters    learner k to every actor: PARAMETERS, BEACON
                (published; who missed one sees the beacon and asks with GET)

Frame 1 is a checked msgpack header of at most 4 KiB (256 KiB on control), frame 2 one optional body
of raw bytes. CREDIT says "it is off the wire, send more"; SETTLE says "the checkpoint that contains
its effect is on disk".
"""

from dm2_dist.comms.control_messages import (
    ActorBeat,
    Bye,
    Command,
    Directory,
    Exited,
    Hello,
    LearnerBeat,
    Lease,
    Orders,
    Reject,
    Result,
    Returned,
    Status,
    Want,
    Welcome,
)
from dm2_dist.comms.message import PROTOCOL, Count, Message, Name, Outcome, Source
from dm2_dist.comms.trajectory_messages import (
    Beacon,
    Credit,
    Get,
    Missing,
    Open,
    Parameters,
    Settle,
    TensorSpec,
    Trajectory,
)

__all__ = [
    "CONTROL_KINDS",
    "PROTOCOL",
    "TRAJECTORY_KINDS",
    "ActorBeat",
    "Beacon",
    "Bye",
    "Command",
    "Count",
    "Credit",
    "Directory",
    "Exited",
    "Get",
    "Hello",
    "LearnerBeat",
    "Lease",
    "Message",
    "Missing",
    "Name",
    "Open",
    "Orders",
    "Outcome",
    "Parameters",
    "Reject",
    "Result",
    "Returned",
    "Settle",
    "Source",
    "Status",
    "TensorSpec",
    "Trajectory",
    "Want",
    "Welcome",
]

CONTROL_KINDS: tuple[type[Message], ...] = (
    Hello, LearnerBeat, ActorBeat, Want, Returned, Result, Bye, Exited, Command,
    Welcome, Directory, Lease, Orders, Status, Reject,
)  # fmt: skip
TRAJECTORY_KINDS: tuple[type[Message], ...] = (
    Open, Trajectory, Get, Credit, Settle, Parameters, Beacon, Missing, Reject,
)  # fmt: skip
