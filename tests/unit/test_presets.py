from dataclasses import replace

import pytest

from dm2_dist import config as configuration
from dm2_dist import presets
from dm2_dist.config import ConfigError
from dm2_dist.envs import make


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_loads_under_its_own_name_and_reads_back(name):
    config = presets.by_name(name)
    assert config.preset == name
    assert configuration.from_json(configuration.to_json(config)) == config


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_names_a_playable_map(name):
    config = presets.by_name(name)
    assert make.describe(config.env, config.map).map_name == config.map


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_works_with_both_algorithms(name):
    imitating = replace(presets.by_name(name), algorithm="dm2", demonstrations="there")
    assert imitating.uses_demonstrations
    assert not replace(imitating, algorithm="ippo", demonstrations="").uses_demonstrations


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_fits_starcraft_and_changes_nothing_else(name):
    preset = presets.by_name(name)
    config = presets.in_environment(preset, "smac")
    assert (config.env, config.collection.episodes_per_ticket) == ("smac", 1)
    assert {d.partition(":")[0] for d in configuration.differences(preset, config)} == {
        "env",
        "collection.episodes_per_ticket",
    }
    assert presets.in_environment(preset, "skirmish") == preset


def test_an_unknown_environment_is_refused():
    with pytest.raises(ConfigError, match="'chess'; choose skirmish, smac or sleep"):
        presets.in_environment(presets.default(), "chess")


def test_paper_presets_hold_the_numbers_of_the_table():
    marines, stalkers = presets.by_name("paper-5v6"), presets.by_name("paper-3sv4z")
    assert (marines.map, stalkers.map) == ("5m_vs_6m", "3s_vs_4z")
    assert (marines.ppo.epochs, stalkers.ppo.epochs) == (10, 15)
    assert (marines.ppo.clip, stalkers.ppo.clip) == (0.05, 0.2)
    assert (marines.imitation.reward_coefficient, stalkers.imitation.reward_coefficient) == (
        0.3,
        0.05,
    )
    for config in (marines, stalkers):
        assert (config.ppo.learning_rate, config.ppo.discount, config.ppo.gae_lambda) == (
            5e-4,
            0.99,
            0.95,
        )


def test_an_unknown_preset_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean quickstart"):
        presets.by_name("quikstart")


def test_a_name_near_to_nothing_gets_the_list():
    with pytest.raises(ConfigError) as refusal:
        presets.by_name("0")
    assert "did you mean" not in str(refusal.value)
    assert all(name in str(refusal.value) for name in presets.PRESETS)


def test_the_impala_preset_runs_free():
    impala = presets.by_name("impala-3m")
    assert (impala.algorithm, impala.schedule, impala.map) == ("impala", "async", "3m")
