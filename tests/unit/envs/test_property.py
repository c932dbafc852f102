"""What holds in every battle, whatever is played on whichever map."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map, feature
from dm2_dist.envs.skirmish.lineup import roster
from dm2_dist.envs.skirmish.options import Options, RewardFlags
from dm2_dist.envs.skirmish.profile import LIBERTY
from dm2_dist.envs.skirmish.unit_type import UnitType

Mode = Literal["computer", "policy"]
Integers = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

REPORT = ("observation", "state", "available_actions", "alive", "reward", "won")
CLOCK = ("terminated", "truncated", "finished", "episode_steps")

seeds = st.integers(0, 2**64 - 1)
modes: st.SearchStrategy[Mode] = st.sampled_from(["computer", "policy"])
profiles = st.sampled_from(["liberty", "lotv", "smaclite"])
coordinates = st.integers(4, 27)
groups = st.lists(
    st.fixed_dictionaries(
        {
            "unit": st.sampled_from(sorted(LIBERTY.units)),
            "count": st.integers(1, 5),
            "point": st.tuples(coordinates, coordinates),
        }
    ),
    min_size=1,
    max_size=3,
).filter(lambda drawn: any(group["unit"] != "medivac" for group in drawn))
orders = st.one_of(
    st.builds(lambda x, y: {"kind": "attack_move", "points": [[x, y]]}, coordinates, coordinates),
    st.sampled_from([{"kind": "hunt"}, {"kind": "hold"}]),
)
scenarios = st.fixed_dictionaries(
    {
        "name": st.just("drawn"),
        "episode_limit": st.integers(1, 80),
        "terrain": st.just("open"),
        "allies": groups,
        "enemies": groups,
        "order": orders,
    }
)
battles = st.one_of(st.sampled_from(sorted(battle_map.MAPS)), scenarios)

numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where drawn scenarios are written."""
    return tmp_path_factory.mktemp("scenarios")


def name_of(battle: str | dict[str, Any], folder: Path) -> str:
    """Name of a map, or path of the file that the scenario is written to."""
    if isinstance(battle, str):
        return battle
    path = folder / f"{next(numbers)}.json"
    path.write_text(json.dumps(battle), encoding="utf-8")
    return str(path)


def hashed(listed: npt.NDArray[np.uint8], seed: int, step: int, bias: float) -> Integers:
    """Choose among the listed actions of one side from nothing but a seed and the step."""
    weight = np.random.default_rng([seed % 2**32, seed >> 32, step]).random(listed.shape)
    weight[:, 6:] += bias
    return np.where(listed > 0, weight, -1.0).argmax(axis=1)


def choose(batch: SkirmishBatch, words: list[int], bias: float) -> tuple[Integers, ...]:
    """Legal actions of the team and, if a policy plays them, of the opponents."""
    sides = [batch.available_actions]
    if batch.opponents is not None:
        sides.append(batch.opponents.available_actions)
    return tuple(
        np.stack(
            [
                hashed(side[env], word + place, int(batch.episode_steps[env]), bias)
                for env, word in enumerate(words)
            ]
        )
        for place, side in enumerate(sides)
    )


def contents(batch: SkirmishBatch, env: int) -> Arrays:
    """Everything about one battle, copied."""
    found = {name: getattr(batch, name)[env] for name in REPORT + CLOCK}
    found |= {"real": batch._battles.real[env], "integer": batch._battles.integer[env]}
    found["score"] = batch.exact_reward[env]
    found["last"] = batch._battles.last_action[env]
    if batch.opponents is not None:
        found |= {f"their {name}": getattr(batch.opponents, name)[env] for name in REPORT}
        found["their score"] = batch.opponents.exact_reward[env]
        found["their last"] = batch.opponents.side.battles.last_action[env]
    return {name: np.copy(value) for name, value in found.items()}


def assert_same(one: Arrays, other: Arrays, *, but: tuple[str, ...] = ()) -> None:
    for name, value in one.items():
        if name not in but:
            assert np.array_equal(value, other[name]), name


