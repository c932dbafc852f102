"""Every member of SMAC's class that frameworks use: names, types, sizes, and the odd cases."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dm2_dist.envs.skirmish import MAPS, SkirmishEnv, feature
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.replay import Replay

# map: agents, enemies, limit, move + enemies + allies + own features, observation, observation with
# last actions, state, state without last actions, actions, largest reward.
TABLE = {
    "3m": (3, 3, 60, (4, 3, 5, 2, 5, 1), 30, 48, 48, 21, 9, 365),
    "8m": (8, 8, 120, (4, 8, 5, 7, 5, 1), 80, 178, 168, 56, 14, 640),
    "25m": (25, 25, 150, (4, 25, 5, 24, 5, 1), 250, 994, 950, 175, 31, 1575),
    "5m_vs_6m": (5, 6, 70, (4, 6, 5, 4, 5, 1), 55, 103, 98, 38, 12, 530),
    "8m_vs_9m": (8, 9, 120, (4, 9, 5, 7, 5, 1), 85, 190, 179, 59, 15, 695),
    "10m_vs_11m": (10, 11, 150, (4, 11, 5, 9, 5, 1), 105, 258, 243, 73, 17, 805),
    "27m_vs_30m": (27, 30, 180, (4, 30, 5, 26, 5, 1), 285, 1221, 1170, 198, 36, 1850),
    "MMM": (10, 10, 150, (4, 10, 8, 9, 8, 4), 160, 304, 290, 130, 16, 1015),
    "MMM2": (10, 12, 180, (4, 12, 8, 9, 8, 4), 176, 338, 322, 142, 18, 1205),
    "2s3z": (5, 5, 120, (4, 5, 8, 4, 8, 4), 80, 124, 120, 65, 11, 1020),
    "3s5z": (8, 8, 150, (4, 8, 8, 7, 8, 4), 128, 226, 216, 104, 14, 1510),
    "3s5z_vs_3s6z": (8, 9, 170, (4, 9, 8, 7, 8, 4), 136, 241, 230, 110, 15, 1670),
    "3s_vs_3z": (3, 3, 150, (4, 3, 6, 2, 6, 2), 36, 54, 54, 27, 9, 680),
    "3s_vs_4z": (3, 4, 200, (4, 4, 6, 2, 6, 2), 42, 62, 61, 31, 10, 840),
    "3s_vs_5z": (3, 5, 250, (4, 5, 6, 2, 6, 2), 48, 70, 68, 35, 11, 1000),
    "1c3s5z": (9, 9, 180, (4, 9, 9, 8, 9, 5), 162, 282, 270, 135, 15, 1870),
    "2m_vs_1z": (2, 1, 150, (4, 1, 6, 1, 5, 1), 16, 23, 26, 12, 7, 360),
    "corridor": (6, 24, 400, (4, 24, 5, 5, 6, 2), 156, 306, 282, 102, 30, 1280),
    "6h_vs_8z": (6, 8, 150, (4, 8, 6, 5, 5, 1), 78, 148, 140, 56, 14, 1480),
    "2s_vs_1sc": (2, 1, 300, (4, 1, 5, 1, 6, 2), 17, 24, 27, 13, 7, 510),
    "so_many_baneling": (7, 32, 100, (4, 32, 5, 6, 6, 2), 202, 430, 397, 131, 38, 1480),
    "bane_vs_bane": (24, 24, 200, (4, 24, 7, 23, 7, 3), 336, 1026, 984, 264, 30, 1260),
    "2c_vs_64zg": (2, 64, 400, (4, 64, 5, 1, 6, 2), 332, 402, 342, 202, 70, 3080),
}

SWITCHES = FeatureFlags.__dataclass_fields__


def draw_flags() -> list[dict[str, Any]]:
    """Nine combinations of the feature switches."""
    generator = np.random.default_rng(9)
    return [{name: bool(generator.integers(2)) for name in SWITCHES} for _ in range(9)]


def test_the_table_names_every_map() -> None:
    assert list(TABLE) == list(MAPS)


@pytest.mark.parametrize("map_name", TABLE)
def test_declared_sizes_are_those_of_the_real_class(map_name: str) -> None:
    n, m, limit, terms, observation, with_last, state, without_last, actions, reward = TABLE[
        map_name
    ]
    env = SkirmishEnv(map_name)
    info = env.get_env_info()
    assert (env.n_agents, env.n_enemies, env.episode_limit) == (n, m, limit)
    assert info["obs_shape"] == env.get_obs_size() == observation
    assert info["state_shape"] == env.get_state_size() == state
    assert info["n_actions"] == env.get_total_actions() == env.n_actions == actions
    assert env.max_reward == reward
    blocks = (*env.get_obs_enemy_feats_size(), *env.get_obs_ally_feats_size())
    assert (env.get_obs_move_feats_size(), *blocks, env.get_obs_own_feats_size()) == terms
    row = MAPS[map_name]
    assert feature.sizes(row, FeatureFlags(obs_last_action=True)).observation == with_last
    assert feature.sizes(row, FeatureFlags(state_last_action=False)).state == without_last
    probes = FeatureFlags(obs_pathing_grid=True, obs_terrain_height=True)
    assert feature.sizes(row, probes).observation == observation + 17
    assert len(info["agent_features"]) == env.get_ally_num_attributes()
    assert len(info["enemy_features"]) == env.get_enemy_num_attributes()
    assert n * len(info["agent_features"]) + m * len(info["enemy_features"]) == without_last


@pytest.mark.parametrize("map_name", TABLE)
def test_real_sizes_are_the_declared_ones(map_name: str) -> None:
    for flags in [{}, *draw_flags()]:
        env = SkirmishEnv(map_name, seed=1, **flags)
        observations, state = env.reset()
        assert {seen.shape for seen in observations} == {(env.get_obs_size(),)}
        assert state.shape == (env.get_state_size(),)
        assert {seen.dtype for seen in [*observations, state]} == {np.dtype(np.float32)}
        assert np.shape(env.get_avail_actions()) == (env.n_agents, env.n_actions)
        parts: dict[str, Any] = env.get_state_dict()
        assert parts["allies"].shape == (env.n_agents, env.get_ally_num_attributes())
        assert parts["enemies"].shape == (env.n_enemies, env.get_enemy_num_attributes())


def test_feature_names_of_a_mixed_map() -> None:
    info = SkirmishEnv("2s3z").get_env_info()
    bits = ["type_0", "type_1"]
    assert info["agent_features"] == [
        *("health", "energy/cooldown", "rel_x", "rel_y", "shield"),
        *bits,
    ]
    assert info["enemy_features"] == ["health", "rel_x", "rel_y", "shield", *bits]


def test_members_before_the_first_reset() -> None:
    env = SkirmishEnv("MMM", seed=3)
    assert env.agents == {}
    assert env.enemies == {}
    with pytest.warns(UserWarning, match="call reset first"):
        assert env.get_unit_types() is None
    assert env.death_tracker_ally.tolist() == [0] * 10
    assert env.last_action.tolist() == np.zeros((10, 16)).tolist()
    assert (env._episode_steps, env._episode_count, env.reward) == (0, 0, 0)
    for ask in (env.get_obs, env.get_state, env.get_avail_actions, env.save_replay):
        with pytest.raises(RuntimeError, match="no battle yet: call reset first"):
            ask()
    with pytest.raises(RuntimeError, match="no battle yet"):
        env.render("rgb_array")
    env.close()


def test_types_of_what_members_return() -> None:
    env = SkirmishEnv("MMM2", seed=3, state_timestep_number=True)
    env.reset()
    reward, terminated, info = env.step([1] * 10)
    assert (type(reward), type(terminated)) == (float, bool)
    assert {type(value) for value in info.values()} <= {bool, int}
    assert type(env.get_avail_agent_actions(0)[0]) is int
    assert env.get_unit_types() == [2000] * 2 + [2001] * 7 + [2002] + [48] * 8 + [51] * 3 + [54]
    assert {type(value) for value in env.get_stats().values()} <= {int, float}
    assert env.get_visibility_matrix().shape == (10, 22)
    assert env.get_visibility_matrix().dtype == np.bool_
    assert type(env.get_state_dict()["timestep"]) is float
    medivac = env.get_unit_by_id(9)
    assert (medivac.name, medivac.energy_max) == ("medivac", 200)
    # 8 loops of 0.5625 energy a second, rounded as the game reports it.
    assert medivac.energy == np.float32(50 + 8 * 0.5625 / 16)
    assert env.get_state()[9 * 7 + 1] == np.float32(medivac.energy / 200)
    assert env.enemies[0].energy_max == 0


def test_a_new_seed_and_a_restart_begin_the_sequence_of_battles_again() -> None:
    env = SkirmishEnv("3m", seed=5)
    first, second = env.reset()[1], env.reset()[1]
    assert not np.array_equal(first, second)
    env.full_restart()
    with pytest.raises(RuntimeError, match="call reset"):
        env.step([1, 1, 1])
    assert np.array_equal(env.reset()[1], first)
    assert (env.force_restarts, env.get_stats()["restarts"]) == (1, 1)
    assert env.seed() == 5
    assert env.seed(6) == 6
    assert np.array_equal(env.reset()[1], SkirmishEnv("3m", seed=6).reset()[1])
    unseeded = SkirmishEnv("3m")
    assert unseeded.seed() is None
    before = unseeded.reset()[1]
    unseeded.full_restart()
    assert not np.array_equal(unseeded.reset()[1], before)


def test_replay_is_the_battle_that_was_played(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    env = SkirmishEnv("2s3z", seed=4, replay_dir=str(folder), heuristic_ai=True)
    env.reset()
    for _ in range(7):
        env.step([1] * 5)
    path = env.save_replay()
    assert path.parent == folder
    assert path.name.startswith("2s3z_")
    recorded = Replay.load(path)
    assert recorded.document.outcome.steps == 7
    assert json.loads(path.read_text())["map"] == "2s3z"
    assert [int(row.argmax()) for row in env.last_action] == list(recorded.document.actions[-1])
    recorded.simulate()
    named = SkirmishEnv("3m", seed=4, replay_dir=str(folder), replay_prefix="mine")
    named.reset()
    assert named.save_replay().name.startswith("mine_")


def test_pictures_of_a_battle(monkeypatch: pytest.MonkeyPatch) -> None:
    env = SkirmishEnv("3m", seed=4, window_size_x=400, window_size_y=800)
    env.reset()
    first = env.render("rgb_array")
    assert first is not None
    assert first.dtype == np.uint8
    assert first.shape[1:] == (300, 3)
    for _ in range(4):
        env.step([4, 4, 4])
    later = env.render("rgb_array")
    assert later is not None
    assert not np.array_equal(first, later)
    with pytest.raises(ValueError, match="'human' or 'rgb_array', not 'ansi'"):
        env.render("ansi")  # type: ignore[arg-type]
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match=r"cannot open a window .* ask for 'rgb_array'"):
        env.render()
    env.close()
    env.close()


def test_pictures_need_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    env = SkirmishEnv("3m", seed=4)
    env.reset()
    monkeypatch.delattr("dm2_dist.envs.skirmish.pictures.picture", raising=False)
    monkeypatch.delitem(sys.modules, "dm2_dist.envs.skirmish.pictures.picture", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeError, match=r"render needs PIL.*extra \[pictures\]"):
        env.render("rgb_array")


def test_debug_logs_every_step(caplog: pytest.LogCaptureFixture) -> None:
    env = SkirmishEnv("3m", seed=4, debug=True)
    env.reset()
    with caplog.at_level(logging.DEBUG, "dm2_dist.envs.skirmish"):
        env.step([1, 2, 3])
    assert [record.getMessage() for record in caplog.records] == [
        "step=1 actions=[1 2 3] reward=0.0"
    ]


def test_step_mul_may_be_left_to_the_map() -> None:
    ours, theirs = SkirmishEnv("3m", seed=1, step_mul=None), SkirmishEnv("3m", seed=1)
    ours.reset()
    theirs.reset()
    ours.step([4, 4, 4])
    theirs.step([4, 4, 4])
    assert np.array_equal(ours.get_state(), theirs.get_state())


def test_largest_reward_follows_the_reward_switches() -> None:
    env = SkirmishEnv("3m", reward_death_value=4, reward_win=150)
    assert env.max_reward == 3 * 45 + 3 * 4 + 150


def test_profile_is_that_of_the_units() -> None:
    env = SkirmishEnv("6h_vs_8z", seed=1, profile="lotv")
    env.reset()
    assert env.agents[0].health == env.agents[0].health_max == 90
    with pytest.raises(ValueError, match="unknown profile 'swarm'"):
        SkirmishEnv("3m", profile="swarm")


def test_unknown_names_are_explained() -> None:
    with pytest.raises(ValueError, match=r"compat has no 'order'.*enemy_order: the numbering"):
        SkirmishEnv("3m", compat=("order", "timestep"))
    with pytest.raises(ValueError, match=r"difficulty must be one of 1, 2, .*, A, not '11'"):
        SkirmishEnv("3m", difficulty="11")


def test_timestep_as_smac_has_it_is_one_longer_and_double() -> None:
    flags: dict[str, Any] = {"obs_timestep_number": True, "obs_instead_of_state": True}
    fixed = SkirmishEnv("2s3z", seed=1, **flags)
    smac = SkirmishEnv("2s3z", seed=1, compat=("timestep",), **flags)
    for env in (fixed, smac):
        env.reset()
        env.step([1] * 5)
    ours, theirs = fixed.get_obs()[2], smac.get_obs()[2]
    assert smac.get_obs_size() == fixed.get_obs_size() == ours.size == theirs.size - 1 == 81
    assert theirs.dtype == np.float64
    assert np.array_equal(theirs[:-2], ours[:-1])
    assert (theirs[-2], theirs[-1], ours[-1]) == (0, 1 / 120, np.float32(1 / 120))
    assert smac.get_state().dtype == np.float32
    assert np.array_equal(smac.get_state(), np.concatenate(smac.get_obs()).astype(np.float32))


def test_shuffled_enemies_are_the_same_battle_under_other_numbers() -> None:
    plain = SkirmishEnv("MMM2", seed=6, heuristic_ai=True, heuristic_rest=True)
    shuffled = SkirmishEnv(
        "MMM2", seed=6, heuristic_ai=True, heuristic_rest=True, compat=["enemy_order"]
    )
    orders = []
    for _ in range(2):
        plain.reset()
        shuffled.reset()
        order = [shuffled.enemies[place].tag - 11 for place in range(12)]
        orders.append(order)
        assert sorted(order) == list(range(12))
        terminated = False
        while not terminated:
            reward, terminated, info = plain.step([1] * 10)
            assert shuffled.step([1] * 10) == (reward, terminated, info)
            blocks = [env.get_obs()[0][4 : 4 + 96].reshape(12, 8) for env in (plain, shuffled)]
            assert np.array_equal(blocks[0][order], blocks[1])
            assert shuffled.death_tracker_enemy.tolist() == [
                plain.death_tracker_enemy[place] for place in order
            ]
    assert orders[0] != orders[1]


MIXED = """
name = "mixed"
episode_limit = 40
terrain = "lane"
[[allies]]
unit = "marine"
count = 4
point = [9.0, 16.0]
[[allies]]
unit = "medivac"
count = 1
point = [9.0, 16.0]
[[allies]]
unit = "stalker"
count = 2
point = [9.0, 16.0]
[[enemies]]
unit = "zergling"
count = 3
point = [20.0, 16.0]
[order]
kind = "attack_move"
points = [[9.0, 16.0]]
"""


@pytest.mark.parametrize("compat", [(), ("enemy_order",)])
def test_battles_of_ones_own_have_the_same_members(tmp_path: Path, compat: tuple[str, ...]) -> None:
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED)
    env = SkirmishEnv(str(path), seed=2, heuristic_ai=True, heuristic_rest=True, compat=compat)
    assert (env.map_name, env.n_agents, env.n_enemies, env.n_actions) == ("mixed", 7, 3, 13)
    env.reset()
    terminated = False
    while not terminated:
        _, terminated, _ = env.step([1] * 7)
        parts: dict[str, Any] = env.get_state_dict()
        flat = np.concatenate([np.ravel(part) for part in parts.values()])
        assert np.array_equal(flat.astype(np.float32), env.get_state())
        assert env.get_obs()[0].shape == (env.get_obs_size(),)
    assert env.get_unit_types() == [2000] * 4 + [2001] + [2002] * 2 + [105] * 3
