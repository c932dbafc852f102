"""The compiled entry point: starts all battles, or plays one environment step in all of them.

One environment step is eight loops, then the verdict, the reward and the features. Fed by `batch`.
"""

from __future__ import annotations

from collections.abc import Callable

from dm2_dist.envs.skirmish.kernels.body import lay_out
from dm2_dist.envs.skirmish.kernels.compiled import entry, first_call, inner, source_digest
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ANY_DISTANCE,
    COMPUTE_STATE,
    DYING,
    EPISODE_LIMIT,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_BASIC_ACTIONS,
    NUM_UNITS,
    OBS_INSTEAD_OF_STATE,
    STEP_LOOPS,
    TRACED,
    ZERO_SUM,
)
from dm2_dist.envs.skirmish.kernels.global_state import write_state
from dm2_dist.envs.skirmish.kernels.layout import (
    Battles,
    Integers,
    Reals,
    Report,
    Side,
    World,
)
from dm2_dist.envs.skirmish.kernels.loop import play_loop
from dm2_dist.envs.skirmish.kernels.mirror import mirror
from dm2_dist.envs.skirmish.kernels.observation import first_target, list_actions, observe
from dm2_dist.envs.skirmish.kernels.order import give_orders
from dm2_dist.envs.skirmish.kernels.score import LOSS, UNDECIDED, WIN, points, verdict
from dm2_dist.envs.skirmish.kernels.start import begin, round_units
from dm2_dist.envs.skirmish.kernels.trace import write_trace

ALL_LEGAL = -1
"""Answer of `step` when every action was available."""


@inner
def write_features(
    real: Reals, integer: Integers, world: World, last_action: Integers, report: Report, b: int
) -> None:
    """Bring everything that is shown of battle `b` up to date."""
    number = world.number
    available = report.available_actions[b]
    observation = report.observation[b]
    steps = report.episode_steps[b]
    list_actions(real, integer, world, available)
    observe(real, integer, world, last_action, available, steps, observation)
    for i in range(number[NUM_AGENTS]):
        report.alive[b, i] = integer[ALIVE, i]
    if number[COMPUTE_STATE] == 0:
        return
    state = report.state[b]
    if number[OBS_INSTEAD_OF_STATE] == 1:
        for i in range(number[NUM_AGENTS]):
            for k in range(observation.shape[1]):
                state[i * observation.shape[1] + k] = observation[i, k]
    else:
        write_state(real, integer, world, last_action, steps, state)


@inner
def show(team: Side, opponents: Side | None, b: int) -> None:
    """Show battle `b` to the team and, where they are played by a policy, to the opponents."""
    real = team.battles.real[b]
    integer = team.battles.integer[b]
    write_features(real, integer, team.world, team.battles.last_action[b], team.report, b)
    if opponents is None:
        return
    mirrored_real = opponents.battles.real[0]
    mirrored_integer = opponents.battles.integer[0]
    mirror(real, integer, opponents.world, mirrored_real, mirrored_integer)
    last_action = opponents.battles.last_action[b]
    write_features(
        mirrored_real, mirrored_integer, opponents.world, last_action, opponents.report, b
    )


@inner
def find_illegal(
    integer: Integers, world: World, report: Report, actions: Integers, finished: int, b: int
) -> int:
    """Return the first agent of battle `b` whose action is not available, else `ALL_LEGAL`."""
    if finished == 1:
        return ALL_LEGAL
    for k in range(world.number[NUM_AGENTS]):
        action = actions[b, k]
        if action < 0 or action >= world.number[NUM_ACTIONS]:
            return k
        if report.available_actions[b, k, action] == 1:
            continue
        if world.number[ANY_DISTANCE] == 0 or action < NUM_BASIC_ACTIONS:
            return k
        first = first_target(world, k)
        place = first + action - NUM_BASIC_ACTIONS
        if place >= world.number[NUM_AGENTS if first == 0 else NUM_UNITS]:
            return k
        if integer[ALIVE, world.slot[k]] == 0 or integer[ALIVE, world.slot[place]] == 0:
            return k
    return ALL_LEGAL


@inner
def remember(last_action: Integers, actions: Integers, b: int) -> None:
    """Keep the actions of battle `b` for the features."""
    for k in range(actions.shape[1]):
        last_action[b, k] = actions[b, k]


@inner
def play(team: Side, opponents: Side | None, actions: Integers, opposing: Integers, b: int) -> None:
    """Play one environment step of battle `b`."""
    world = team.world
    number = world.number
    battles = team.battles
    report = team.report
    real = battles.real[b]
    integer = battles.integer[b]
    seed = battles.seed[b]
    remember(battles.last_action, actions, b)
    give_orders(real, integer, world, actions[b], world.slot, False)
    if opponents is not None:
        remember(opponents.battles.last_action, opposing, b)
        give_orders(real, integer, world, opposing[b], opponents.world.slot, True)
    loops = number[STEP_LOOPS]
    first = report.episode_steps[b] * loops
    lay_out(real, integer, world, battles.body)
    integer[DYING, 0] = 1  # whoever was left without health from outside is buried too
    for loop in range(first, first + loops):
        play_loop(real, integer, world, battles, battles.order[b], seed, loop)
        if number[TRACED] == 1:
            write_trace(real, integer, world, battles.trace[b, loop - first])
    round_units(real)
    score_step(team, opponents, b)