def started(name: str, words: list[int], mode: Mode, options: Options) -> SkirmishBatch:
    batch = SkirmishBatch(name, len(words), options=options, opponents=mode)
    batch.reset(np.array(words, np.uint64))
    return batch


def played(batch: SkirmishBatch, words: list[int], bias: float, steps: int) -> Iterator[None]:
    """Play legal actions until all battles have finished, at most so many steps."""
    for _ in range(steps):
        if batch.finished.all():
            return
        batch.step(*choose(batch, words, bias))
        yield


class Truth:
    """Bounds that the units of a batch must keep, taken from the tables."""

    def __init__(self, batch: SkirmishBatch) -> None:
        units = [unit for unit, _ in roster(batch.row)]
        own = np.arange(len(units)) < batch.num_agents
        self.plan = batch.row.terrain
        self.health = np.array([unit.health for unit in units])
        self.shield = np.array([unit.shield for unit in units])
        self.energy = np.array([unit.energy_max for unit in units])
        self.room = np.array([unit.separation for unit in units])
        self.walks = np.array([not (unit.flies or unit.climbs) for unit in units])
        self.heals = np.array([unit.heals for unit in units])
        self.regains = 8 * np.array([unit.health_regeneration for unit in units])
        healable = np.array([unit.healable for unit in units])
        for side in (own, ~own):
            self.regains[side & healable] += 8 * 9 / 16 * self.heals[side].sum()

    def check(self, batch: SkirmishBatch) -> None:
        """Hold the arrays of a batch against the bounds."""
        assert np.isfinite(batch._battles.real).all()
        assert np.isfinite(batch.observation).all()
        assert np.isfinite(batch.state).all()
        assert np.isfinite(batch.exact_reward).all()
        assert ((batch.unit_health >= 0) & (batch.unit_health <= self.health)).all()
        assert ((batch.unit_shield >= 0) & (batch.unit_shield <= self.shield)).all()
        assert ((batch.unit_energy >= 0) & (batch.unit_energy <= self.energy)).all()
        assert (batch.unit_cooldown >= 0).all()
        alive = batch.unit_health > 0
        for place in (batch.unit_x, batch.unit_y):
            assert ((place >= self.room - 1e-4) & (place <= 32 - self.room + 1e-4))[alive].all()
        columns, rows = (
            np.floor(place[:, self.walks]).astype(int).ravel().tolist()
            for place in (batch.unit_x, batch.unit_y)
        )
        assert all(self.plan.pathable(x, y) for x, y in set(zip(columns, rows, strict=True)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(battle=battles, profile=profiles, mode=modes, seed=seeds, bias=st.floats(0, 1))
def test_units_keep_their_bounds(
    folder: Path,
    battle: str | dict[str, Any],
    profile: str,
    mode: Mode,
    seed: int,
    bias: float,
) -> None:
    words = [seed, seed ^ 1]
    batch = started(name_of(battle, folder), words, mode, Options(profile=profile))
    truth = Truth(batch)
    truth.check(batch)
    health, shield = batch.unit_health.copy(), batch.unit_shield.copy()
    for _ in played(batch, words, bias, 60):
        truth.check(batch)
        assert (batch.unit_health <= health + truth.regains + 1e-4).all(), "risen by itself"
        assert (batch.unit_shield <= shield + 1.0 + 1e-4).all()
        assert not ((health == 0) & (batch.unit_health > 0)).any(), "the dead stay dead"
        assert not batch.unit_shield[batch.unit_health == 0].any()
        health, shield = batch.unit_health.copy(), batch.unit_shield.copy()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(battle=battles, mode=modes, seed=seeds, bias=st.floats(0, 1))
def test_the_dead_are_not_seen_and_have_nothing_to_do(
    folder: Path, battle: str | dict[str, Any], mode: Mode, seed: int, bias: float
) -> None:
    batch = started(name_of(battle, folder), [seed], mode, Options())
    sizes = feature.sizes(batch.row, batch.options.features)
    k, ally, enemy = batch.num_agents, sizes.state_ally, sizes.state_enemy
    shooters = ~np.array([unit.heals for unit, _ in roster(batch.row)[:k]])
    for _ in played(batch, [seed], bias, 60):
        dead = batch.unit_health[0] == 0
        assert np.array_equal(batch.alive[0] == 0, dead[:k])
        assert not batch.observation[0][dead[:k]].any()
        assert batch.observation[0][~dead[:k]].any(axis=1).all()
        own = batch.state[0, : k * ally].reshape(k, ally)
        others = batch.state[0, k * ally :][: batch.num_enemies * enemy].reshape(-1, enemy)
        assert np.array_equal(own.any(axis=1), ~dead[:k])
        assert np.array_equal(others.any(axis=1), ~dead[k:])
        listed = batch.available_actions[0]
        assert (listed[dead[:k]].sum(axis=1) == 1).all()
        assert listed[dead[:k], 0].all()
        assert not listed[~dead[:k], 0].any()
        assert listed[~dead[:k], 1].all()
        seen = listed[:, 6:][:, : batch.num_enemies]
        assert not seen[shooters][:, dead[k:]].any(), "the dead cannot be attacked"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(battle=battles, profile=profiles, mode=modes, words=st.lists(seeds, min_size=2, max_size=4))
def test_a_batch_is_its_battles_played_one_by_one(
    folder: Path, battle: str | dict[str, Any], profile: str, mode: Mode, words: list[int]
) -> None:
    name, options = name_of(battle, folder), Options(profile=profile)
    together = started(name, words, mode, options)
    alone = [started(name, [word], mode, options) for word in words]
    again = started(name, words, mode, options)
    for _ in range(40):
        together.step(*choose(together, words, 0.5))
        again.step(*choose(again, words, 0.5))
        for env, (single, word) in enumerate(zip(alone, words, strict=True)):
            single.step(*choose(single, [word], 0.5))
            assert_same(contents(single, 0), contents(together, env))
            assert_same(contents(again, env), contents(together, env))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(battle=battles, mode=modes, seed=seeds, steps=st.integers(0, 25), data=st.data())
def test_what_is_not_available_is_refused_and_leaves_everything_untouched(
    folder: Path,
    battle: str | dict[str, Any],
    mode: Mode,
    seed: int,
    steps: int,
    data: st.DataObject,
) -> None:
    words = [seed, 1]
    batch = started(name_of(battle, folder), words, mode, Options())
    for _ in played(batch, words, 0.5, steps):
        pass
    running = np.flatnonzero(batch.finished == 0).tolist()
    if not running:
        return
    actions = choose(batch, words, 0.5)
    who, listed, given_by = "agent", batch.available_actions, actions[0]
    if batch.opponents is not None and data.draw(st.booleans()):
        who, listed, given_by = "opponent", batch.opponents.available_actions, actions[1]
    env = data.draw(st.sampled_from(running))
    unit = data.draw(st.integers(0, given_by.shape[1] - 1))
    illegal = np.flatnonzero(listed[env, unit] == 0).tolist()
    action = data.draw(st.sampled_from([*illegal, -1, listed.shape[2], 2**40]))
    given_by[env, unit] = action
    before = [contents(batch, place) for place in range(2)]
    with pytest.raises(
        ValueError, match=f"^environment {env}: {who} {unit} cannot perform action {action}$"
    ):
        batch.step(*actions)
    for place in range(2):
        assert_same(before[place], contents(batch, place))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(battle=battles, mode=modes, seed=seeds)
def test_a_finished_battle_is_frozen_and_earns_nothing(
    folder: Path, battle: str | dict[str, Any], mode: Mode, seed: int
) -> None:
    batch = started(name_of(battle, folder), [seed], mode, Options())
    for _ in played(batch, [seed], 1.0, 150):
        pass
    if not batch.finished[0]:
        return
    before = contents(batch, 0)
    for _ in range(3):
        wild = [np.full((1, batch.num_agents), 99)]
        if batch.opponents is not None:
            wild.append(np.full((1, batch.num_enemies), -5))
        batch.step(*wild)
        after = contents(batch, 0)
        paid = ("reward", "score", "their reward", "their score")
        assert_same(before, after, but=paid)
        assert not any(after[name].any() for name in paid if name in after)


def verdict(units: list[UnitType], k: int, health: npt.NDArray[np.float64]) -> str:
    """SMAC's verdict on one battle of `k` agents, float64 [U] health."""
    living = [point > 0 for point in health]
    own, theirs = sum(living[:k]), sum(living[k:])
    medics = any(unit.heals for unit in units[:k])
    fighters = sum(
        alive and not unit.heals for unit, alive in zip(units[:k], living[:k], strict=True)
    )
    nurses = sum(alive and unit.heals for unit, alive in zip(units[k:], living[k:], strict=True))
    if (own == 0 and theirs > 0) or (medics and fighters == 0):
        return "loss"
    if (own > 0 and theirs == 0) or (medics and theirs == 1 and nurses == 1):
        return "win"
    return "undecided" if own > 0 else "draw"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    battle=battles,
    mode=modes,
    seed=seeds,
    sparse=st.booleans(),
    positive=st.booleans(),
    defeat=st.sampled_from([0.0, -7.0]),
)
def test_rewards_and_endings_follow_from_the_units(
    folder: Path,
    battle: str | dict[str, Any],
    mode: Mode,
    seed: int,
    sparse: bool,
    positive: bool,
    defeat: float,
) -> None:
    flags = RewardFlags(reward_sparse=sparse, reward_only_positive=positive, reward_defeat=defeat)
    batch = started(name_of(battle, folder), [seed], mode, Options(rewards=flags))
    k = batch.num_agents
    units = [unit for unit, _ in roster(batch.row)]
    largest = 200 + sum(10 + unit.health + unit.shield for unit in units[k:])
    before = (batch.unit_health + batch.unit_shield)[0]
    for _ in played(batch, [seed], 1.0, 200):
        now = (batch.unit_health + batch.unit_shield)[0]
        died = (before > 0) & (now == 0)
        outcome = verdict(units, k, batch.unit_health[0])
        reward = (before - now)[k:].sum() + 10 * died[k:].sum()
        if positive:
            reward = abs(reward)
        else:
            reward -= 0.5 * (before - now)[:k].sum() + 5 * died[:k].sum()
        reward += 200 * (outcome == "win") + defeat * (outcome == "loss")
        if sparse:
            reward = (outcome == "win") - (outcome == "loss")
        assert batch.exact_reward[0] == pytest.approx(reward * 20 / largest, abs=1e-9)
        assert batch.reward[0] == np.float32(batch.exact_reward[0])
        late = batch.episode_steps[0] == batch.episode_limit
        assert bool(batch.won[0]) == (outcome == "win")
        assert bool(batch.terminated[0]) == (outcome != "undecided")
        assert bool(batch.truncated[0]) == (outcome == "undecided" and late)
        assert bool(batch.finished[0]) == (outcome != "undecided" or late)
        before = now


@pytest.mark.parametrize(
    ("own", "theirs", "expected"),
    [
        ([9], [], "loss"),  # all enemies are dead, but only the medivac lives
        ([], [], "loss"),  # on maps with medivacs that comes before a draw
        ([9], [9], "loss"),
        ([0], [9], "win"),  # a single medivac does not count
        ([0], [], "win"),
        ([0], [8, 9], "undecided"),
        ([], [0], "loss"),
    ],
)
def test_endings_with_medivacs(
    own: list[int], theirs: list[int], expected: str, slay: Callable[..., None]
) -> None:
    batch = SkirmishBatch("MMM", 1)
    batch.reset()
    living = np.zeros(20, bool)
    living[own] = True
    living[[10 + place for place in theirs]] = True
    slay(batch, 0, ~living)
    batch.unit_energy[0] = 0  # nobody is brought back
    batch.step(np.ones((1, 10), np.int64))
    assert bool(batch.won[0]) == (expected == "win")
    assert bool(batch.terminated[0]) == (expected != "undecided")
    killed = [unit for (unit, _), alive in zip(roster(batch.row), living, strict=True) if not alive]
    points = sum(10 + unit.health for unit in killed[10 - len(own) :]) + 200 * (expected == "win")
    assert batch.exact_reward[0] == pytest.approx(points * 20 / 1015)
