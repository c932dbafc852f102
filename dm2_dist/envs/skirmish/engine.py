"""The compiled entry point: starts all battles, or plays one environment step in all of them.

One loop of a battle is: decide, move, fight, settle. One environment step is eight loops, then the
verdict, the reward and the features. Fed by `batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import draw
from dm2_dist.envs.skirmish.combat import fight, settle
from dm2_dist.envs.skirmish.field import (
    ALIVE,
    ANY_DISTANCE,
    COMPUTE_STATE,
    COOLDOWN,
    ENERGY,
    ENERGY_START,
    EPISODE_LIMIT,
    HEALTH,
    HEALTH_MAX,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_UNITS,
    OBS_INSTEAD_OF_STATE,
    PENDING_TARGET,
    PREVIOUS,
    SHIELD,
    SHIELD_MAX,
    SPAWN_X,
    SPAWN_Y,
    STEP_LOOPS,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.formation import JITTER
from dm2_dist.envs.skirmish.global_state import write_state
from dm2_dist.envs.skirmish.kernel import entry, first_call, inner, source_digest
from dm2_dist.envs.skirmish.movement import move
from dm2_dist.envs.skirmish.observation import list_actions, observe
from dm2_dist.envs.skirmish.score import UNDECIDED, WIN, points, verdict
from dm2_dist.envs.skirmish.target import decide, give_orders, march
from dm2_dist.envs.skirmish.world import World

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ALL_LEGAL = -1
"""Answer of `step` when every action was available."""


class Battles(NamedTuple):
    """What changes in B battles.

    Attributes:
        real: float64 [B, R, U], see `field`.
        integer: int64 [B, I, U], see `field`.
        seed: uint64 [B].
        last_action: int64 [B, K], -1 before the first step.
        score: float64 [B] reward of the last step before it is rounded.
    """

    real: Reals
    integer: Integers
    seed: npt.NDArray[np.uint64]
    last_action: Integers
    score: Reals


class Report(NamedTuple):
    """What a batch shows of its battles; the arrays are described in `interface.BattleBatch`."""

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


@inner
def place_units(real: Reals, integer: Integers, world: World, seed: np.uint64) -> None:
    """Set every unit up at its slot, fresh."""
    trait = world.trait
    agents = world.number[NUM_AGENTS]
    real[:] = 0.0
    integer[:] = 0
    for i in range(world.number[NUM_UNITS]):
        # One shift of x for a whole side keeps the order in which its units are numbered.
        side = 0 if i < agents else agents
        shift_x = JITTER * (2.0 * draw.uniform(seed, draw.PLACE, 0, side) - 1.0)
        shift_y = JITTER * (2.0 * draw.uniform(seed, draw.PLACE, 1, i) - 1.0)
        real[X, i] = trait[SPAWN_X, i] + shift_x
        real[Y, i] = trait[SPAWN_Y, i] + shift_y
        real[HEALTH, i] = trait[HEALTH_MAX, i]
        real[SHIELD, i] = trait[SHIELD_MAX, i]
        real[ENERGY, i] = trait[ENERGY_START, i]
        integer[ALIVE, i] = 1
        integer[TARGET, i] = -1
        integer[SWING, i] = -1
        integer[PENDING_TARGET, i] = -1
        if i >= agents:
            march(integer, real, world.weight, i)


@inner
def round_units(real: Reals, number: Integers) -> None:
    """Round what the game would report to single precision, and remember it for the next reward."""
    for i in range(number[NUM_UNITS]):
        real[X, i] = np.float32(real[X, i])
        real[Y, i] = np.float32(real[Y, i])
        real[HEALTH, i] = np.float32(real[HEALTH, i])
        real[SHIELD, i] = np.float32(real[SHIELD, i])
        real[COOLDOWN, i] = np.float32(real[COOLDOWN, i])


@inner
def write_features(world: World, battles: Battles, report: Report, b: int) -> None:
    """Bring everything that is shown of battle `b` up to date."""
    real = battles.real[b]
    integer = battles.integer[b]
    number = world.number
    last_action = battles.last_action[b]
    available = report.available_actions[b]
    observation = report.observation[b]
    steps = report.episode_steps[b]
    list_actions(real, integer, world.cell, number, world.weight, available)
    observe(
        real,
        integer,
        world.trait,
        world.cell,
        world.height,
        number,
        world.weight,
        last_action,
        available,
        steps,
        observation,
    )
    for i in range(number[NUM_AGENTS]):
        report.alive[b, i] = integer[ALIVE, i]
    if number[COMPUTE_STATE] == 0:
        return
    state = report.state[b]
    if number[OBS_INSTEAD_OF_STATE] == 1:
        for k in range(state.size):
            state[k] = observation[k // observation.shape[1], k % observation.shape[1]]
    else:
        write_state(real, integer, world.trait, number, last_action, steps, state)


@inner
def find_illegal(world: World, battles: Battles, report: Report, actions: Integers) -> int:
    """Return b * K + k of the first action that is not available, else `ALL_LEGAL`."""
    agents = int(world.number[NUM_AGENTS])
    num_actions = world.number[NUM_ACTIONS]
    any_distance = world.number[ANY_DISTANCE] == 1
    for b in range(actions.shape[0]):
        if report.finished[b] == 1:
            continue
        for i in range(agents):
            action = actions[b, i]
            if action < 0 or action >= num_actions:
                return b * agents + i
            if report.available_actions[b, i, action] == 1:
                continue
            integer = battles.integer[b]
            alive = integer[ALIVE, i] == 1
            if not (
                any_distance and alive and action >= 6 and integer[ALIVE, agents + action - 6] == 1
            ):
                return b * agents + i
    return ALL_LEGAL


@inner
def play(world: World, battles: Battles, report: Report, actions: Integers, b: int) -> None:
    """Play one environment step of battle `b`."""
    real = battles.real[b]
    integer = battles.integer[b]
    seed = battles.seed[b]
    trait = world.trait
    number = world.number
    weight = world.weight
    for i in range(number[NUM_AGENTS]):
        battles.last_action[b, i] = actions[b, i]
    give_orders(real, integer, number, weight, actions[b])
    loops = number[STEP_LOOPS]
    first = report.episode_steps[b] * loops
    for loop in range(first, first + loops):
        decide(real, integer, trait, number, weight)
        move(real, integer, trait, world.cell, number, loop)
        fight(real, integer, trait, world.hit, number, seed, loop)
        settle(real, integer, trait, number)
    round_units(real, number)
    report.episode_steps[b] += 1
    outcome = verdict(integer, number)
    score = points(real, integer, number, weight, outcome)
    battles.score[b] = score
    report.reward[b] = score
    report.terminated[b] = outcome != UNDECIDED
    report.won[b] = outcome == WIN
    late = report.episode_steps[b] >= number[EPISODE_LIMIT]
    report.truncated[b] = outcome == UNDECIDED and late
    report.finished[b] = outcome != UNDECIDED or late


@inner
def begin(world: World, battles: Battles, report: Report, b: int) -> None:
    """Start battle `b` afresh."""
    real = battles.real[b]
    place_units(real, battles.integer[b], world, battles.seed[b])
    round_units(real, world.number)
    for i in range(world.number[NUM_UNITS]):
        real[PREVIOUS, i] = real[HEALTH, i] + real[SHIELD, i]
    for i in range(world.number[NUM_AGENTS]):
        battles.last_action[b, i] = -1
    battles.score[b] = 0.0
    report.reward[b] = 0.0
    report.terminated[b] = 0
    report.truncated[b] = 0
    report.won[b] = 0
    report.finished[b] = 0
    report.episode_steps[b] = 0


Advance = Callable[[World, Battles, Report, Integers, bool], int]


def _compiled(digest: int) -> Advance:
    """Make the entry point; the digest of the sources becomes part of its key in the cache."""

    @entry
    def advance(
        world: World, battles: Battles, report: Report, actions: Integers, fresh: bool
    ) -> int:
        # One entry point for both jobs: everything that they share is compiled once.
        assert digest >= 0
        if not fresh:
            illegal = find_illegal(world, battles, report, actions)
            if illegal != ALL_LEGAL:
                return illegal
        for b in range(battles.seed.size):
            if fresh:
                begin(world, battles, report, b)
            elif report.finished[b] == 1:
                battles.score[b] = 0.0
                report.reward[b] = 0.0
                continue
            else:
                play(world, battles, report, actions, b)
            write_features(world, battles, report, b)
        return ALL_LEGAL

    return advance


_DIGEST = source_digest()
_advance = _compiled(_DIGEST)


def reset(world: World, battles: Battles, report: Report) -> None:
    """Start every battle afresh from its seed."""
    with first_call(_advance, _DIGEST):
        _advance(world, battles, report, battles.last_action, True)


def step(world: World, battles: Battles, report: Report, actions: Integers) -> int:
    """Play one environment step of every unfinished battle.

    Args:
        world: the map.
        battles: the battles, changed in place.
        report: what they show, changed in place.
        actions: int64 [B, K].

    Returns:
        `ALL_LEGAL`, or b * K + k of the first action that is not available; then nothing has been
        played.
    """
    return _advance(world, battles, report, actions, False)