@inner
def score_step(team: Side, opponents: Side | None, b: int) -> None:
    """Give the verdict and the rewards of a step of battle `b`."""
    world = team.world
    report = team.report
    real = team.battles.real[b]
    integer = team.battles.integer[b]
    report.episode_steps[b] += 1
    outcome = verdict(integer, world)
    if opponents is not None:
        score_opponents(team, opponents, outcome, b)
    score = points(real, integer, world, outcome)
    if opponents is not None and world.number[ZERO_SUM] == 1:
        opponents.battles.score[b] = -score
        opponents.report.reward[b] = -score
    team.battles.score[b] = score
    report.reward[b] = score
    close_step(world, report, outcome, outcome == WIN, b)
    if opponents is not None:
        opponents.report.episode_steps[b] = report.episode_steps[b]
        close_step(world, opponents.report, outcome, outcome == LOSS, b)


@inner
def score_opponents(team: Side, opponents: Side, outcome: int, b: int) -> None:
    """Compute the opponents' own reward of a step, before the team's reward forgets the last."""
    real = opponents.battles.real[0]
    integer = opponents.battles.integer[0]
    mirror(team.battles.real[b], team.battles.integer[b], opponents.world, real, integer)
    theirs = outcome
    if outcome == WIN:
        theirs = LOSS
    elif outcome == LOSS:
        theirs = WIN
    score = points(real, integer, opponents.world, theirs)
    opponents.battles.score[b] = score
    opponents.report.reward[b] = score


@inner
def close_step(world: World, report: Report, outcome: int, won: bool, b: int) -> None:
    """Say how battle `b` stands after a step."""
    late = report.episode_steps[b] >= world.number[EPISODE_LIMIT]
    report.terminated[b] = outcome != UNDECIDED
    report.won[b] = won
    report.truncated[b] = outcome == UNDECIDED and late
    report.finished[b] = outcome != UNDECIDED or late


@inner
def find_any_illegal(
    team: Side, opponents: Side | None, actions: Integers, opposing: Integers
) -> int:
    """Look for an action that is not available; the answer is that of `step`."""
    integer = team.battles.integer
    for b in range(actions.shape[0]):
        finished = team.report.finished[b]
        k = find_illegal(integer[b], team.world, team.report, actions, finished, b)
        if k != ALL_LEGAL:
            return int(b * actions.shape[1] + k)
        if opponents is None:
            continue
        k = find_illegal(integer[b], opponents.world, opponents.report, opposing, finished, b)
        if k != ALL_LEGAL:
            return int(-2 - (b * opposing.shape[1] + k))
    return ALL_LEGAL


@inner
def rest(battles: Battles, report: Report, b: int) -> None:
    """Leave a finished battle as it is; it earns nothing more."""
    battles.score[b] = 0.0
    report.reward[b] = 0.0


Advance = Callable[[Side, Side | None, Integers, Integers, bool], int]


def _compiled(digest: int) -> Advance:
    """Make the entry point; the digest of the sources becomes part of its key in the cache."""

    @entry
    def advance(
        team: Side, opponents: Side | None, actions: Integers, opposing: Integers, fresh: bool
    ) -> int:
        # One entry point for both jobs: everything that they share is compiled once.
        assert digest >= 0
        if not fresh:
            illegal = find_any_illegal(team, opponents, actions, opposing)
            if illegal != ALL_LEGAL:
                return illegal
        for b in range(team.battles.seed.size):
            if fresh:
                begin(team, opponents, b)
            elif team.report.finished[b] == 1:
                rest(team.battles, team.report, b)
                if opponents is not None:
                    rest(opponents.battles, opponents.report, b)
                continue
            else:
                play(team, opponents, actions, opposing, b)
            show(team, opponents, b)
        return ALL_LEGAL

    return advance


_DIGEST = source_digest()
_advance = _compiled(_DIGEST)


def reset(team: Side, opponents: Side | None) -> None:
    """Start every battle afresh from its seed."""
    nothing = team.battles.last_action
    with first_call(_advance, _DIGEST, "computer" if opponents is None else "policy"):
        _advance(team, opponents, nothing, nothing, True)


def step(team: Side, opponents: Side | None, actions: Integers, opposing: Integers) -> int:
    """Play one environment step of every unfinished battle.

    Args:
        team: the team's side; its battles are played and its report is written, in place.
        opponents: the other side, changed in place; None where the computer plays it.
        actions: int64 [B, K].
        opposing: int64 [B, M] the opponents' actions; not read where the computer plays them.

    Returns:
        `ALL_LEGAL`; or b * K + k for the first action of the team that is not available; or
        -2 - (b * M + m) for one of the opponents. In the last two cases nothing has been played.
    """
    return _advance(team, opponents, actions, opposing, False)
