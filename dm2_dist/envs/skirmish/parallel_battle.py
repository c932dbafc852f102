"""One battle as a PettingZoo parallel environment.

A thin wrapper around a batch of one, so that libraries written for PettingZoo play the same battles
as everything else here. Made by `parallel.parallel_env`, helped by `seat` and `screen`; described
in docs/pettingzoo.md.
"""

from __future__ import annotations

import operator
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import logger
from gymnasium.spaces import Box, Dict
from pettingzoo import ParallelEnv

from dm2_dist.envs.skirmish import seat
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.kernels.draw import derived_seed
from dm2_dist.envs.skirmish.screen import Screen
from dm2_dist.envs.skirmish.seat import AvailableActions, Info, Observation, Seat

RenderMode = Literal["human", "rgb_array"]

_WATCHED_LOOPS_PER_SECOND = 22.4
"""Game loops a second at the speed at which people play the real game."""


class Stepped(NamedTuple):
    """What a step gives to the agents that acted in it, by name.

    Attributes:
        observations: `observation` float32 [O] and `action_mask` int8 [A] of each.
        rewards: what the team of each was given.
        terminations: True for all once the battle is decided, and for an agent that dies if the
            dead leave.
        truncations: True for the others once the time is up.
        infos: `action_mask` int8 [A], `alive` and `battle_won` of each.
    """

    observations: dict[str, Observation]
    rewards: dict[str, float]
    terminations: dict[str, bool]
    truncations: dict[str, bool]
    infos: dict[str, Info]


