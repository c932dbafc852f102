"""The trajectory conversation: an actor with a learner; and what a learner publishes."""

import msgspec

from dm2_dist.comms.message import Count, Message, Outcome, Source


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a body: its bytes start at `offset`, a multiple of 64."""

    name: str
    dtype: str
    shape: tuple[Count, ...]
    offset: Count


# --- trajectories: actor to learner ---


class Open(Message, frozen=True, kw_only=True):
    """An actor opens its conversation with a learner and asks for credit."""

    protocol: Count
    source: Source
    run_id: str


class Trajectory(Message, frozen=True, kw_only=True):
    """One agent's slice of one played ticket; the body holds its tensors.

    learner_incarnation: the learner it was addressed to; after a restart the actor resends.
    sequence: 0, 1, 2, ... per (source, agent), without gaps: the unit of the books.
    digest: 128-bit XXH3 of the body, hexadecimal.
    floor: what became of every sequence below is known to the source; at most `sequence`.
    """

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
    floor: Count = 0


class Get(Message, frozen=True, kw_only=True):
    """An actor asks for one parameter version."""

    source: Source
    version: Count


# --- trajectories: learner to actor ---


class Credit(Message, frozen=True, kw_only=True):
    """Permission to send `amount` more; answers OPEN, and every few trajectories off the wire.

    opens: it answers OPEN: `amount` is the whole window and replaces what was granted before, and
        whatever is unsettled must be sent again: a connection that broke may have swallowed it.
    """

    learner_incarnation: Count
    amount: Count
    opens: bool = False


class Settle(Message, frozen=True, kw_only=True):
    """These are accounted for on disk: (sequence, outcome), `trained` or a reason."""

    learner_incarnation: Count
    outcomes: tuple[tuple[Count, Outcome], ...]


# --- parameters: learner to actors ---


class Parameters(Message, frozen=True, kw_only=True):
    """A policy snapshot; the body is safetensors. Published, and sent in answer to GET."""

    agent: Count
    version: Count
    digest: str


class Beacon(Message, frozen=True, kw_only=True):
    """Once a second: the newest version, for whoever missed its publication."""

    agent: Count
    version: Count
    digest: str


class Missing(Message, frozen=True, kw_only=True):
    """Answer to GET of a version that is not there (any more, or yet)."""

    agent: Count
    version: Count
