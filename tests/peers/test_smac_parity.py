"""Every number that SMAC's class computes, against ours, bit for bit.

SMAC's class runs unchanged; only the game behind it is our simulator: it reads units as our battle
reports them, and "stepping the game" steps our battle with the same actions.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import MAPS, SkirmishEnv, world
from dm2_dist.envs.skirmish.kernels import field, score
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.unit_view import UnitView

pytestmark = pytest.mark.peers

MOST_STEPS = 60
"""Steps after which a battle is left, to keep the crowded maps short."""

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "obs_last_action": True,
        "obs_pathing_grid": True,
        "obs_terrain_height": True,
        "obs_timestep_number": True,
        "state_timestep_number": True,
        "reward_only_positive": False,
        "compat": ("timestep", "enemy_order"),
    },
    "own health only": {
        "obs_all_health": False,
        "obs_last_action": True,
        "state_last_action": False,
        "reward_scale": False,
        "reward_defeat": -7,
        "compat": ("enemy_order",),
    },
    "no health": {
        "obs_all_health": False,
        "obs_own_health": False,
        "obs_instead_of_state": True,
        "reward_sparse": True,
        "move_amount": 3,
    },
    "observations as state": {
        "obs_instead_of_state": True,
        "obs_last_action": True,
        "obs_timestep_number": True,
        "reward_death_value": 4,
        "reward_win": 150,
        "reward_scale_rate": 30,
        "compat": ("timestep", "enemy_order"),
    },
    "heuristic": {
        "heuristic_ai": True,
        "obs_last_action": True,
        "continuing_episode": True,
        "compat": ("heuristic_list", "marauder_target"),
    },
    "restricted heuristic": {
        "heuristic_ai": True,
        "heuristic_rest": True,
        "obs_instead_of_state": True,
        "obs_last_action": True,
        "compat": ("heuristic_list", "marauder_target", "enemy_order"),
    },
    "short steps": {"step_mul": 2, "continuing_episode": True, "state_timestep_number": True},
}


def message(unit: UnitView) -> SimpleNamespace:
    """Report a unit as the game does."""
    names = (
        "tag owner unit_type health health_max shield shield_max energy energy_max weapon_cooldown"
    )
    values = {name: getattr(unit, name) for name in names.split()}
    return SimpleNamespace(pos=SimpleNamespace(x=unit.pos.x, y=unit.pos.y), **values)


class Game:
    """What SMAC's class takes for the game: our battle."""

    def __init__(self, ours: SkirmishEnv) -> None:
        self.ours = ours
        self.given: list[int] = []
        self.answer: tuple[float, bool, dict[str, float | bool]] = (0.0, False, {})
        self.commanded: set[int] = set()

    def actions(self, request: Any) -> None:
        commands = [action.action_raw.unit_command for action in request.actions]
        self.commanded = {tag for command in commands for tag in command.unit_tags}

    def step(self, loops: int) -> None:
        assert loops == self.ours._options.step_mul
        self.answer = self.ours.step(self.given)

    def observe(self) -> SimpleNamespace:
        units = [*self.ours.agents.values(), *self.ours.enemies.values()]
        living = [message(unit) for unit in units if unit.health > 0]
        return SimpleNamespace(observation=SimpleNamespace(raw_data=SimpleNamespace(units=living)))


def seated(smac_class: Any, ours: SkirmishEnv, flags: dict[str, Any]) -> Any:
    """Make SMAC's environment with our battle as its game."""
    laid_out = world.build(MAPS[ours.map_name], Options(), world.Rule())

    class Seated(smac_class):  # type: ignore[misc]
        def _launch(self) -> None:
            self._controller = Game(ours)
            self.map_x = self.map_y = self.max_distance_x = self.max_distance_y = field.MAP_SIZE
            self.pathing_grid = laid_out.cell != field.CLIFF
            self.terrain_height = laid_out.height / 255
            ours.reset()

        def _restart(self) -> None:
            ours.reset()

    flags = {name: value for name, value in flags.items() if name != "compat"}
    return Seated(map_name=ours.map_name, **flags)


def same(theirs: Any, ours: Any) -> None:
    """Require equal numbers of equal type and shape."""
    theirs, ours = np.asarray(theirs), np.asarray(ours)
    assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
    differing = np.argwhere(theirs != ours)
    assert not differing.size, (differing[:5], theirs[theirs != ours][:5], ours[theirs != ours][:5])


def compare(theirs: Any, ours: SkirmishEnv) -> None:
    """Compare everything that can be asked during a battle."""
    for their_row, our_row in zip(theirs.get_obs(), ours.get_obs(), strict=True):
        same(their_row, our_row)
    same(theirs.get_state(), ours.get_state())
    assert theirs.get_avail_actions() == ours.get_avail_actions()
    same(theirs.get_visibility_matrix(), ours.get_visibility_matrix())
    same(theirs.last_action, ours.last_action)
    their_parts, our_parts = theirs.get_state_dict(), ours.get_state_dict()
    assert list(their_parts) == list(our_parts)
    for name, part in their_parts.items():
        same(part, our_parts[name])
    assert theirs.get_unit_types() == ours.get_unit_types()
    assert theirs.get_unit_by_id(0).tag == ours.get_unit_by_id(0).tag
    assert theirs._episode_steps == ours._episode_steps
    assert theirs._episode_count == ours._episode_count
    for name in ("win_counted", "defeat_counted", "max_reward"):
        assert getattr(theirs, name) == getattr(ours, name), name


