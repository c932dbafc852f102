"""The tensors of one iteration: one agent's episodes, or pieces of them, laid out to be walked.

All index arithmetic happens here, once, on the host; the epochs only read tensors on the device.
Fed by `learners.intake` with a `Slice`; feeds `learners.independent`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dm2_dist import networks, trajectory
from dm2_dist.functional import categorical, episodes, gae


class Unroll(NamedTuple):
    """Rows cut into C chunks of L rows for back-propagation through time.

    inputs: float32 [L, C, O + A + K] standardised network inputs.
    keep: float32 [L, C, 1] 0 on the first row of an episode, else 1.
    weight: float32 [L, C] 1 where the row counts in the loss.
    action_row: int64 [L, C] which action row this is.
    preceding: int64 [C] observation row whose core state enters the chunk; N + e where the chunk
        begins with piece e, which goes on from what the actor remembered.
    """

    inputs: torch.Tensor
    keep: torch.Tensor
    weight: torch.Tensor
    action_row: torch.Tensor
    preceding: torch.Tensor

    def entering(self, core_state: torch.Tensor) -> torch.Tensor:
        """Core state entering each chunk, float32 [C, H].

        Args:
            core_state: float32 [N, H] core state after each observation row; of pieces [N + E, H],
                the one entering each piece last (`networks.RecurrentNetwork.walk`).
        """
        # A chunk that opens an episode picks up a stranger's state here and resets it with `keep`.
        return core_state[self.preceding]


class Task(NamedTuple):
    """What gradient steps of one network read, in C chunks of L rows.

    core_state: float32 [C, H] entering each chunk.
    rows: [L, C, ...] each: inputs, keep, and what the loss is made of.
    """

    core_state: torch.Tensor
    rows: tuple[torch.Tensor, ...]

    def deal(self, number: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Deal the chunks to at most `number` steps at random, int64 [..] on the device each."""
        order = torch.randperm(self.core_state.shape[0], generator=generator)
        return list(order.to(self.core_state.device).chunk(number))

    def chunks(self, chosen: torch.Tensor) -> "Task":
        """Only the chunks `chosen`, int64 [M], on the device."""
        rows = tuple(row.index_select(1, chosen) for row in self.rows)
        return Task(self.core_state.index_select(0, chosen), rows)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The core state, then all rows."""
        return self.core_state, *self.rows


def choices(unavailable: torch.Tensor, action: torch.Tensor) -> categorical.Choices:
    """All rows of these, bool [L, C, A] and int64 [L, C], in their order."""
    row = torch.arange(action.numel(), device=action.device).view_as(action)
    return categorical.Choices(unavailable.flatten(0, 1), action.flatten(), row)


class Batch(NamedTuple):
    """One agent's part of an iteration, on the learner's device.

    observation: float32 [R, O] before each action.
    inputs: float32 [N, O + A + K] standardised network inputs of all observations.
    order: how episodes are walked.
    rows: where the action rows lie.
    action: int64 [R]
    unavailable: bool [R, A] true where an action is illegal.
    behaviour_log_prob: float32 [R]
    reward: float32 [R] team reward.
    alive: float32 [R] 1 while the agent lives.
    terminated: bool [E]
    policy: the rows a policy loss depends on, weight 1 where the agent lives.
    critic: all action rows, weight 1.
    policy_memory: float32 [E, H] core state of the policy that acted entering each piece; None
        where all episodes are whole.
    critic_memory: float32 [E, H] likewise of the critic.
    """

    observation: torch.Tensor
    inputs: torch.Tensor
    order: episodes.TimeOrder
    rows: gae.EpisodeIndex
    action: torch.Tensor
    unavailable: torch.Tensor
    behaviour_log_prob: torch.Tensor
    reward: torch.Tensor
    alive: torch.Tensor
    terminated: torch.Tensor
    policy: Unroll
    critic: Unroll
    policy_memory: torch.Tensor | None = None
    critic_memory: torch.Tensor | None = None


def prepare(
    slice_: trajectory.Slice, agent: int, num_agents: int, chunk_length: int, device: torch.device
) -> Batch:
    """Lay one agent's episodes out on the device.

    Args:
        slice_: episodes, or pieces of them, in ticket order.
        agent: k.
        num_agents: K.
        chunk_length: L.
        device: of the learner.
    """
    length = slice_.length
    row = trajectory.action_rows(length)
    alive = slice_.alive[row] != 0
    inputs = networks.standardise(
        torch.from_numpy(networks.network_input(slice_, agent, num_agents)).to(device)
    )
    starts = np.ones(length.shape[0], np.bool_)
    policy_memory = critic_memory = None
    if slice_.entering is not None:
        starts = slice_.entering.first
        policy_memory, critic_memory = _tensor(slice_.entering.core_state, device).unbind(1)
    lived = episodes.rows_until_last_alive(length, alive)
    every = np.arange(row.shape[0], dtype=np.int64)
    return Batch(
        observation=_tensor(slice_.observation[row], device),
        inputs=inputs,
        order=episodes.time_order(length),
        rows=gae.index(length, device),
        action=_tensor(slice_.action.astype(np.int64), device),
        unavailable=_tensor(slice_.available_actions[row] == 0, device),
        behaviour_log_prob=_tensor(slice_.behaviour_log_prob, device),
        reward=_tensor(slice_.reward, device),
        alive=_tensor(alive.astype(np.float32), device),
        terminated=_tensor(slice_.terminated != 0, device),
        policy=_unroll(length, starts, lived, alive, inputs, chunk_length),
        critic=_unroll(length, starts, every, np.ones_like(alive), inputs, chunk_length),
        policy_memory=policy_memory,
        critic_memory=critic_memory,
    )


def _unroll(
    length: trajectory.I32,
    starts: episodes.Bool,
    action_row: episodes.I64,
    counts: episodes.Bool,
    inputs: torch.Tensor,
    chunk_length: int,
) -> Unroll:
    """Cut the action rows `action_row` [M] into chunks.

    Args:
        length: int32 [E] T_e of each episode or piece.
        starts: bool [E] whether it starts an episode.
        action_row: int64 [M] rows to unroll, the first row of every piece among them.
        counts: bool [R] whether a row counts in the loss.
        inputs: float32 [N, O + A + K].
        chunk_length: L.
    """
    device = inputs.device
    piece = episodes.row_episode(length)
    opens = episodes.row_time(length) == 0
    first, resumed = opens & starts[piece], opens & ~starts[piece]
    chunks = episodes.cut(action_row, first[action_row], chunk_length, resumed[action_row])
    observation_row = trajectory.action_rows(length)[chunks.row]
    head, before = chunks.row[0], np.maximum(observation_row[0] - 1, 0)
    preceding = np.where(resumed[head], inputs.shape[0] + piece[head], before)
    weight = (counts[chunks.row] & chunks.valid).astype(np.float32)
    keep = (~chunks.first[..., None]).astype(np.float32)
    return Unroll(
        inputs=inputs[_tensor(observation_row, device)],
        keep=_tensor(keep, device),
        weight=_tensor(weight, device),
        action_row=_tensor(chunks.row, device),
        preceding=_tensor(preceding, device),
    )


def _tensor(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Copy to the device; arrays from the wire are read-only views, which torch must not alias."""
    return torch.from_numpy(np.array(array, copy=True, order="C")).to(device)
