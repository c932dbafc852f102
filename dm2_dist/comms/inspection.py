"""Whether a well-formed trajectory makes sense: who it is for, and what its arrays say.

`codec` establishes names, types, shapes and bytes; here every value is checked before it is learned
from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dm2_dist import trajectory
from dm2_dist.comms.messages import Trajectory
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import Slice

LOG_PROB_TOLERANCE = 1e-5
"""A log-probability is at most 0; float32 rounding may lift it by this much."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a slice must look like, known from the environment and the ticket.

    observation_size: O.
    num_actions: A.
    episode_limit: largest T_e.
    num_episodes: E of the ticket.
    """

    observation_size: int
    num_actions: int
    episode_limit: int
    num_episodes: int


def check_header(header: Trajectory, run_id: str, agent: int, versions: Sequence[int]) -> None:
    """Check that a trajectory is for this run and agent and was played with the right policies.

    Args:
        header: the trajectory's header.
        run_id: this run.
        agent: the seat that the receiver trains.
        versions: [K] parameter versions that the ticket's iteration asks for.

    Raises:
        Refused: unknown_run, schema (another agent) or stale (other versions).
    """
    if header.run_id != run_id:
        raise Refused(Reason.UNKNOWN_RUN, f"belongs to run {header.run_id!r}")
    if header.agent != agent:
        raise Refused(Reason.SCHEMA, f"agent {header.agent} sent to the learner of agent {agent}")
    if header.versions != tuple(versions):
        raise Refused(
            Reason.STALE, f"played with versions {header.versions}, not {tuple(versions)}"
        )


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


def check_slice(data: Slice, expectation: Expectation) -> None:
    """Check the values of a slice whose dtypes and shapes are already right.

    Raises:
        Refused: schema, nonfinite or illegal_action.
    """
    _check_episodes(data, expectation)
    for name in ("observation", "reward", "behaviour_log_prob"):
        if not np.isfinite(getattr(data, name)).all():
            raise Refused(Reason.NONFINITE, f"{name} holds a value that is not finite")
    if data.behaviour_log_prob.max() > LOG_PROB_TOLERANCE:
        raise Refused(Reason.SCHEMA, "behaviour_log_prob is above 0")
    if data.action.max() >= expectation.num_actions:
        raise Refused(
            Reason.ILLEGAL_ACTION, f"action {data.action.max()} of {expectation.num_actions}"
        )
    rows = trajectory.action_rows(data.length)
    if not data.available_actions[rows, data.action].all():
        raise Refused(Reason.ILLEGAL_ACTION, "an action was not available when it was taken")


def _check_episodes(data: Slice, expectation: Expectation) -> None:
    """Lengths fill the rows, flags are 0 or 1, every episode ended in exactly one way."""
    if data.length.min() < 1 or data.length.max() > expectation.episode_limit:
        raise Refused(Reason.SCHEMA, f"an episode length is outside 1..{expectation.episode_limit}")
    if int(data.length.sum(dtype=np.int64)) != data.env_steps:
        raise Refused(Reason.SCHEMA, "episode lengths do not add up to the action rows")
    for name in ("available_actions", "alive", "terminated", "truncated", "won"):
        if getattr(data, name).max() > 1:
            raise Refused(Reason.SCHEMA, f"{name} holds something other than 0 and 1")
    if not (data.terminated ^ data.truncated).all():
        raise Refused(Reason.SCHEMA, "an episode ended both ways or neither")
