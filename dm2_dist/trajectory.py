"""The arrays that travel: episodes end to end, one agent at a time.

Convention (read it once, it holds everywhere): `observation[t] -> action[t] -> reward[t] ->
observation[t+1]`. An episode e has T_e actions and T_e + 1 observations. E episodes lie end to end
without padding:

    R = sum(T_e) action rows,    N = R + E observation rows.

`terminated` (the battle was decided), `truncated` (the time limit cut it), `alive` (this agent
lives) and `available_actions` (what it may do) are four different things.

An unroll of fixed length holds pieces of episodes instead. All of the above stands, with "piece"
for "episode", and `Entering` says what each piece goes on from. A piece that the end of the unroll
cut off is neither terminated nor truncated; its last observation is what the next piece begins
with. Fed by `actors.actor` and `actors.unroll`; feeds `learners.intake`, `learners.independent` and
`dm2_dist.demonstrations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Entering:
    """What one agent brings into E pieces of episodes from the pieces before them.

    steps_before: int32 [E] environment steps of the episode before the piece; 0 where it starts
        one, and then all else is empty too.
    return_before: float32 [E] team reward of the episode before the piece.
    previous_action: int16 [E] the agent's action before the piece's first row; -1 if none.
    core_state: float32 [E, 2, H] what the agent's policy and critic, in this order, remember when
        they meet the piece's first row; a policy remembers nothing new after its agent's death.
    """

    steps_before: I32
    return_before: F32
    previous_action: I16
    core_state: F32

    @property
    def first(self) -> Bool:
        """Whether each piece starts its episode, bool [E]."""
        first: Bool = self.steps_before == 0
        return first


@dataclass(frozen=True, slots=True)
class Slice:
    """What one agent saw and did in E whole episodes, or in E pieces of episodes.

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
    entering: what the pieces go on from; None where all episodes are whole.
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
    entering: Entering | None = None

    @property
    def env_steps(self) -> int:
        """R, the environment steps in this slice."""
        return int(self.action.shape[0])

    @property
    def num_episodes(self) -> int:
        """E, the episodes in this slice, or pieces of episodes."""
        return int(self.length.shape[0])

    @property
    def num_started(self) -> int:
        """Episodes that start in this slice."""
        return self.num_episodes if self.entering is None else int(self.entering.first.sum())

    @property
    def ended(self) -> Bool:
        """Whether the episode ended here, bool [E]: all of them, unless an unroll's end cut it."""
        ended: Bool = (self.terminated | self.truncated) != 0
        return ended

    def returns(self) -> F32:
        """Undiscounted team return of each episode from its start, float32 [E].

        Of a piece that `ended` does not name it is the return so far.
        """
        ends = np.cumsum(self.length)
        sums = np.concatenate([[0.0], np.cumsum(self.reward, dtype=np.float64)])
        here = sums[ends] - sums[ends - self.length]
        before = 0.0 if self.entering is None else self.entering.return_before
        returns: F32 = (here + before).astype(np.float32)
        return returns


ENTERING_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Entering))
SLICE_FIELDS: tuple[str, ...] = tuple(
    field.name for field in fields(Slice) if field.name != "entering"
)


def arrays_of(slice_: Slice) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a slice by name; those of `Entering` come last, where it has them."""
    arrays = {name: getattr(slice_, name) for name in SLICE_FIELDS}
    if slice_.entering is None:
        return arrays
    return arrays | {name: getattr(slice_.entering, name) for name in ENTERING_FIELDS}


def slice_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Slice:
    """The slice that has these arrays.

    Args:
        arrays: as `arrays_of` gives them; what has none of the arrays of `Entering` is whole.

    Raises:
        KeyError: one is missing.
    """
    entering = None
    if not set(ENTERING_FIELDS).isdisjoint(arrays):
        entering = Entering(**{name: arrays[name] for name in ENTERING_FIELDS})
    return Slice(**{name: arrays[name] for name in SLICE_FIELDS}, entering=entering)


def concatenate(slices: Sequence[Slice]) -> Slice:
    """Lay slices of the same agent end to end, in the order given.

    Args:
        slices: all of whole episodes, or all of pieces.
    """
    parts = [arrays_of(part) for part in slices]
    assert len({len(part) for part in parts}) == 1, "whole episodes and pieces do not mix"
    return slice_of({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def action_rows(length: I32) -> npt.NDArray[np.int64]:
    """Index of each action row among the N observation rows, int64 [R].

    Args:
        length: int32 [E] T_e of each episode.
    """
    rows = np.arange(int(length.sum()), dtype=np.int64)
    return rows + np.repeat(np.arange(length.shape[0], dtype=np.int64), length)


def starts(length: I32) -> npt.NDArray[np.int64]:
    """The first observation row of every episode or piece, int64 [E]."""
    num_rows = length.astype(np.int64) + 1
    return np.cumsum(num_rows) - num_rows
