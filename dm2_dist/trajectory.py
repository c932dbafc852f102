"""The arrays that travel: episodes end to end, one agent at a time.

Convention (read it once, it holds everywhere): `observation[t] -> action[t] -> reward[t] ->
observation[t+1]`. An episode e has T_e actions and T_e + 1 observations. E episodes lie end to end
without padding:

    R = sum(T_e) action rows,    N = R + E observation rows.

`terminated` (the battle was decided), `truncated` (the time limit cut it), `alive` (this agent
lives) and `available_actions` (what it may do) are four different things. Fed by `actors.actor`;
feeds `learners.intake`, `learners.independent` and `dm2_dist.demonstrations`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one agent saw and did in E whole episodes.

    observation: float32 [N, O] own local observation, final observation included.
    available_actions: uint8 [N, A] 1 where the action is legal.
    alive: uint8 [N] 1 while this agent lives.
    action: uint8 [R] index of the action taken.
    behaviour_log_prob: float32 [R] log-probability of that action under the policy that acted.
    reward: float32 [R] team reward that followed, the same for every agent, dead or alive.
    length: int32 [E] T_e, environment steps of each episode.
    terminated: uint8 [E] the battle was decided.
    truncated: uint8 [E] the time limit ended it.
    won: uint8 [E] the battle was won.
    """

    observation: F32
    available_actions: U8
    alive: U8
    action: U8
    behaviour_log_prob: F32
    reward: F32
    length: I32
    terminated: U8
    truncated: U8
    won: U8

    @property
    def env_steps(self) -> int:
        """R, the environment steps in this slice."""
        return int(self.action.shape[0])

    @property
    def num_episodes(self) -> int:
        """E, the episodes in this slice."""
        return int(self.length.shape[0])

    def returns(self) -> F32:
        """Undiscounted team return of each episode, float32 [E]."""
        ends = np.cumsum(self.length)
        sums = np.concatenate([[0.0], np.cumsum(self.reward, dtype=np.float64)])
        returns: F32 = (sums[ends] - sums[ends - self.length]).astype(np.float32)
        return returns


SLICE_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Slice))


def concatenate(slices: Sequence[Slice]) -> Slice:
    """Lay slices of the same agent end to end, in the order given."""
    return Slice(
        **{name: np.concatenate([getattr(part, name) for part in slices]) for name in SLICE_FIELDS}
    )


def action_rows(length: I32) -> npt.NDArray[np.int64]:
    """Index of each action row among the N observation rows, int64 [R].

    Args:
        length: int32 [E] T_e of each episode.
    """
    rows = np.arange(int(length.sum()), dtype=np.int64)
    return rows + np.repeat(np.arange(length.shape[0], dtype=np.int64), length)


def first_rows(length: I32) -> npt.NDArray[np.bool_]:
    """True on the first observation row of every episode, bool [N]."""
    first = np.zeros(int(length.sum()) + length.shape[0], dtype=np.bool_)
    starts = np.concatenate([[0], np.cumsum(length + 1)[:-1]])
    first[starts] = True
    return first