def compare_declared(theirs: Any, ours: SkirmishEnv) -> None:
    """Compare what can be asked without a battle."""
    assert theirs.get_env_info() == ours.get_env_info()
    for name in (
        "get_total_actions",
        "get_obs_size",
        "get_state_size",
        "get_obs_move_feats_size",
        "get_obs_enemy_feats_size",
        "get_obs_ally_feats_size",
        "get_obs_own_feats_size",
        "get_ally_num_attributes",
        "get_enemy_num_attributes",
        "seed",
    ):
        assert getattr(theirs, name)() == getattr(ours, name)(), name


def choose(available: list[list[int]], generator: np.random.Generator) -> list[int]:
    """Draw available actions, attacks more often than uniform play would."""
    return [
        int(generator.choice(np.flatnonzero(row)))
        if generator.random() < 0.5
        else int(np.flatnonzero(row)[-1])
        for row in available
    ]


def play(theirs: Any, ours: SkirmishEnv, generator: np.random.Generator) -> bool:
    """Play one battle, or its beginning, and compare after every step; say whether it ended."""
    theirs.reset()
    compare(theirs, ours)
    game: Game = theirs._controller
    heuristic = bool(theirs.heuristic_ai)
    for _ in range(MOST_STEPS):
        given = choose(theirs.get_avail_actions(), generator)
        living = [agent for agent, unit in ours.agents.items() if unit.health > 0]
        tags = {ours.agents[agent].tag for agent in living}
        game.given = list(given)
        reward, terminated, info = theirs.step(given)
        our_reward, our_terminated, our_info = game.answer
        assert (reward, terminated) == (our_reward, our_terminated)
        assert {**info, "truncated": our_info["truncated"]} == our_info
        assert heuristic or game.commanded == tags
        # The heuristic also numbers actions for the dead, from where they were last reported.
        assert [given[agent] for agent in living] == [game.given[agent] for agent in living]
        compare(theirs, ours)
        if not theirs.reward_sparse:  # SMAC keeps no book of deaths then
            same(theirs.death_tracker_ally, ours.death_tracker_ally)
            same(theirs.death_tracker_enemy, ours.death_tracker_enemy)
        if terminated:
            assert theirs.get_stats() == ours.get_stats()
            return True
    return False


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("map_name", MAPS)
def test_all_numbers_are_those_of_smac(smac_class: Any, map_name: str, setting: str) -> None:
    flags = SETTINGS[setting]
    ours = SkirmishEnv(map_name, seed=11, **flags)
    theirs = seated(smac_class, ours, {**flags, "seed": 11})
    compare_declared(theirs, ours)
    generator = np.random.default_rng(11)
    # After a first battle that was cut short SMAC would launch the game again, and count the
    # enemy's health twice.
    if play(theirs, ours, generator):
        play(theirs, ours, generator)


@pytest.mark.parametrize("map_name", MAPS)
def test_stopping_is_judged_as_by_smac(smac_class: Any, map_name: str) -> None:
    ours = SkirmishEnv(map_name, seed=5, reward_only_positive=False)
    theirs = seated(smac_class, ours, {"reward_only_positive": False})
    theirs.reset()
    terminated = False
    while not terminated:
        given = [int(row[1]) for row in theirs.get_avail_actions()]
        theirs._controller.given = given
        reward, terminated, info = theirs.step(given)
        assert (reward, terminated) == theirs._controller.answer[:2]
        assert info.items() <= theirs._controller.answer[2].items()
    assert theirs.get_stats() == ours.get_stats()
    assert theirs.defeat_counted == ours.defeat_counted


@settings(max_examples=60, deadline=None)
@given(
    map_name=st.sampled_from(["3m", "MMM", "MMM2", "2s3z", "bane_vs_bane"]),
    data=st.data(),
)
def test_survivors_are_judged_as_by_smac(smac_class: Any, map_name: str, data: Any) -> None:
    ours = SkirmishEnv(map_name, seed=1)
    theirs = seated(smac_class, ours, {})
    theirs.reset()
    units = [*ours.agents.values(), *ours.enemies.values()]
    # Often nobody, or the medivac alone, is left of a side.
    few = st.sets(st.sampled_from([unit.tag for unit in units]), max_size=2)
    many = st.sets(st.sampled_from([unit.tag for unit in units]), min_size=1)
    medivacs = {unit.tag for unit in units if unit.name == "medivac"}
    left = data.draw(st.one_of(few, many))
    if data.draw(st.booleans()):
        left |= data.draw(st.sets(st.sampled_from(sorted(medivacs)))) if medivacs else set()
    theirs._obs = SimpleNamespace(
        observation=SimpleNamespace(
            raw_data=SimpleNamespace(units=[message(unit) for unit in units if unit.tag in left])
        )
    )
    integer = np.zeros((field.NUM_INTEGERS, len(units)), np.int64)
    integer[field.ALIVE] = [unit.tag in left for unit in units]
    laid_out = world.build(MAPS[map_name], Options(), world.Rule())
    meaning = {score.UNDECIDED: None, score.WIN: 1, score.LOSS: -1, score.DRAW: 0}
    assert meaning[score.verdict(integer, laid_out)] == theirs.update_units()
