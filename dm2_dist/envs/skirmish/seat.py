"""Where an agent of a PettingZoo environment sits, and what it can see and do from there.

Needs Gymnasium. Reads the arrays of one battle; used by `parallel_battle`.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, Discrete

Observation = dict[str, npt.NDArray[Any]]
Info = dict[str, Any]


class Team(Protocol):
    """What a batch shows to one side of its battles; see `interface.BattleBatch`."""

    num_actions: int
    observation_size: int
    state_size: int
    observation: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]
    available_actions: npt.NDArray[np.uint8]
    alive: npt.NDArray[np.uint8]
    won: npt.NDArray[np.uint8]

    @property
    def exact_reward(self) -> npt.NDArray[np.float64]:
        """float64 [B] reward of the last step."""
        ...


class Seat(NamedTuple):
    """One agent's place in the first battle of a batch.

    Attributes:
        name: what the agent is called.
        team: what its side is shown.
        number: the agent's number in its team.
    """

    name: str
    team: Team
    number: int

    @property
    def alive(self) -> bool:
        """Whether the agent lives."""
        return bool(self.team.alive[0, self.number])

    @property
    def reward(self) -> float:
        """What its team was given for the last step."""
        return float(self.team.exact_reward[0])

    def mask(self) -> npt.NDArray[np.int8]:
        """Return int8 [A], 1 for every action that is available."""
        listed: npt.NDArray[np.int8] = self.team.available_actions[0, self.number].astype(np.int8)
        return listed

    def observe(self) -> Observation:
        """Return `observation` float32 [O] and `action_mask` int8 [A]."""
        seen = self.team.observation[0, self.number].copy()
        return {"observation": seen, "action_mask": self.mask()}

    def inform(self) -> Info:
        """Return `action_mask` int8 [A], and whether the agent is `alive` and its battle won."""
        won = bool(self.team.won[0])
        return {"action_mask": self.mask(), "alive": self.alive, "battle_won": won}

    def choose(self, action: Any) -> int:
        """Return an action as an integer.

        Raises:
            ValueError: it is no integer, or it is not available.
        """
        listed = self.team.available_actions[0, self.number]
        try:
            chosen = operator.index(action)
        except TypeError:
            raise ValueError(
                f"the action of {self.name} must be an integer, not {action!r}"
            ) from None
        if not (0 <= chosen < listed.size and listed[chosen]):
            can = ", ".join(map(str, np.flatnonzero(listed)))
            raise ValueError(
                f"{self.name} cannot perform action {chosen}; available to it now: {can}"
            )
        return chosen


class AvailableActions(Discrete):
    """The actions of one agent, 0 to A - 1; samples are available in the battle as it stands."""

    def __init__(self, seat: Seat) -> None:
        """Watch what is available to the agent at a seat."""
        super().__init__(seat.team.num_actions)
        # The whole array and not a row of it, so that a copy of an environment copies both as one.
        self._available = seat.team.available_actions
        self._number = seat.number

    def sample(self, mask: Any = None, *others: Any, **named: Any) -> Any:
        """Draw an action: without a mask one that is available; before a battle, any."""
        if mask is None and not others and not named and self._available.any():
            mask = self._available[0, self._number].astype(np.int8)
        return super().sample(mask, *others, **named)


def observation_space(seat: Seat) -> Dict:
    """Return the space of what the agent at a seat observes; all features are in [-1, 1]."""
    return Dict(
        {
            "observation": Box(-1.0, 1.0, (seat.team.observation_size,), np.float32),
            "action_mask": Box(0, 1, (seat.team.num_actions,), np.int8),
        }
    )


def state_space(team: Team) -> Box:
    """Return the space of a team's state; a cooldown may be longer than SMAC's scale for it."""
    return Box(-np.inf, np.inf, (team.state_size,), np.float32)
