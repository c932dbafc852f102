"""StarCraft II behind the interface that actors know: SMAC's battles, one game, kept up for weeks.

The game and all of SMAC live in a worker process; here are arrays, patience and the decision to
start the next game. A battle that a fault of the game cut off raises `GameLost` and leaves nothing
behind, so what reaches a learner was played from its start to its end. Made by `make.make_batch`,
played by `actors.actor`; the game itself is `starcraft.game`.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import Self

import numpy as np
import numpy.typing as npt

from dm2_dist import seeding
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost, NoGameError
from dm2_dist.envs.starcraft import importing, installation
from dm2_dist.envs.starcraft import site as sites
from dm2_dist.envs.starcraft.channel import Frame
from dm2_dist.envs.starcraft.game import Game
from dm2_dist.envs.starcraft.site import Site
from dm2_dist.sections import GamesConfig

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_POLL_SECONDS = 0.1
_MIB = 2**20


class SmacBatch:
    """One battle of StarCraft II after the other, as a batch of one.

    The arrays, described in `interface.BattleBatch`, are rewritten in place by every `reset` and
    `step`. The game has its own randomness: a seed decides a battle only if each battle has a game
    of its own (`games.recycle_episodes` 1), and then as far as the game repeats itself.

    Attributes:
        launches: games started so far.
        lost: games that ended by a fault so far.
        memory_bytes: what the game occupied after its newest battle; 0 before.
        start_seconds: how long the newest game took until its first battle stood; 0 before.
    """

    def __init__(
        self,
        map_name: str,
        num_envs: int = 1,
        *,
        games: GamesConfig | None = None,
        site: Site | None = None,
    ) -> None:
        """Prepare the arrays; `open`, or the first `reset`, starts the game.

        Args:
            map_name: SMAC's name of the map.
            num_envs: 1, since a game plays one battle at a time.
            games: time-outs, limits and the version; the defaults unless given.
            site: where the game keeps its files; a temporary folder, removed by `close`, if not
                given.

        Raises:
            UnknownMapError: no such map.
            ValueError: more than one battle at a time.
        """
        if num_envs != 1:
            raise ValueError(f"a game plays one battle at a time, not {num_envs}")
        spec = make.describe("smac", map_name)
        self.map_name = spec.map_name
        self.num_envs = 1
        self.num_agents, self.num_enemies = spec.num_agents, spec.num_enemies
        self.num_actions, self.episode_limit = spec.num_actions, spec.episode_limit
        self.observation_size, self.state_size = spec.observation_size, spec.state_size
        agents = self.num_agents
        self.observation = np.zeros((1, agents, self.observation_size), np.float32)
        self.state = np.zeros((1, self.state_size), np.float32)
        self.available_actions = np.zeros((1, agents, self.num_actions), np.uint8)
        self.alive = np.zeros((1, agents), np.uint8)
        self.reward = np.zeros(1, np.float32)
        self.terminated = np.zeros(1, np.uint8)
        self.truncated = np.zeros(1, np.uint8)
        self.won = np.zeros(1, np.uint8)
        self.finished = np.zeros(1, np.uint8)
        self.episode_steps = np.zeros(1, np.int32)
        self.launches = self.lost = self.memory_bytes = 0
        self.start_seconds = 0.0
        self._games = games if games is not None else GamesConfig()
        self._site, self._own_site = site or sites.temporary(), site is None
        self._game: Game | None = None
        self._fresh: Frame | None = None
        self._episodes = self._unfinished = self._resets = 0
        self._newest_loss = ""

    def open(self) -> None:
        """Have a game that waits for its next battle, so that `reset` does not have to start one.

        Where each battle has a game of its own, that one is started by `reset`, with its seed.

        Raises:
            NoGameError: none can be had.
        """
        if self._games.recycle_episodes > 1:
            self._have(seeding.derive("game", self._site.name, time.time_ns()))

    def reset(self, seeds: npt.NDArray[np.uint64] | None = None) -> None:
        """Start a fresh battle, and a game where there is none.

        Args:
            seeds: uint64 [1]; seeds the game if one is started; drawn from the clock if not given.

        Raises:
            NoGameError: no game can be had.
        """
        drawn = seeding.derive("game", self._site.name, time.time_ns())
        seed = drawn if seeds is None else int(seeds[0])
        while True:
            game = self._have(seed)
            frame, self._fresh = self._fresh, None
            try:
                self._begin(frame if frame is not None else game.reset())
                return
            except GameLost as lost:
                self._bury(lost)  # nothing of a battle was played yet, so none is lost

    def step(self, actions: npt.NDArray[np.integer]) -> None:
        """Play one environment step; a finished battle stays as it is.

        Args:
            actions: integer [1, K].

        Raises:
            ValueError: an action is not available; names the agent and the action.
            GameLost: the game has gone and the battle with it; `reset` starts another one.
        """
        if self.finished[0]:
            self.reward[0] = 0.0
            return
        chosen = tuple(int(action) for action in actions[0])
        self._check(chosen)
        if self._game is None:
            raise GameLost("no game is running; reset the battle first")
        try:
            frame = self._game.step(chosen)
            self._take(frame)
        except GameLost as lost:
            self._bury(lost)
            raise
        except BaseException:
            self._end()  # whoever gave up in the middle of an answer cannot go on with this game
            raise
        self.episode_steps[0] += 1
        if self.finished[0]:
            self._episodes += 1
            self._unfinished = 0
            self.memory_bytes = self._game.memory_bytes()

    def close(self) -> None:
        """End the game and remove what it left, if there is one."""
        if self._game is not None:
            self._game.close()
            self._game = self._fresh = None
        if self._own_site:
            shutil.rmtree(self._site.shared, ignore_errors=True)

    def __enter__(self) -> Self:
        """The batch; its game is closed at the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- one game after the other ---

    def _have(self, seed: int) -> Game:
        """The game that plays next: the one that runs, unless it is worn out, or a new one."""
        if self._game is not None and self._is_worn_out():
            self._game.close()
            self._game = None
        while self._game is None:
            self._check_installed()
            self._pause()
            self._unfinished += 1
            self._episodes = 0
            try:
                self._game = Game.start(self.map_name, seed, self._games, self._site)
                self.launches += 1
                self._fresh = self._game.first
                self.start_seconds = self._game.start_seconds
            except GameLost as lost:
                self._bury(lost)
        return self._game

    def _check_installed(self) -> None:
        """Say at once, and in one sentence, what no number of starts would mend."""
        try:
            installation.inspect(os.environ, self.map_name, self._games.version)
            importing.locate(os.environ)
        except (installation.InstallationError, importing.StarcraftImportError) as error:
            raise NoGameError(str(error)) from error

    def _is_worn_out(self) -> bool:
        """Whether a running game has played enough, or has grown too large."""
        if self._episodes >= self._games.recycle_episodes:
            _LOG.info("game_recycled episodes=%s", self._episodes)
            return True
        if self.memory_bytes > self._games.memory_limit_mb * _MIB and self._episodes:
            _LOG.info("game_recycled memory_mb=%s", self.memory_bytes // _MIB)
            return True
        return False

    def _pause(self) -> None:
        """Wait longer before every start that follows a failure; give up after too many."""
        if self._unfinished >= self._games.launches_allowed:
            raise NoGameError(
                f"{self._unfinished} games in a row ended without one finished episode, the last: "
                f"{self._newest_loss}; see {self._site.log}"
            )
        if not self._unfinished:
            return
        pause = _FIRST_PAUSE_SECONDS * 2.0 ** (self._unfinished - 1)
        deadline = time.monotonic() + min(pause, _LONGEST_PAUSE_SECONDS)
        while time.monotonic() < deadline:
            self._site.on_wait()
            time.sleep(_POLL_SECONDS)

    def _end(self) -> None:
        if self._game is not None:
            self._game.end()
        self._game = self._fresh = None

    def _bury(self, lost: GameLost) -> None:
        self._end()
        self.lost += 1
        self._newest_loss = lost.reason
        _LOG.warning("game_lost reason=%s", lost.reason)

    # --- one battle ---

    def _begin(self, frame: Frame) -> None:
        self.episode_steps[0] = 0
        self._take(frame)
        if self.finished[0]:
            raise GameLost("the battle was over before it began")

    def _take(self, frame: Frame) -> None:
        """Copy an answer into the arrays.

        Raises:
            NoGameError: it does not have the sizes of this map.
            GameLost: it says what no battle can be.
        """
        for array, data in (
            (self.observation, frame.observation),
            (self.state, frame.state),
            (self.available_actions, frame.available),
            (self.alive, frame.alive),
        ):
            if array.nbytes != len(data):
                raise NoGameError(
                    f"SMAC's {self.map_name} has other sizes than ours ({len(data)} bytes where "
                    f"{array.nbytes} belong); use SMAC 1.0.0 with its own maps"
                )
            array[0] = np.frombuffer(data, array.dtype).reshape(array.shape[1:])
        self.reward[0] = frame.reward
        self.terminated[0], self.truncated[0] = frame.terminated, frame.truncated
        self.won[0] = frame.won
        self.finished[0] = frame.terminated or frame.truncated
        if not (np.isfinite(self.reward[0]) and np.isfinite(self.observation).all()):
            raise GameLost("the game's answer holds numbers that are not finite")

    def _check(self, actions: tuple[int, ...]) -> None:
        if len(actions) != self.num_agents:
            raise ValueError(f"{len(actions)} actions for {self.num_agents} agents")
        for agent, action in enumerate(actions):
            if not (0 <= action < self.num_actions and self.available_actions[0, agent, action]):
                raise ValueError(f"environment 0, agent {agent}: action {action} is not available")