class ParallelBattle(ParallelEnv):  # type: ignore[misc]  # PettingZoo ships no types
    """One battle at a time; all agents act at once.

    Attributes:
        metadata: `name`, `render_modes`, and `render_fps`, environment steps a second to watch.
        possible_agents: names of all agents, the team first.
        agents: those that act in the next step; empty when no battle is running.
        observation_spaces: by agent.
        action_spaces: by agent.
        state_space: of the team's state.
        render_mode: what `render` does.
        max_cycles: environment steps after which an undecided battle is truncated; None: only the
            map's time limit counts.
        batch: the batch of one that plays the battle.
    """

    def __init__(
        self,
        batch: SkirmishBatch,
        *,
        seed: int | None,
        render_mode: RenderMode | None,
        max_cycles: int | None,
        dead_agents: Literal["stay", "leave"],
        window_size: tuple[int, int],
    ) -> None:
        """Prepare a battle; the arguments are those of `parallel.parallel_env`.

        Raises:
            ValueError: the seed, the render mode or the way of the dead makes no sense.
            RuntimeError: something is to be drawn, but there is no Pillow.
        """
        if render_mode not in ("human", "rgb_array", None):
            raise ValueError(
                f"render_mode must be 'human', 'rgb_array' or None, not {render_mode!r}"
            )
        if dead_agents not in ("stay", "leave"):
            raise ValueError(f"dead_agents must be 'stay' or 'leave', not {dead_agents!r}")
        self.batch = batch
        self.render_mode = render_mode
        self.max_cycles = max_cycles
        self.metadata: dict[str, Any] = {
            "name": "dm2_skirmish_v0",
            "render_modes": ["human", "rgb_array"],
            "render_fps": max(round(_WATCHED_LOOPS_PER_SECOND / batch.options.step_mul), 1),
            "is_parallelizable": True,
        }
        seats = [Seat(f"ally_{number}", batch, number) for number in range(batch.num_agents)]
        if batch.opponents is not None:
            others = range(batch.num_enemies)
            seats += [Seat(f"enemy_{number}", batch.opponents, number) for number in others]
        self._seats = {place.name: place for place in seats}
        self.possible_agents = list(self._seats)
        self.agents: list[str] = []
        self.observation_spaces = {place.name: seat.observation_space(place) for place in seats}
        self.action_spaces = {place.name: AvailableActions(place) for place in seats}
        self.state_space = seat.state_space(batch)
        self._dead_leave = dead_agents == "leave"
        self._screen = None if render_mode is None else Screen(batch, window_size)
        self._shown_at = 0.0
        self._return = 0.0
        self._started = False
        self._begin_sequence(secrets.randbits(63) if seed is None else seed)

    def _begin_sequence(self, seed: int) -> None:
        """Let the next reset play the first battle that `seed` names."""
        try:
            self._first_word = operator.index(seed)
        except TypeError:
            raise ValueError(f"seed must be an integer, not {seed!r}") from None
        self._battles = 0

    def observation_space(self, agent: str) -> Dict:
        """Return the space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> AvailableActions:
        """Return the space of an agent's actions."""
        return self.action_spaces[agent]

    def side_state_space(self, agent: str) -> Box:
        """Return the space of `state(agent)`."""
        return seat.state_space(self._seats[agent].team)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, Info]]:
        """Start the next battle.

        Args:
            seed: begins a new sequence of battles and plays its first; None: the next battle of the
                present sequence.
            options: not read; there are none.

        Returns:
            Observations and infos by agent, as `Stepped` describes them.

        Raises:
            ValueError: the seed is no integer.
        """
        if seed is not None:
            self._begin_sequence(seed)
        word = derived_seed(self._first_word, self._battles)
        self._battles += 1
        self.batch.reset(np.array([word], np.uint64))
        self._started = True
        self._return = 0.0
        self.agents = list(self.possible_agents)
        self._watch()
        seats = self._seats.values()
        return {at.name: at.observe() for at in seats}, {at.name: at.inform() for at in seats}

    def step(self, actions: Mapping[str, Any]) -> Stepped:
        """Play one environment step.

        Args:
            actions: an integer for each of `agents`.

        Raises:
            ValueError: an action is missing or not available, or is for nobody who acts; nothing
                has been played then.
            RuntimeError: no battle is running.
        """
        if not self.agents:
            raise RuntimeError("no battle is running: call reset before step")
        self.batch.step(*self._read(actions))
        self._return += float(self.batch.exact_reward[0])
        decided, late = bool(self.batch.terminated[0]), bool(self.batch.truncated[0])
        if self.max_cycles is not None:
            late = late or bool(self.batch.episode_steps[0] >= self.max_cycles)
        acted = [self._seats[name] for name in self.agents]
        ended = {at.name: decided or (self._dead_leave and not at.alive) for at in acted}
        self.agents = [] if decided or late else [name for name in ended if not ended[name]]
        self._watch()
        return Stepped(
            observations={at.name: at.observe() for at in acted},
            rewards={at.name: at.reward for at in acted},
            terminations=ended,
            truncations={at.name: late and not ended[at.name] for at in acted},
            infos={at.name: at.inform() for at in acted},
        )

    def _read(
        self, actions: Mapping[str, Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """Sort the actions into int64 [1, K] and, where they act, int64 [1, M] of the enemies."""
        missing = [name for name in self.agents if name not in actions]
        strange = [str(name) for name in actions if name not in self.agents]
        if missing:
            raise ValueError(f"step needs an action for every agent; {', '.join(missing)} has none")
        if strange:
            raise ValueError(
                f"step got an action for {', '.join(strange)}, but now only "
                f"{', '.join(self.agents)} can act"
            )
        own = np.zeros((1, self.batch.num_agents), np.int64)
        theirs = np.zeros((1, self.batch.num_enemies), np.int64)
        for name in self.agents:
            at = self._seats[name]
            side = own if at.team is self.batch else theirs
            side[0, at.number] = at.choose(actions[name])
        return own, None if self.batch.opponents is None else theirs

    def state(self, agent: str | None = None) -> npt.NDArray[np.float32]:
        """Return the global state.

        Args:
            agent: whose team's state; None: the allies'. The enemies' map is mirrored.

        Returns:
            float32 [S].

        Raises:
            RuntimeError: there is no battle yet.
        """
        self._demand_battle()
        team: seat.Team = self.batch if agent is None else self._seats[agent].team
        shown: npt.NDArray[np.float32] = team.state[0].copy()
        return shown

    def _demand_battle(self) -> None:
        if not self._started:
            raise RuntimeError("there is no battle yet: call reset first")

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the battle as it stands, as `render_mode` says.

        Returns:
            uint8 [H, W, 3] for `rgb_array`; None for `human`, which shows it in a window. Without a
            render mode, None and a warning.

        Raises:
            RuntimeError: there is no battle yet, or no display to open a window on.
        """
        if self._screen is None:
            logger.warn("render draws nothing: make the environment with render_mode='rgb_array'")
            return None
        self._demand_battle()
        if self.render_mode == "rgb_array":
            return self._screen.picture(self._return)
        self._screen.show(self._return)
        return None

    def _watch(self) -> None:
        """Show a battle that somebody watches, no faster than it can be followed."""
        if self.render_mode != "human":
            return
        due = self._shown_at + 1 / self.metadata["render_fps"]
        time.sleep(max(due - time.monotonic(), 0.0))
        self.render()
        self._shown_at = time.monotonic()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._screen is not None:
            self._screen.close()
