"""Playing a ticket: a pure function (ticket, parameters) -> episodes.

Every random draw is keyed by an episode seed and the step, every batch shape follows from the
ticket, and nothing survives from one ticket to the next. So the result does not depend on who
plays, when, or how often. Fed by `actors.session`; feeds `dm2_dist.trajectory`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dm2_dist import seeding
from dm2_dist.envs.interface import BattleBatch, GameLost
from dm2_dist.inference import StackedPolicy, greedy, sample
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

_ACTION_KEY = np.uint64(seeding.derive("action"))
NO_ACTION = -1
"""Last action at the start of an episode."""


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
    action_seeds = seeding.mix(seeds ^ _ACTION_KEY)
    num_episodes, num_agents = len(ticket.seeds), battles.num_agents
    record = _empty(battles, num_episodes)
    length = np.zeros(num_episodes, dtype=np.int32)
    last_action = np.full((num_episodes, num_agents), NO_ACTION, dtype=np.int64)
    core_state = np.zeros((num_episodes, num_agents, policy.hidden_size), dtype=np.float32)
    active = np.arange(num_episodes)
    battles.reset(seeds)
    step = 0
    while active.size:
        on_step()
        _note_observation(record, battles, step, active)
        observation = battles.observation[active]
        available = battles.available_actions[active]
        logits, core_state[active] = policy.step(
            observation, last_action[active], core_state[active]
        )
        if ticket.greedy:
            action, log_prob = greedy(logits, available)
        else:
            uniforms = seeding.uniform(action_seeds[active], step, num_agents)
            action, log_prob = sample(logits, available, uniforms)
        last_action[active] = action
        battles.step(last_action)
        record.action[step, active] = action
        record.log_prob[step, active] = log_prob
        record.reward[step, active] = battles.reward[active]
        step += 1
        ended = active[battles.finished[active] != 0]
        _note_observation(record, battles, step, ended)
        length[ended] = step
        active = active[battles.finished[active] == 0]
    return _slices(record, length, battles)


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


def _empty(battles: BattleBatch, num_episodes: int) -> _Recording:
    limit, agents = battles.episode_limit, battles.num_agents
    return _Recording(
        observation=np.empty(
            (limit + 1, num_episodes, agents, battles.observation_size), np.float32
        ),
        available_actions=np.empty(
            (limit + 1, num_episodes, agents, battles.num_actions), np.uint8
        ),
        alive=np.empty((limit + 1, num_episodes, agents), np.uint8),
        action=np.empty((limit, num_episodes, agents), np.uint8),
        log_prob=np.empty((limit, num_episodes, agents), np.float32),
        reward=np.empty((limit, num_episodes), np.float32),
    )


def _note_observation(
    record: _Recording, battles: BattleBatch, step: int, rows: npt.NDArray[np.int64]
) -> None:
    record.observation[step, rows] = battles.observation[rows]
    record.available_actions[step, rows] = battles.available_actions[rows]
    record.alive[step, rows] = battles.alive[rows]


def _slices(record: _Recording, length: npt.NDArray[np.int32], battles: BattleBatch) -> list[Slice]:
    """Cut the joint recording into one ragged slice per agent."""
    row_step = np.concatenate([np.arange(steps + 1) for steps in length])
    row_episode = np.repeat(np.arange(length.size), length + 1)
    act_step = np.concatenate([np.arange(steps) for steps in length])
    act_episode = np.repeat(np.arange(length.size), length)
    reward = record.reward[act_step, act_episode]
    return [
        Slice(
            observation=record.observation[row_step, row_episode, agent],
            available_actions=record.available_actions[row_step, row_episode, agent],
            alive=record.alive[row_step, row_episode, agent],
            action=record.action[act_step, act_episode, agent],
            behaviour_log_prob=record.log_prob[act_step, act_episode, agent],
            reward=reward,
            length=length,
            terminated=battles.terminated.copy(),
            truncated=battles.truncated.copy(),
            won=battles.won.copy(),
        )
        for agent in range(battles.num_agents)
    ]
