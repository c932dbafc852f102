"""Whether a well-formed trajectory makes sense: who it is for, and what its arrays say.

`slice_body` establishes names, types, shapes and bytes, `inspection_kernels` looks at every value;
here is what concerns headers and the pieces of unrolls.
"""

from dataclasses import dataclass

import numpy as np

from dm2_dist.comms.messages import Trajectory
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import Bool, Entering, Slice

LOG_PROB_TOLERANCE = 1e-5
"""A log-probability is at most 0; float32 rounding may lift it by this much."""
CORE_STATE_LIMIT = 1.0 + 1e-5
"""A core state is a mean of hyperbolic tangents; float32 rounding may lift it by that much."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a slice must look like, known from the environment and the ticket.

    observation_size: O.
    num_actions: A.
    episode_limit: largest T_e.
    num_episodes: E of the ticket; of an unroll the battles that it plays side by side.
    unroll_length: n, environment steps of an unroll; 0 where the ticket holds whole episodes.
    hidden_size: H of the core states that come with an unroll; 0 where none do.
    """

    observation_size: int
    num_actions: int
    episode_limit: int
    num_episodes: int
    unroll_length: int = 0
    hidden_size: int = 0

    @property
    def fewest_steps(self) -> int:
        """Fewest action rows."""
        return self.num_episodes * (self.unroll_length or 1)

    @property
    def most_steps(self) -> int:
        """Most action rows; an unroll has always as many."""
        return self.num_episodes * (self.unroll_length or self.episode_limit)


def check_header(
    header: Trajectory, run_id: str, agent: int, num_agents: int, versions: range
) -> None:
    """Check that a trajectory is for this run and agent and was played with the right policies.

    Args:
        header: the trajectory's header.
        run_id: this run.
        agent: the seat that the receiver trains.
        num_agents: K.
        versions: parameter versions that the ticket's iteration may be played with.

    Raises:
        Refused: unknown_run, schema (another agent) or stale (other versions).
    """
    if header.run_id != run_id:
        raise Refused(Reason.UNKNOWN_RUN, f"belongs to run {header.run_id!r}")
    if header.agent != agent:
        raise Refused(Reason.SCHEMA, f"agent {header.agent} sent to the learner of agent {agent}")
    if len(header.versions) != num_agents:
        raise Refused(Reason.SCHEMA, f"{len(header.versions)} versions for {num_agents} seats")
    if not all(version in versions for version in header.versions):
        wanted = f"{versions.start} to {versions.stop - 1}"
        raise Refused(Reason.STALE, f"played with versions {header.versions}, not {wanted}")


def check_place(header: Trajectory, oldest: int, horizon: int, tickets: int) -> None:
    """Check that a trajectory belongs to an iteration that there is room for.

    Args:
        header: the trajectory's header.
        oldest: the iteration that is trained next.
        horizon: iterations after it whose tickets may be out already.
        tickets: tickets per iteration.

    Raises:
        Refused: schema (no such ticket) or buffer_full.
    """
    if header.index >= tickets:
        raise Refused(Reason.SCHEMA, f"ticket {header.index} of {tickets}")
    if header.iteration > oldest + horizon:
        raise Refused(Reason.BUFFER_FULL, f"iteration {header.iteration} while {oldest} is next")


def check_pieces(data: Slice, entering: Entering, expectation: Expectation) -> None:
    """Each battle fills its n rows: its first piece may go on, its last one may be cut off.

    Raises:
        Refused: schema or nonfinite.
    """
    for name in ("return_before", "core_state"):
        if not np.isfinite(getattr(entering, name)).all():
            raise Refused(Reason.NONFINITE, f"{name} holds a value that is not finite")
    end = np.cumsum(data.length, dtype=np.int64)
    full = np.arange(1, expectation.num_episodes + 1) * expectation.unroll_length
    if not np.isin(full, end).all():
        raise Refused(Reason.SCHEMA, "the pieces of a battle do not fill its unroll")
    at_start = (end - data.length) % expectation.unroll_length == 0
    at_end = end % expectation.unroll_length == 0
    _check_cuts(data, entering, expectation, at_end)
    _check_memory(entering, expectation, at_start)


def _check_cuts(data: Slice, entering: Entering, expectation: Expectation, at_end: Bool) -> None:
    """Only the end of an unroll cuts an episode, and only one that was not over."""
    if (data.terminated & data.truncated).any():
        raise Refused(Reason.SCHEMA, "an episode ended both ways")
    if not (data.ended | at_end).all():
        raise Refused(Reason.SCHEMA, "an episode was cut off before the end of its unroll")
    if data.won[~data.ended].any():
        raise Refused(Reason.SCHEMA, "an episode was won that had not ended")
    if entering.steps_before.min() < 0:
        raise Refused(Reason.SCHEMA, "steps_before is below 0")
    steps = entering.steps_before.astype(np.int64) + data.length
    if (steps + ~data.ended > expectation.episode_limit).any():
        raise Refused(Reason.SCHEMA, f"an episode goes past {expectation.episode_limit} steps")


def _check_memory(entering: Entering, expectation: Expectation, at_start: Bool) -> None:
    """What goes on remembers something possible, what begins remembers nothing."""
    first = entering.first
    if not (first | at_start).all():
        raise Refused(Reason.SCHEMA, "an episode goes on in the middle of an unroll")
    action = entering.previous_action
    if (action[first] != -1).any() or entering.return_before[first].any():
        raise Refused(Reason.SCHEMA, "an episode that begins has a past")
    if entering.core_state[first].any():
        raise Refused(Reason.SCHEMA, "an episode that begins has a core state")
    if (action[~first] < 0).any() or (action >= expectation.num_actions).any():
        raise Refused(Reason.SCHEMA, f"previous_action is outside 0..{expectation.num_actions - 1}")
    if np.abs(entering.core_state).max() > CORE_STATE_LIMIT:
        raise Refused(Reason.SCHEMA, "core_state is outside -1..1")
