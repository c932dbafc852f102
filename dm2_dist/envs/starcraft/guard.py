"""SMAC's class, kept from inventing battles: every fault of the game ends the game, loudly.

Left alone, SMAC answers a dead game with a fresh one and an episode of reward 0 that nobody played,
waits without limit for units, and counts the enemies' health again whenever they come late. Lives
in the worker, around `smac.env.StarCraft2Env`.
"""

import contextlib
import math
import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from dm2_dist.envs.starcraft import orphan
from dm2_dist.envs.starcraft.channel import Frame, Launch

_SPAWN_LOOPS = 448
"""Game loops, 20 seconds of game time, within which all units must stand."""
_SECONDS_TO_END = 0.3
"""For a process whose socket has just closed."""
_SECONDS_TO_DIE = 3.0


class GameFault(Exception):
    """The game cannot be trusted any more; the message is one clause."""


class Guard:
    """What `guarded` puts in front of SMAC's class; its battles are whole or not at all.

    NOTE: the attributes are SMAC's own.
    """

    n_agents: int
    n_enemies: int
    agents: dict[int, Any]
    enemies: dict[int, Any]
    max_reward: float
    _episode_count: int
    _controller: Any
    _obs: Any

    def full_restart(self) -> None:
        """SMAC calls this from the handler of the game's error; nothing is restarted here."""
        raise GameFault("the game broke off")

    def init_units(self) -> None:
        """Wait for the whole roster first, so that SMAC counts every enemy once."""
        before = self.max_reward
        self._await_roster()
        super().init_units()  # type: ignore[misc]
        if self._episode_count == 0:
            health = [unit.health_max + unit.shield_max for unit in self.enemies.values()]
            self.max_reward = before + sum(health)

    def _await_roster(self) -> None:
        here = (0, 0)
        for _ in range(_SPAWN_LOOPS):
            owners = [unit.owner for unit in self._obs.observation.raw_data.units]
            here = owners.count(1), owners.count(2)
            if here == (self.n_agents, self.n_enemies):
                return
            self._controller.step(1)
            self._obs = self._controller.observe()
        raise GameFault(
            f"{here[0]} of {self.n_agents} allies and {here[1]} of {self.n_enemies} enemies stand "
            f"after {_SPAWN_LOOPS} game loops"
        )

    def start_battle(self) -> Frame:
        """Begin the next battle; the first one starts the game.

        Raises:
            GameFault: no battle can be had from this game.
        """
        loop = -1 if self._obs is None else self._obs.observation.game_loop
        self.reset()  # type: ignore[attr-defined]
        self._check_alive(loop)
        return self._frame(0.0, {"battle_won": False}, ended=False)

    def play(self, actions: Sequence[int]) -> Frame:
        """Play one environment step.

        Args:
            actions: [K] legal ones.

        Raises:
            GameFault: the battle cannot go on.
        """
        loop = self._obs.observation.game_loop
        reward, ended, info = self.step(list(actions))  # type: ignore[attr-defined]
        if "battle_won" not in info:
            raise GameFault("SMAC made up the end of an episode")
        self._check_alive(loop)
        return self._frame(float(reward), info, ended=bool(ended))

    def _check_alive(self, loop: int) -> None:
        """A game that has ended repeats its last observation, which SMAC takes for a step."""
        if self._obs.player_result:
            raise GameFault("the game has ended and repeats itself")
        if self._obs.observation.game_loop <= loop:
            raise GameFault(f"the game stands still at loop {loop}")

    def _frame(self, reward: float, info: dict[str, Any], *, ended: bool) -> Frame:
        truncated = bool(info.get("episode_limit", False))
        alive = [self.agents[index].health > 0 for index in range(self.n_agents)]
        smac: Any = self
        return Frame(
            observation=np.asarray(smac.get_obs(), np.float32).tobytes(),
            state=np.asarray(smac.get_state(), np.float32).tobytes(),
            available=np.asarray(smac.get_avail_actions(), np.uint8).tobytes(),
            alive=np.asarray(alive, np.uint8).tobytes(),
            reward=reward,
            terminated=ended and not truncated,
            truncated=truncated,
            won=bool(info["battle_won"]),
        )


def guarded(base: type[Any]) -> Any:
    """Derive from SMAC's class one that raises `GameFault` where SMAC would make something up.

    Args:
        base: `smac.env.StarCraft2Env`.
    """
    return type("GuardedEnv", (Guard, base), {})


class Launched(list[Any]):
    """The processes of the games that PySC2 has started here, oldest first."""

    def end(self) -> int | None:
        """How the newest one ended; None if it had to be ended, or if there was none."""
        if not self:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self[-1].wait(_SECONDS_TO_END)
        code: int | None = self[-1].poll()
        if code is None:  # nobody needs it any more, and its parent must see it off
            self[-1].kill()
            self[-1].wait(_SECONDS_TO_DIE)
        return None if code == -signal.SIGTERM else code  # PySC2's own way to end a game


def leash(sc_process: Any, launch: Launch, launched: Launched) -> None:
    """Have PySC2 start its next game on our port, and bound to the life of this process.

    Args:
        sc_process: the module `pysc2.lib.sc_process`.
        launch: names the port, and how long the start and each answer may take.
        launched: takes the game's process.
    """
    base, worker = sc_process.StarcraftProcess, os.getpid()

    class LeashedProcess(base):  # type: ignore[valid-type,misc]
        """A game that the kernel kills when the worker dies; slow to start, quick to answer."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            patience = {"timeout_seconds": math.ceil(launch.start_seconds)}
            super().__init__(*args, **{**kwargs, **patience})
            self._controller._client._sock.settimeout(launch.answer_seconds)

        def _launch(self, run_config: Any, args: Any, **kwargs: Any) -> Any:
            bound = partial(orphan.die_with_parent, worker)
            launched.append(super()._launch(run_config, args, preexec_fn=bound, **kwargs))
            return launched[-1]

    sc_process.StarcraftProcess = LeashedProcess
    sc_process.portpicker.pick_unused_port = lambda *_: launch.port
