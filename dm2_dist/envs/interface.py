"""What an actor needs of a game: many battles stepped together, described by arrays.

The actor process depends on this protocol only, so that the embedded simulator, a real StarCraft II
and a test double are interchangeable. Implemented by `skirmish.batch`; made by `make.make_batch`;
read by the actors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class GameLost(Exception):
    """The game behind a battle has gone in the middle of it: what was played of it counts nothing.

    Attributes:
        reason: what happened, one clause.
        tail: the last lines that the game and its client printed; may be empty.
    """

    def __init__(self, reason: str, tail: str = "") -> None:
        self.reason = reason
        self.tail = tail
        super().__init__(f"{reason}; it printed last:\n{tail}" if tail else reason)


class NoGameError(Exception):
    """No game can be had and another try would not help; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """The sizes of one map, known without starting a game.

    Attributes:
        map_name: name of the map.
        num_agents: K, agents of the team.
        num_enemies: opponents.
        num_actions: A, actions of each agent.
        observation_size: O, features that one agent sees.
        state_size: S, features of the global state.
        episode_limit: environment steps after which an undecided battle is cut off (truncated).
    """

    map_name: str
    num_agents: int
    num_enemies: int
    num_actions: int
    observation_size: int
    state_size: int
    episode_limit: int


@runtime_checkable
class BattleBatch(Protocol):
    """B battles of one map, each a pure function of its 64-bit seed and the actions played in it.

    The arrays belong to the batch and are rewritten in place by every `reset` and `step`: copy what
    must outlive the next call. A finished battle is frozen: further steps ignore its actions, leave
    its arrays as they are and set its reward to 0, until `reset`.

    Attributes:
        map_name: name of the map.
        num_envs: B, battles stepped together.
        num_agents: K.
        num_enemies: opponents of the team.
        num_actions: A.
        observation_size: O.
        state_size: S.
        episode_limit: environment steps of the longest battle.
        observation: float32 [B, K, O] what each agent sees; zeros for a dead agent.
        state: float32 [B, S] global state; not kept up to date if the batch was made with
            `compute_state=False`.
        available_actions: uint8 [B, K, A] 1 where the action is legal; a dead agent has only action
            0.
        alive: uint8 [B, K] 1 while the agent lives.
        reward: float32 [B] team reward of the last step.
        terminated: uint8 [B] 1 once the battle is decided (win, loss or draw).
        truncated: uint8 [B] 1 once the time limit has cut off an undecided battle.
        won: uint8 [B] 1 once the battle is won.
        finished: uint8 [B] terminated or truncated.
        episode_steps: int32 [B] steps played since the reset.
    """

    map_name: str
    num_envs: int
    num_agents: int
    num_enemies: int
    num_actions: int
    observation_size: int
    state_size: int
    episode_limit: int
    observation: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]
    available_actions: npt.NDArray[np.uint8]
    alive: npt.NDArray[np.uint8]
    reward: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.uint8]
    truncated: npt.NDArray[np.uint8]
    won: npt.NDArray[np.uint8]
    finished: npt.NDArray[np.uint8]
    episode_steps: npt.NDArray[np.int32]

    def reset(self, seeds: npt.NDArray[np.uint64] | None = None) -> None:
        """Start B fresh battles.

        Args:
            seeds: uint64 [B], one seed for each battle; None: seeds derived from the constructor's
                seed and a counter of resets.
        """
        ...

    def step(self, actions: npt.NDArray[np.integer]) -> None:
        """Play one environment step in every unfinished battle.

        Args:
            actions: integer [B, K].

        Raises:
            ValueError: an action is not available; names the environment, the agent and the action.
                Nothing has been played then.
            GameLost: a game outside of this process has gone; `reset` starts another one.
        """
        ...


@runtime_checkable
class RestartableBatch(BattleBatch, Protocol):
    """Battles of which one can be started afresh while the others go on."""

    def restart(self, env: int, seed: int) -> None:
        """Start a fresh battle in one place; what the other places show stays as it is.

        Args:
            env: the place, 0 to B - 1.
            seed: unsigned 64-bit seed of the battle.
        """
        ...


@runtime_checkable
class GameBatch(BattleBatch, Protocol):
    """Battles that are played by a game in another process, which somebody must start and end.

    Attributes:
        launches: games started so far.
        memory_bytes: what the game occupied when it was last looked at; 0 before.
        start_seconds: how long the newest game took until its first battle stood; 0 before.
    """

    launches: int
    memory_bytes: int
    start_seconds: float

    def open(self) -> None:
        """Have a game that waits for its next battle, so that `reset` does not have to start one.

        Raises:
            NoGameError: none can be had.
        """
        ...

    def close(self) -> None:
        """End the game, if there is one; the next `reset` would start another."""
        ...
