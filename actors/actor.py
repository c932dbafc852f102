"""Playing a ticket: a pure function (ticket, parameters) -> episodes.

Every random draw is keyed by an episode seed and the step, every batch shape follows from the
ticket, and nothing survives from one ticket to the next. So the result does not depend on who
plays, when, or how often. Fed by `actors.session`; feeds `dm2_dist.trajectory`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from dm2_dist import seeding
from dm2_dist.envs.interface import BattleBatch, GameLost
from dm2_dist.inference import NO_ACTION, Players, StackedPolicy
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

_ACTION_KEY = np.uint64(seeding.derive("action"))

T = TypeVar("T", bound=np.generic)

__all__ = ["NO_ACTION", "play", "play_to_the_end"]


@dataclass(slots=True)
class _Recording:
    """Joint arrays of E battles over at most T steps, time first.

    observation: float32 [T+1, E, K, O]
    available_actions: uint8 [T+1, E, K, A]
    alive: uint8 [T+1, E, K]
    action: uint8 [T, E, K]
    log_prob: float32 [T, E, K]
    reward: float32 [T, E]
    """

    observation: npt.NDArray[np.float32]
    available_actions: npt.NDArray[np.uint8]
    alive: npt.NDArray[np.uint8]
    action: npt.NDArray[np.uint8]
    log_prob: npt.NDArray[np.float32]
    reward: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, battles: BattleBatch, num_episodes: int) -> Self:
        """Room for the longest battles."""
        limit, each = battles.episode_limit, (num_episodes, battles.num_agents)
        return cls(
            observation=np.empty((limit + 1, *each, battles.observation_size), np.float32),
            available_actions=np.empty((limit + 1, *each, battles.num_actions), np.uint8),
            alive=np.empty((limit + 1, *each), np.uint8),
            action=np.empty((limit, *each), np.uint8),
            log_prob=np.empty((limit, *each), np.float32),
            reward=np.empty((limit, num_episodes), np.float32),
        )

    def note_before(self, step: int, battles: BattleBatch) -> None:
        """Write down what is seen before step `step`; a battle that is over shows its end."""
        self.observation[step] = battles.observation
        self.available_actions[step] = battles.available_actions
        self.alive[step] = battles.alive

    def note_after(self, step: int, battles: BattleBatch, players: Players) -> None:
        """Write down what was done in step `step`, and what it earned."""
        self.action[step] = players.action
        self.log_prob[step] = players.log_prob
        self.reward[step] = battles.reward

    def slices(self, battles: BattleBatch) -> list[Slice]:
        """Cut the joint recording of battles that are over into one ragged slice per agent."""
        length = battles.episode_steps.astype(np.int32)
        seen, acted = self._rows(length + 1), self._rows(length)
        reward = self.reward.ravel().take(acted)
        agents = battles.num_agents

        def cut(values: npt.NDArray[T], rows: npt.NDArray[np.int64], agent: int) -> npt.NDArray[T]:
            flat = values.reshape(-1, *values.shape[3:])
            return flat.take(rows * agents + agent, axis=0)

        return [
            Slice(
                observation=cut(self.observation, seen, agent),
                available_actions=cut(self.available_actions, seen, agent),
                alive=cut(self.alive, seen, agent),
                action=cut(self.action, acted, agent),
                behaviour_log_prob=cut(self.log_prob, acted, agent),
                reward=reward,
                length=length,
                terminated=battles.terminated.copy(),
                truncated=battles.truncated.copy(),
                won=battles.won.copy(),
            )
            for agent in range(agents)
        ]

    def _rows(self, counts: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Places of the first steps of every episode, episode after episode, time first."""
        size = counts.size
        return np.concatenate([np.arange(n) * size + e for e, n in enumerate(counts.tolist())])


def play(
    ticket: Ticket,
    policy: StackedPolicy,
    battles: BattleBatch,
    on_step: Callable[[], None],
) -> list[Slice]:
    """Play a ticket's episodes side by side.

    Args:
        ticket: what to play; E episodes.
        policy: the K policies of the ticket's versions.
        battles: E battles of the run's map; whatever they held is overwritten.
        on_step: called once per environment step, to keep connections alive; may raise to abandon
            the ticket.

    Returns:
        [K] what each agent saw, episodes in ticket order.
    """
    seeds = np.array(ticket.seeds, dtype=np.uint64)
    record = _Recording.empty(battles, seeds.size)
    battles.reset(seeds)
    players = Players(policy, battles, seeding.mix(seeds ^ _ACTION_KEY), greedy=ticket.greedy)
    step = 0
    while True:
        record.note_before(step, battles)
        if players.act(step) == 0:
            return record.slices(battles)
        on_step()
        battles.step(players.action)
        record.note_after(step, battles, players)
        step += 1


def play_to_the_end(
    ticket: Ticket,
    policy: StackedPolicy,
    battles: BattleBatch,
    on_step: Callable[[], None],
    on_lost: Callable[[GameLost], None],
) -> list[Slice]:
    """Play a ticket, from its start again whenever the game went down in the middle.

    What a lost game had shown is thrown away: only battles that ended by the rules leave this
    function.

    Args:
        ticket: what to play; E episodes.
        policy: the K policies of the ticket's versions.
        battles: E battles of the run's map.
        on_step: called once per environment step; may raise to abandon the ticket.
        on_lost: told of every playing that was cut off.

    Returns:
        [K] what each agent saw, episodes in ticket order.

    Raises:
        NoGameError: game after game was lost.
    """
    while True:
        try:
            return play(ticket, policy, battles, on_step)
        except GameLost as lost:
            on_lost(lost)
