"""Playing unrolls: a fixed number of steps of battles that go on from one ticket to the next.

A ticket of E seeds and unrolls of n steps gives E * n action rows, cut where a battle ended and
where the unroll did. Its seeds key every draw; the battles themselves, and what policies and
critics remember of them, are kept from the ticket before, whatever parameters that one had. Played
for `actors.main` where the configuration asks for unrolls; feeds `dm2_dist.trajectory`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.recording import Memory, Recording
from actors.team import Team, Watchers
from dm2_dist import seeding
from dm2_dist.envs.interface import BattleBatch, GameLost, RestartableBatch
from dm2_dist.inference import NO_ACTION, Players
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

_ACTION_KEY = np.uint64(seeding.derive("unroll action"))


class Unrolls:
    """The battles that an actor has running between its tickets."""

    def __init__(self, length: int) -> None:
        """Start without any.

        Args:
            length: n, environment steps of an unroll.
        """
        self._length = length
        self._running: dict[int, _Running] = {}

    def forget(self) -> None:
        """Give the running battles up: somebody else has played with them, or their game is lost.

        What was shipped of them stays good: it ends with a piece that an unroll's end cut off.
        """
        self._running.clear()

    def play_unroll(
        self,
        ticket: Ticket,
        team: Team,
        battles: BattleBatch,
        on_step: Callable[[], None],
        on_lost: Callable[[GameLost], None],
    ) -> list[Slice]:
        """Play n steps of each battle; from fresh battles whenever the game went down meanwhile.

        Args:
            ticket: one seed for each of E battles.
            team: the K policies and critics.
            battles: E battles of the run's map, the same ones at every call for so many.
            on_step: called once per environment step; may raise to abandon the ticket, and then the
                battles are given up.
            on_lost: told of every playing that was cut off; nothing of it is shipped.

        Returns:
            [K] what each agent saw: pieces of episodes, battle after battle.

        Raises:
            NoGameError: game after game was lost.
        """
        while True:
            try:
                return self._play(ticket, team, battles, on_step)
            except GameLost as lost:
                on_lost(lost)

    def _play(
        self, ticket: Ticket, team: Team, battles: BattleBatch, on_step: Callable[[], None]
    ) -> list[Slice]:
        # Taken out while it is played: whatever cuts the playing off, nothing half played is left.
        running = self._running.pop(battles.num_envs, None)
        if running is None or running.battles is not battles:
            running = _at_rest(battles, team.policy.hidden_size, self._length)
        running.seat(team, seeding.mix(np.array(ticket.seeds, dtype=np.uint64) ^ _ACTION_KEY))
        running.start_over(ticket, 0)
        memory = running.memory()
        for step in range(self._length):
            on_step()
            running.start_over(ticket, step)
            running.step(step)
        self._running[battles.num_envs] = running
        return running.record.slices(memory)


@dataclass(slots=True)
class _Running:
    """E battles in the middle of things.

    battles: where they are.
    over: bool [E] the battle has ended, or was never begun.
    steps: int32 [E] environment steps of the episode so far.
    returns: float64 [E] its team reward so far.
    action: int64 [E, K] its last actions.
    policy_core: float32 [E, K, H]
    critic_core: float32 [E, K, H]
    record: of the unroll in play.
    table: who plays it, and who watches; their memory is the arrays above.
    """

    battles: BattleBatch
    over: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.int32]
    returns: npt.NDArray[np.float64]
    action: npt.NDArray[np.int64]
    policy_core: npt.NDArray[np.float32]
    critic_core: npt.NDArray[np.float32]
    record: Recording
    table: tuple[Players, Watchers] | None = None

    def seat(self, team: Team, seeds: npt.NDArray[np.uint64]) -> None:
        """Let these networks go on with what those before them remembered.

        Args:
            team: who plays from now on.
            seeds: uint64 [E] of the draws of actions.
        """
        players = Players(team.policy, self.battles, seeds, greedy=False)
        watchers = Watchers(team.critic, self.battles, players.action)
        players.action[:] = self.action
        players.core_state[:] = self.policy_core
        watchers.core_state[:] = self.critic_core
        self.action, self.policy_core = players.action, players.core_state
        self.critic_core, self.table = watchers.core_state, (players, watchers)

    def start_over(self, ticket: Ticket, step: int) -> None:
        """Begin the next episode in every place whose battle is over."""
        places = np.flatnonzero(self.over)
        if not places.size:
            return
        seeds = [seeding.derive("unroll", ticket.seeds[place], step) for place in places]
        if places.size == self.over.size:
            self.battles.reset(np.array(seeds, dtype=np.uint64))
        else:
            self._restart(places, seeds)
        self.over[places] = False
        self.steps[places] = 0
        self.returns[places] = 0.0
        self.action[places] = NO_ACTION
        self.policy_core[places] = 0.0
        self.critic_core[places] = 0.0

    def _restart(self, places: npt.NDArray[np.int64], seeds: list[int]) -> None:
        battles = self.battles
        assert isinstance(battles, RestartableBatch), "these battles start all at once"
        for place, seed in zip(places.tolist(), seeds, strict=True):
            battles.restart(place, seed)

    def memory(self) -> Memory:
        """A copy of what the battles go on from now."""
        return Memory(
            self.steps.copy(),
            self.returns.astype(np.float32),
            self.action.astype(np.int16),
            np.stack([self.policy_core, self.critic_core], axis=2),
        )

    def step(self, step: int) -> None:
        """Play environment step `step` of the unroll in every battle."""
        battles, record = self.battles, self.record
        assert self.table is not None, "nobody was seated"
        players, watchers = self.table
        record.note_before(step, battles)
        watchers.watch()
        players.act(step)
        battles.step(players.action)
        record.note_after(step, battles, players.action, players.log_prob)
        self.steps += 1
        self.returns += battles.reward
        self.over = battles.finished != 0


def _at_rest(battles: BattleBatch, hidden_size: int, length: int) -> _Running:
    """Battles of which none has begun."""
    size, agents = battles.num_envs, battles.num_agents
    return _Running(
        battles=battles,
        over=np.ones(size, np.bool_),
        steps=np.zeros(size, np.int32),
        returns=np.zeros(size),
        action=np.full((size, agents), NO_ACTION, np.int64),
        policy_core=np.zeros((size, agents, hidden_size), np.float32),
        critic_core=np.zeros((size, agents, hidden_size), np.float32),
        record=Recording.empty(battles, length),
    )
