"""One battle with the interface of SMAC's `StarCraft2Env`.

A thin wrapper around a batch of one, so that code written for SMAC runs unchanged. What differs is
listed in docs/simulator.md.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, MutableSequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import flag
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.kernels.draw import derived_seed
from dm2_dist.envs.skirmish.reading import BattleReadings, Features
from dm2_dist.envs.skirmish.replay import Recorder
from dm2_dist.envs.skirmish.replay_file import SUFFIX

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.screen import Screen

Integers = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


class SkirmishEnv(BattleReadings):
    """One battle, as SMAC presents it.

    `step` says `terminated` on a time-out too, as SMAC does; the attribute `truncated` and
    `info["truncated"]` tell a time-out from a decided battle.

    Attributes:
        continuing_episode: whether `info` says `episode_limit` on a time-out.
        debug: whether every step is logged.
        replay_dir: folder of the replays; empty for the working directory.
        replay_prefix: how their names begin; empty for the name of the map.
        win_counted: whether the last battle was won.
        defeat_counted: whether the last battle was lost.
        truncated: whether the last battle ran into the time limit.
        reward: reward of the last step.
    """

    def __init__(
        self,
        map_name: str = "8m",
        *,
        seed: int | None = None,
        compat: Iterable[str] = (),
        **flags: Unpack[flag.Flags],
    ) -> None:
        """Prepare a battle; call `reset` before the first step.

        Args:
            map_name: name of the map.
            seed: names the sequence of battles; None draws one.
            compat: defects of SMAC to reproduce, names out of `flag.COMPAT`.
            **flags: constructor arguments of `StarCraft2Env`, and `profile`. Those about the game's
                process (difficulty, game_version) change nothing.

        Raises:
            UnknownMapError: no such map.
            TypeError: no such flag.
            ValueError: a flag or a name in `compat` makes no sense.
        """
        options = flag.options(flags)
        self._compat = flag.compat(compat)
        super().__init__(SkirmishBatch(map_name, 1, options=options, trace=True), options)
        self._options = options
        self._heuristic: ClosestTarget | None = None
        if flags.get("heuristic_ai", False):
            self._heuristic = ClosestTarget(
                self._batch,
                restricted=flags.get("heuristic_rest", False),
                marauders_skip_medivacs="marauder_target" not in self._compat,
            )
        self.continuing_episode = flags.get("continuing_episode", False)
        self.debug = flags.get("debug", False)
        self._window_size = flags.get("window_size_x", 1920), flags.get("window_size_y", 1200)
        self.replay_dir = flags.get("replay_dir", "")
        self.replay_prefix = flags.get("replay_prefix", "")
        self._recorder: Recorder | None = None
        self._screen: Screen | None = None
        self._episode_count = 0
        self._begin_sequence(seed)
        self._forget_battle()

    def _begin_sequence(self, seed: int | None) -> None:
        """Let the next reset play the first battle that `seed` names."""
        self._seed = seed
        self._first_word = secrets.randbits(63) if seed is None else seed
        self._battles = 0
        self._running = False

    def _forget_battle(self) -> None:
        self._episode_steps = 0
        self.win_counted = False
        self.defeat_counted = False
        self.truncated = False
        self.reward = 0.0
        self._return = 0.0
        self.last_action = np.zeros((self.n_agents, self.n_actions))

    def seed(self, seed: int | None = None) -> int | None:
        """Return the seed; a new one begins a new sequence of battles at the next reset."""
        if seed is not None:
            self._begin_sequence(seed)
        return self._seed

    def reset(self) -> tuple[list[Features], npt.NDArray[np.float32]]:
        """Start the next battle.

        Returns:
            The observations, K arrays float32 [O], and the state, float32 [S].
        """
        word = derived_seed(self._first_word, self._battles)
        self._battles += 1
        self._batch.reset(np.array([word], np.uint64))
        self._forget_battle()
        if "enemy_order" in self._compat:
            places = sorted(range(self.n_enemies), key=lambda place: derived_seed(word, place))
            self._presentation = self._presented(np.array(places, np.int64))
        if self._heuristic is not None:
            self._heuristic.reset()
        self._recorder = Recorder.start(self._batch, 0)
        self._running = True
        self._show()
        return self.get_obs(), self.get_state()

    def full_restart(self) -> None:
        """Abandon the battle and begin the sequence of battles afresh, as a new game process would.

        Without a seed the new sequence is another one. Call `reset` before the next step.
        """
        self._begin_sequence(self._seed)
        self.force_restarts += 1

    def step(self, actions: Iterable[Any]) -> tuple[float, bool, dict[str, float | bool]]:
        """Play one environment step.

        Args:
            actions: one integer for each agent; each is passed through `int`. With `heuristic_ai`
                they are not played.

        Returns:
            The team reward, whether the episode has ended, and what SMAC counts (numbers and bools
            only).

        Raises:
            AssertionError: an action is not available; nothing has been played then.
            RuntimeError: no episode is running.
        """
        if not self._running:
            raise RuntimeError("no episode is running: call reset before step")
        given = self._checked(actions)
        if self._heuristic is None:
            self._play(self._presentation.to_battle(given), given)
        elif "heuristic_list" in self._compat:
            self._play(self._heuristic.actions()[0], given, rewrite=True)
            written = self._presentation.to_caller(self._heuristic.intended[0])
            cast(MutableSequence[int], actions)[:] = written.tolist()
        else:
            played = self._heuristic.actions()[0]
            self._play(played, self._presentation.to_caller(played))
        terminated = bool(self._batch.finished[0])
        self.truncated = bool(self._batch.truncated[0])
        info: dict[str, float | bool] = {
            "battle_won": bool(self._batch.won[0]),
            "dead_allies": int(self.death_tracker_ally.sum()),
            "dead_enemies": int(self.death_tracker_enemy.sum()),
            "truncated": self.truncated,
        }
        if terminated:
            self._close_books(info)
        return self.reward, terminated, info

    def _checked(self, actions: Iterable[Any]) -> Integers:
        """Read the caller's actions; each must be available, unless the heuristic plays."""
        chosen = np.array([int(action) for action in actions], np.int64)
        if chosen.shape != (self.n_agents,):
            raise ValueError(f"step needs {self.n_agents} actions, not {chosen.size}")
        listed = self._current().available
        for agent, action in enumerate(chosen.tolist()):
            known = 0 <= action < self.n_actions
            if not (known and (listed[agent, action] or self._heuristic is not None)):
                raise AssertionError(f"Agent {agent} cannot perform action {action}")
        return chosen

    def _play(self, played: Integers, shown: Integers, *, rewrite: bool = False) -> None:
        """Play int64 [K] actions in the battle's numbering; `shown` is the caller's view of them.

        With `rewrite`, the features of last actions show `shown` even if that was not played.
        """
        self._batch.step(played[None])
        if self._recorder is not None:
            self._recorder.add(played[None])
        self.last_action = np.eye(self.n_actions)[shown]
        self._episode_steps += 1
        self.reward = float(self._batch.exact_reward[0])
        self._return += self.reward
        self._show(shown if rewrite else None)
        if self.debug:
            logger.debug("step=%d actions=%s reward=%s", self._episode_steps, shown, self.reward)

    def _show(self, last_actions: Integers | None = None) -> None:
        """Bring up to date what the caller sees."""
        late = "timestep" in self._compat and self._features.obs_timestep_number
        clock = self._episode_steps / self.episode_limit if late else None
        self._shown = self._presentation.show(self._batch, last_actions=last_actions, clock=clock)

    def _close_books(self, info: dict[str, float | bool]) -> None:
        """Count an episode that has ended."""
        self._running = False
        self._episode_count += 1
        self.battles_game += 1
        if self.truncated:
            self.timeouts += 1
            if self.continuing_episode:
                info["episode_limit"] = True
        elif info["battle_won"]:
            self.battles_won += 1
            self.win_counted = True
        else:
            # If nobody is left it is a draw, except for a team with medivacs: SMAC asks first
            # whether any of its fighters lives.
            draw = info["dead_allies"] == self.n_agents and info["dead_enemies"] == self.n_enemies
            healers = any(unit.weapon.delivery == "heal" for unit in self._row.ally_types)
            self.defeat_counted = healers or not draw

    def save_replay(self) -> Path:
        """Write the battle, as far as it has been played, to a replay file; returns where.

        Raises:
            RuntimeError: there is no battle yet.
        """
        self._current()
        assert self._recorder is not None
        folder = Path(self.replay_dir)
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S-%f")
        name = f"{self.replay_prefix or self.map_name}_{stamp}{SUFFIX}"
        path = self._recorder.finish().save(folder / name)
        logger.info("replay=%s", path)
        return path

    def render(self, mode: Literal["human", "rgb_array"] = "human") -> npt.NDArray[np.uint8] | None:
        """Draw the battle as it stands.

        Args:
            mode: `human` shows it in a window, `rgb_array` returns it.

        Returns:
            uint8 [H, W, 3], or None for `human`.

        Raises:
            ValueError: no such mode.
            RuntimeError: there is no battle yet, no screen to open a window on, or no Pillow.
        """
        if mode not in ("human", "rgb_array"):
            raise ValueError(f"render mode must be 'human' or 'rgb_array', not {mode!r}")
        self._current()
        if self._screen is None:
            from dm2_dist.envs.skirmish.screen import Screen

            self._screen = Screen(self._batch, self._window_size)
        if mode == "rgb_array":
            return self._screen.picture(self._return)
        self._screen.show(self._return)
        return None

    def close(self) -> None:
        """Close the window of `render`, if there is one."""
        if self._screen is not None:
            self._screen.close()
