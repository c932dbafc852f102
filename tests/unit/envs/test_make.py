"""The sizes of all maps, and the two functions that turn names into environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dm2_dist.envs import make
from dm2_dist.envs.interface import BattleBatch, EnvironmentSpec, GameBatch
from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, UnknownMapError, battle_map, feature
from dm2_dist.envs.skirmish.document import ScenarioError
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.options import RewardFlags

SCENARIOS = Path(__file__).resolve().parents[3] / "examples" / "scenarios"

# map, agents, enemies, limit, type bits, O, O with last actions, S, S without last actions, A,
# largest reward: measured on SMAC's own class.
SMAC_SIZES = [
    ("3m", 3, 3, 60, 0, 30, 48, 48, 21, 9, 365),
    ("8m", 8, 8, 120, 0, 80, 178, 168, 56, 14, 640),
    ("25m", 25, 25, 150, 0, 250, 994, 950, 175, 31, 1575),
    ("5m_vs_6m", 5, 6, 70, 0, 55, 103, 98, 38, 12, 530),
    ("8m_vs_9m", 8, 9, 120, 0, 85, 190, 179, 59, 15, 695),
    ("10m_vs_11m", 10, 11, 150, 0, 105, 258, 243, 73, 17, 805),
    ("27m_vs_30m", 27, 30, 180, 0, 285, 1221, 1170, 198, 36, 1850),
    ("MMM", 10, 10, 150, 3, 160, 304, 290, 130, 16, 1015),
    ("MMM2", 10, 12, 180, 3, 176, 338, 322, 142, 18, 1205),
    ("2s3z", 5, 5, 120, 2, 80, 124, 120, 65, 11, 1020),
    ("3s5z", 8, 8, 150, 2, 128, 226, 216, 104, 14, 1510),
    ("3s5z_vs_3s6z", 8, 9, 170, 2, 136, 241, 230, 110, 15, 1670),
    ("3s_vs_3z", 3, 3, 150, 0, 36, 54, 54, 27, 9, 680),
    ("3s_vs_4z", 3, 4, 200, 0, 42, 62, 61, 31, 10, 840),
    ("3s_vs_5z", 3, 5, 250, 0, 48, 70, 68, 35, 11, 1000),
    ("1c3s5z", 9, 9, 180, 3, 162, 282, 270, 135, 15, 1870),
    ("2m_vs_1z", 2, 1, 150, 0, 16, 23, 26, 12, 7, 360),
    ("corridor", 6, 24, 400, 0, 156, 306, 282, 102, 30, 1280),
    ("6h_vs_8z", 6, 8, 150, 0, 78, 148, 140, 56, 14, 1480),
    ("2s_vs_1sc", 2, 1, 300, 0, 17, 24, 27, 13, 7, 510),
    ("so_many_baneling", 7, 32, 100, 0, 202, 430, 397, 131, 38, 1480),
    ("bane_vs_bane", 24, 24, 200, 2, 336, 1026, 984, 264, 30, 1260),
    ("2c_vs_64zg", 2, 64, 400, 0, 332, 402, 342, 202, 70, 3080),
]


@pytest.mark.parametrize("row", SMAC_SIZES, ids=lambda row: row[0])
def test_sizes_are_those_of_smac(row: tuple[str, *tuple[int, ...]]) -> None:
    name, agents, enemies, limit, bits, obs, obs_last, state, state_bare, actions, reward = row
    this = battle_map.find(name)
    plain = feature.sizes(this, FeatureFlags())
    last = feature.sizes(this, FeatureFlags(obs_last_action=True, state_last_action=False))
    ground = feature.sizes(this, FeatureFlags(obs_pathing_grid=True, obs_terrain_height=True))
    assert (this.num_agents, this.num_enemies, this.episode_limit) == (agents, enemies, limit)
    assert (this.num_type_bits, this.num_actions, RewardFlags().max_reward(this)) == (
        bits,
        actions,
        reward,
    )
    assert (plain.observation, plain.state) == (obs, state)
    assert (last.observation, last.state) == (obs_last, state_bare)
    assert ground.observation == obs + 17


def test_table_has_the_23_maps() -> None:
    assert list(MAPS) == [row[0] for row in SMAC_SIZES]


@pytest.mark.parametrize("name", battle_map.MAPS)
def test_describe_agrees_with_the_batch(name: str) -> None:
    batch = make.make_batch("skirmish", name, 2)
    assert isinstance(batch, BattleBatch)
    assert isinstance(batch, SkirmishBatch)
    assert make.describe("skirmish", name) == EnvironmentSpec(
        map_name=batch.map_name,
        num_agents=batch.num_agents,
        num_enemies=batch.num_enemies,
        num_actions=batch.num_actions,
        observation_size=batch.observation_size,
        state_size=batch.state_size,
        episode_limit=batch.episode_limit,
    )


def test_describe_needs_no_compiler_and_no_arrays() -> None:
    program = (
        "import sys\n"
        "from dm2_dist.envs import make\n"
        "make.describe('skirmish', '5m_vs_6m')\n"
        "make.describe('smac', '5m_vs_6m')\n"
        "print(sorted({'numba', 'numpy', 'smac', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", battle_map.MAPS)
def test_both_environments_have_the_same_sizes_of_a_map(name: str) -> None:
    assert make.describe("smac", name) == make.describe("skirmish", name)


def test_starcraft_plays_no_scenario_and_one_battle_at_a_time() -> None:
    with pytest.raises(ValueError, match=r"my\.toml is a scenario"):
        make.describe("smac", "my.toml")
    with pytest.raises(UnknownMapError, match="did you mean 5m_vs_6m"):
        make.describe("smac", "5m_v_6m")
    with pytest.raises(ValueError, match="one battle at a time, not 2"):
        make.make_batch("smac", "3m", 2)


def test_a_game_that_nobody_started_needs_no_smac_and_leaves_no_folder() -> None:
    batch = make.make_batch("smac", "3m", 1)
    assert isinstance(batch, GameBatch)
    assert batch.observation.shape == (1, 3, 30)
    folder = batch._site.shared  # type: ignore[attr-defined]
    assert folder.is_dir()
    batch.close()
    assert not folder.exists()
    assert not {"smac", "pysc2", "pysc2_evolved"} & set(sys.modules)


def test_unknown_map_names_the_nearest_and_all_maps() -> None:
    with pytest.raises(
        UnknownMapError, match=r"unknown map '5m_v_6m'; did you mean 5m_vs_6m"
    ) as caught:
        make.describe("skirmish", "5m_v_6m")
    assert all(name in str(caught.value) for name in MAPS)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("ask", [make.describe, lambda env, name: make.make_batch(env, name, 1)])
def test_unknown_environment_names_the_known_ones(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(
        ValueError, match="unknown environment 'chess'; known environments: skirmish"
    ):
        ask("chess", "3m")


@pytest.mark.parametrize("path", sorted(SCENARIOS.iterdir()), ids=lambda path: path.name)
def test_a_scenario_is_described_as_it_is_played(path: Path) -> None:
    batch = make.make_batch("skirmish", str(path), 2)
    assert isinstance(batch, SkirmishBatch)
    spec = make.describe("skirmish", str(path))
    assert spec.map_name == path.stem
    sizes = (spec.num_agents, spec.num_enemies, spec.num_actions, spec.episode_limit)
    assert sizes == (batch.num_agents, batch.num_enemies, batch.num_actions, batch.episode_limit)
    batch.reset()
    assert batch.observation.shape == (2, spec.num_agents, spec.observation_size)
    assert batch.state.shape == (2, spec.state_size)


@pytest.mark.parametrize("ask", [make.describe, lambda env, name: make.make_batch(env, name, 1)])
def test_a_scenario_that_is_not_there_is_named(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(ScenarioError, match=r"gone\.toml: there is no such file"):
        ask("skirmish", "gone.toml")
