"""What an actor writes down of an unroll, and how it is cut into pieces of episodes.

Filled by `actors.unroll`; feeds `dm2_dist.trajectory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.interface import BattleBatch
from dm2_dist.inference import NO_ACTION
from dm2_dist.trajectory import Entering, Slice


class Memory(NamedTuple):
    """What E battles of K agents go on from; see `trajectory.Entering`.

    steps: int32 [E]
    returns: float32 [E]
    last_action: int16 [E, K]
    core_state: float32 [E, K, 2, H] of policies and critics.
    """

    steps: npt.NDArray[np.int32]
    returns: npt.NDArray[np.float32]
    last_action: npt.NDArray[np.int16]
    core_state: npt.NDArray[np.float32]

    def of(self, agent: int, goes_on: npt.NDArray[np.bool_]) -> Entering:
        """What the pieces of one agent go on from: nothing, but for the first of each battle.

        Args:
            agent: k.
            goes_on: bool [P] the first piece of each battle.
        """
        num_pieces, hidden_size = goes_on.size, self.core_state.shape[-1]
        entering = Entering(
            steps_before=np.zeros(num_pieces, np.int32),
            return_before=np.zeros(num_pieces, np.float32),
            previous_action=np.full(num_pieces, NO_ACTION, np.int16),
            core_state=np.zeros((num_pieces, 2, hidden_size), np.float32),
        )
        entering.steps_before[goes_on] = self.steps
        entering.return_before[goes_on] = self.returns
        entering.previous_action[goes_on] = self.last_action[:, agent]
        entering.core_state[goes_on] = self.core_state[:, agent]
        return entering


class _Pieces(NamedTuple):
    """P pieces, battle after battle.

    battle: int64 [P]
    begin: int64 [P] its first step.
    last: int64 [P] its last step.
    row: int64 [N] place in the recording of each observation row, and its battle, int64 [N].
    """

    battle: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    row: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(slots=True)
class Recording:
    """Joint arrays of E battles over n steps, time first; one unroll overwrites the other.

    What is seen before step t lies at t; at n + t what was seen after it, where a piece ended.

    observation: float32 [2n, E, K, O]
    available_actions: uint8 [2n, E, K, A]
    alive: uint8 [2n, E, K]
    action: uint8 [n, E, K]
    log_prob: float32 [n, E, K]
    reward: float32 [n, E]
    terminated, truncated, won: uint8 [n, E] after the step.
    """

    observation: npt.NDArray[np.float32]
    available_actions: npt.NDArray[np.uint8]
    alive: npt.NDArray[np.uint8]
    action: npt.NDArray[np.uint8]
    log_prob: npt.NDArray[np.float32]
    reward: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.uint8]
    truncated: npt.NDArray[np.uint8]
    won: npt.NDArray[np.uint8]

    @classmethod
    def empty(cls, battles: BattleBatch, length: int) -> Self:
        """Room for `length` steps of these battles."""
        size, agents = battles.num_envs, battles.num_agents
        seen, acted = (2 * length, size, agents), (length, size, agents)
        flags = [np.empty((length, size), np.uint8) for _ in range(3)]
        return cls(
            np.empty((*seen, battles.observation_size), np.float32),
            np.empty((*seen, battles.num_actions), np.uint8),
            np.empty(seen, np.uint8),
            np.empty(acted, np.uint8),
            np.empty(acted, np.float32),
            np.empty((length, size), np.float32),
            *flags,
        )

    def note_before(self, step: int, battles: BattleBatch) -> None:
        """Write down what is seen before step `step`."""
        self._note(step, battles, slice(None))

    def note_after(
        self,
        step: int,
        battles: BattleBatch,
        action: npt.NDArray[np.int64],
        log_prob: npt.NDArray[np.float32],
    ) -> None:
        """Write down what was done in step `step`, and what it led to where a piece ends.

        Args:
            step: of the unroll, from 0.
            battles: after the step.
            action: int64 [E, K].
            log_prob: float32 [E, K].
        """
        self.action[step], self.log_prob[step] = action, log_prob
        self.reward[step] = battles.reward
        self.terminated[step] = battles.terminated
        self.truncated[step] = battles.truncated
        self.won[step] = battles.won
        length = self.action.shape[0]
        ended = slice(None) if step == length - 1 else np.flatnonzero(battles.finished)
        self._note(length + step, battles, ended)

    def _note(self, place: int, battles: BattleBatch, rows: slice | npt.NDArray[np.int64]) -> None:
        self.observation[place, rows] = battles.observation[rows]
        self.available_actions[place, rows] = battles.available_actions[rows]
        self.alive[place, rows] = battles.alive[rows]

    def slices(self, memory: Memory) -> list[Slice]:
        """Cut the joint recording into one ragged slice per agent.

        Args:
            memory: what the battles went on from at the first step.

        Returns:
            [K] copies, battle after battle.
        """
        pieces = self._pieces()
        ended = pieces.last, pieces.battle
        reward = self.reward.T.flatten()
        length = (pieces.last - pieces.begin + 1).astype(np.int32)
        return [
            Slice(
                observation=self.observation[(*pieces.row, agent)],
                available_actions=self.available_actions[(*pieces.row, agent)],
                alive=self.alive[(*pieces.row, agent)],
                action=self.action[:, :, agent].T.flatten(),
                behaviour_log_prob=self.log_prob[:, :, agent].T.flatten(),
                reward=reward,
                length=length,
                terminated=self.terminated[ended],
                truncated=self.truncated[ended],
                won=self.won[ended],
                entering=memory.of(agent, pieces.begin == 0),
            )
            for agent in range(self.action.shape[2])
        ]

    def _pieces(self) -> _Pieces:
        """Where pieces lie: a battle's end ends one, and so does the last step."""
        length, size = self.reward.shape
        ends = ((self.terminated | self.truncated) != 0).T.copy()
        ends[:, -1] = True
        battle, last = np.nonzero(ends)
        begin = np.zeros_like(last)
        begin[1:] = np.where(battle[1:] == battle[:-1], last[:-1] + 1, 0)
        # Two places for each step: before it, and after it where a piece ended.
        shown = np.stack([np.ones_like(ends), ends], axis=-1)
        places = np.arange(length)[:, None] + [0, length]
        row = np.broadcast_to(places, shown.shape)[shown]
        of = np.broadcast_to(np.arange(size)[:, None, None], shown.shape)[shown]
        return _Pieces(battle, begin, last, (row, of))
