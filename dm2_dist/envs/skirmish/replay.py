"""Episodes kept as seed and actions, and played again.

A battle is a pure function of its seed and the actions, so a replay is a small file, and playing it
simulates the battle anew. It says so if the outcome is not the recorded one, which happens when the
simulator has changed. `Recorder` watches a batch; `film` and `page` show what `Replay.simulate`
gives. The file format is in `replay_file`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import dm2_dist
from dm2_dist.envs.skirmish import battle_map, embedded, replay_file
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.kernels import compiled
from dm2_dist.envs.skirmish.pictures import scene
from dm2_dist.envs.skirmish.pictures.course import Course, Every
from dm2_dist.envs.skirmish.pictures.scene import Scene
from dm2_dist.envs.skirmish.replay_file import Document, Outcome, ReplayError, Simulator

__all__ = ["Policy", "Recorder", "Replay", "ReplayError", "present_simulator", "record"]

Integers = npt.NDArray[np.integer]
Policy = Callable[[SkirmishBatch], Integers]
"""Chooses the actions of one side, integer [B, K], from what the batch shows."""

_MOST_SEEDS = 2**64
_MOST_PLACES = 2**24
"""Most places of units in all loops of a course: 0.8 GB, and seconds to simulate."""

_SOURCES = f"{compiled.source_digest():014x}"


def present_simulator() -> Simulator:
    """Return which simulator this is: the one that was loaded, whatever its files say by now."""
    return Simulator(version=dm2_dist.__version__, sources=_SOURCES)


@dataclass(frozen=True, slots=True)
class Replay:
    """One recorded episode.

    Attributes:
        document: what its file holds.
    """

    document: Document

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """Read a replay and check everything that can be checked without playing it.

        Raises:
            ReplayError: the file is no replay that can be played; the message names it and says
                why.
        """
        path = Path(path)
        replay = cls(replay_file.read(path))
        try:
            replay._check()
        except ValueError as error:
            raise ReplayError(f"{path}: {replay_file.printable(error)}") from None
        return replay

    def save(self, path: str | Path) -> Path:
        """Write the replay, whole or not at all; returns where.

        Raises:
            ReplayError: a number in it is not finite, which the format cannot say.
            OSError: it cannot be written there.
        """
        path = Path(path)
        replay_file.write(self.document, path)
        return path

    @property
    def won(self) -> bool:
        """Whether the team won."""
        return self.document.outcome.ended == "won"

    def play(self, every: Every = "loop") -> Iterator[Scene]:
        """Simulate the battle anew.

        Args:
            every: one scene for each game loop, or one for each environment step, after that of the
                start.

        Raises:
            ReplayError: it does not come out as recorded; the message names both simulators.
        """
        return self.simulate().scenes(every)

    def simulate(self) -> Course:
        """Simulate the battle anew, to its end.

        Raises:
            ReplayError: it does not come out as recorded; the message names both simulators.
        """
        batch = self.make_batch()
        document = self.document
        batch.reset(np.array([int(document.seed)], np.uint64))
        stage = scene.make_stage(batch.row, batch.options)
        first, stride = scene.loops_of(batch, 0), batch.options.step_mul
        loops = np.empty((1 + stride * len(document.actions), *first.shape[1:]), np.float32)
        loops[:1] = first
        returns = [0.0]
        opposing = document.opponent_actions
        for step, actions in enumerate(document.actions):
            theirs = None if opposing is None else np.array([opposing[step]], np.int64)
            try:
                batch.step(np.array([actions], np.int64), theirs)
            except ValueError as error:
                raise self._diverged(f"step {step + 1} cannot be played: {error}") from None
            loops[1 + step * stride :][:stride] = batch.trace[0]
            returns.append(returns[-1] + float(batch.exact_reward[0]))
        played = _outcome(batch, 0, returns[-1])
        if played != document.outcome:
            raise self._diverged(f"it ends {played} instead of {document.outcome}")
        return Course(stage, loops, np.array(returns), played.ended)

    def make_batch(self) -> SkirmishBatch:
        """Make a batch of one that plays by this replay's rules, traced.

        Raises:
            ValueError: the map, the scenario or the options cannot be used.
        """
        options = replay_file.options_of(self.document)
        with ExitStack() as stack:
            name = self.document.map
            if self.document.scenario is not None:
                name = stack.enter_context(embedded.as_file(self.document.scenario))
            return SkirmishBatch(
                name, 1, options=options, opponents=self.document.opponents, trace=True
            )

    def _check(self) -> None:
        document = self.document
        if int(document.seed) >= _MOST_SEEDS:
            raise ReplayError(f"the seed {document.seed} has more than 64 bits")
        if document.scenario is None and document.map not in battle_map.MAPS:
            raise ReplayError(
                f"the map {document.map!r} is not one of SMAC's, and no scenario describes it"
            )
        batch = self.make_batch()
        if document.map != batch.map_name:
            raise ReplayError(f"the map is {document.map!r}, the scenario {batch.map_name!r}")
        steps = len(document.actions)
        if document.outcome.steps != steps:
            raise ReplayError(
                f"the outcome has {document.outcome.steps} steps, the actions {steps}"
            )
        if steps > batch.episode_limit:
            raise ReplayError(f"{steps} steps are more than the limit of {batch.episode_limit}")
        _check_length(steps, batch)
        _check_actions("actions", document.actions, batch.num_agents, batch.num_actions)
        theirs, side = document.opponent_actions, batch.opponents
        if (theirs is None) != (side is None):
            raise ReplayError(
                "opponent_actions must be given exactly if a policy plays the enemies"
            )
        if theirs is not None and side is not None:
            if len(theirs) != steps:
                raise ReplayError(f"opponent_actions has {len(theirs)} steps, actions {steps}")
            _check_actions("opponent_actions", theirs, side.num_agents, side.num_actions)

    def _diverged(self, what: str) -> ReplayError:
        return ReplayError(
            f"the replay of {self.document.map} does not play as recorded: {what}; it was recorded "
            f"with simulator {self.document.simulator}, this is {present_simulator()}"
        )


def _check_length(steps: int, batch: SkirmishBatch) -> None:
    units, loops = batch.unit_x.shape[1], batch.options.step_mul
    if steps * loops * units > _MOST_PLACES:
        raise ReplayError(
            f"{steps} steps of {loops} game loops with {units} units are too much to play again; "
            f"steps, loops and units must not multiply to more than {_MOST_PLACES}"
        )


def _check_actions(name: str, actions: replay_file.Actions, units: int, num_actions: int) -> None:
    for step, row in enumerate(actions):
        if len(row) != units:
            raise ReplayError(f"{name}[{step}] has {len(row)} entries; the side has {units} units")
        if max(row) >= num_actions:
            raise ReplayError(f"{name}[{step}] has the action {max(row)} of {num_actions}")


class Recorder:
    """Writes down one battle of a batch while it is played."""

    def __init__(self, batch: SkirmishBatch, env: int) -> None:
        """Begin; see `start`."""
        self._batch = batch
        self._env = env
        self._actions: list[tuple[int, ...]] = []
        self._opponent_actions: list[tuple[int, ...]] = []
        self._return = 0.0

    @classmethod
    def start(cls, batch: SkirmishBatch, env: int) -> Recorder:
        """Begin to record a battle that has just been reset.

        Raises:
            ValueError: there is no such battle, or it has been stepped already.
        """
        if not 0 <= env < batch.num_envs:
            raise ValueError(f"the batch has the environments 0 to {batch.num_envs - 1}, not {env}")
        if batch.episode_steps[env] != 0:
            raise ValueError(
                f"environment {env} has played {batch.episode_steps[env]} steps already; start to "
                "record right after the reset"
            )
        return cls(batch, env)

    def add(self, actions: Integers, opponent_actions: Integers | None = None) -> None:
        """Write down the step that the batch has just played; none if the battle is over.

        Args:
            actions: integer [B, K] what `SkirmishBatch.step` was given.
            opponent_actions: integer [B, M] likewise, where a policy plays the enemies.

        Raises:
            ValueError: the battle has been reset or stepped without being recorded.
        """
        played = int(self._batch.episode_steps[self._env])
        recorded = len(self._actions)
        if played == recorded and self._batch.finished[self._env]:
            return
        if played != recorded + 1:
            raise ValueError(
                f"environment {self._env} has played {played} steps, but {recorded} are recorded; "
                "call add once after each step"
            )
        if (opponent_actions is None) != (self._batch.opponents is None):
            raise ValueError("give opponent_actions exactly if a policy plays the enemies")
        self._actions.append(tuple(int(action) for action in actions[self._env]))
        if opponent_actions is not None:
            self._opponent_actions.append(tuple(int(act) for act in opponent_actions[self._env]))
        self._return += float(self._batch.exact_reward[self._env])

    def finish(self) -> Replay:
        """Return what has been recorded; the battle need not be over."""
        batch = self._batch
        options, rewards = replay_file.scalars(batch.options)
        known = battle_map.MAPS.get(batch.map_name)
        policy = batch.opponents is not None
        return Replay(
            Document(
                simulator=present_simulator(),
                map=batch.map_name,
                scenario=None if known is not None else embedded.describe(batch.row),
                options=options,
                rewards=rewards,
                opponents="policy" if policy else "computer",
                seed=str(int(batch.seeds[self._env])),
                actions=tuple(self._actions),
                opponent_actions=tuple(self._opponent_actions) if policy else None,
                outcome=_outcome(batch, self._env, self._return),
            )
        )


def _outcome(batch: SkirmishBatch, env: int, episode_return: float) -> Outcome:
    return Outcome(
        steps=int(batch.episode_steps[env]),
        episode_return=episode_return,
        ended=scene.outcome(batch, env),
    )


def record(
    batch: SkirmishBatch, policy: Policy, env: int, opponent: Policy | None = None
) -> Replay:
    """Play a freshly reset batch until one of its battles is over, and return that battle.

    Args:
        batch: the batch, just reset; its other battles are played along.
        policy: plays the team.
        env: index of the battle to record.
        opponent: plays the enemies, where a policy does.

    Raises:
        ValueError: the battle has been stepped already, or an action is not available.
    """
    recorder = Recorder.start(batch, env)
    while not batch.finished[env]:
        actions = policy(batch)
        theirs = None if opponent is None else opponent(batch)
        batch.step(actions, theirs)
        recorder.add(actions, theirs)
    return recorder.finish()
