import dataclasses
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import config as configuration
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.sections import (
    AsynchronyConfig,
    CollectionConfig,
    EvaluationConfig,
    ImitationConfig,
    ImpalaConfig,
    PPOConfig,
)

COUNT = st.integers(1, 2**40)
RATE = st.floats(0.0, 1e6, allow_nan=False)


@st.composite
def run_configs(draw):
    drawn_per_step = draw(st.integers(1, 100))
    return RunConfig(
        map=draw(st.text(max_size=20)),
        algorithm="dm2",
        schedule=draw(st.sampled_from(["sync", "pipelined"])),
        seed=draw(st.integers(0, 2**63)),
        max_env_steps=draw(COUNT),
        demonstrations=draw(st.text(max_size=20)),
        device=draw(st.sampled_from(["cpu", "cuda"])),
        collection=CollectionConfig(
            episodes_per_iteration=draw(st.integers(drawn_per_step, 1000)),
            episodes_per_ticket=draw(COUNT),
        ),
        ppo=PPOConfig(learning_rate=draw(RATE), epochs=draw(COUNT), clip=draw(RATE)),
        imitation=ImitationConfig(
            episodes_per_step=drawn_per_step,
            demonstration_episodes=draw(st.integers(drawn_per_step, 1000)),
        ),
        evaluation=EvaluationConfig(episodes=draw(COUNT)),
    )


@given(run_configs())
def test_json_reads_back_exactly(config):
    assert configuration.from_json(configuration.to_json(config)) == config


def test_missing_keys_take_their_defaults():
    assert configuration.from_json('{"map": "8m", "ppo": {"clip": 0.1}}') == RunConfig(
        map="8m", ppo=PPOConfig(clip=0.1)
    )


def test_whole_numbers_are_read_as_floats_where_a_float_belongs():
    read = configuration.from_json('{"ppo": {"clip": 1}}')
    assert type(read.ppo.clip) is float


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not JSON"),
        ("[]", "table of keys"),
        ('{"sede": 1}', "sede"),
        ('{"ppo": {"klip": 0.1}}', "ppo.klip"),
        ('{"ppo": 3}', "ppo"),
        ('{"seed": "1"}', "seed"),
        ('{"seed": 1.5}', "seed"),
        ('{"seed": true}', "seed"),
        ('{"ppo": {"clip": "0.1"}}', "ppo.clip"),
        ('{"ppo": {"clip": true}}', "ppo.clip"),
        ('{"ppo": {"clip": null}}', "ppo.clip"),
        ('{"map": 3}', "map"),
        ('{"algorithm": "qmix"}', "algorithm"),
        ('{"schedule": "hogwild"}', "schedule"),
    ],
)
def test_what_cannot_be_read_is_named(text, named):
    with pytest.raises(ConfigError, match=named):
        configuration.from_json(text)


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        ({"max_env_steps": 0}, ["max_env_steps"]),
        ({"learner_threads": -1}, ["learner_threads"]),
        ({"seed": -1}, ["seed"]),
        ({"collection": {"episodes_per_ticket": 0}}, ["collection.episodes_per_ticket"]),
        ({"ppo": {"clip": -0.1}}, ["ppo.clip"]),
        ({"ppo": {"clip": float("nan")}}, ["ppo.clip"]),
        ({"device": "tpu"}, ["device"]),
        ({"env": "chess"}, ["env", "skirmish", "smac"]),
        ({"env": "smac"}, ["collection.episodes_per_ticket is 8", "choose 1"]),
        (
            {"env": "smac", "map": "my.toml", "collection": {"episodes_per_ticket": 1}},
            ["env is smac", "my.toml", "scenario"],
        ),
        (
            {
                "env": "smac",
                "collection": {"episodes_per_ticket": 1},
                "games": {"answer_seconds": 0.5},
            },
            ["games.answer_seconds", "games.start_seconds"],
        ),
        ({"games": {"launches_allowed": 0}}, ["games.launches_allowed"]),
        ({"demonstrations": "there"}, ["demonstrations", "algorithm is ippo"]),
        (
            {"demonstrations": "there", "algorithm": "impala"},
            ["demonstrations", "algorithm is impala"],
        ),
        ({"ppo": {"trace_c": 1.5}}, ["ppo.trace_c is 1.5", "ppo.trace_rho is 1.0"]),
        ({"impala": {"rho": 0.5}}, ["impala.c is 1.0", "impala.rho is 0.5"]),
        ({"impala": {"minibatches": 0}}, ["impala.minibatches"]),
        (
            {
                "algorithm": "dm2",
                "collection": {"episodes_per_iteration": 8},
                "imitation": {"episodes_per_step": 9},
            },
            ["imitation.episodes_per_step", "collection.episodes_per_iteration"],
        ),
        (
            {
                "algorithm": "dm2",
                "imitation": {"episodes_per_step": 9, "demonstration_episodes": 8},
            },
            ["imitation.episodes_per_step", "imitation.demonstration_episodes"],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_keys(document, keys):
    with pytest.raises(ConfigError) as refusal:
        configuration.from_json(json.dumps(document))
    assert all(key in str(refusal.value) for key in keys)


def test_unknown_choices_are_refused_without_json_too():
    with pytest.raises(ConfigError, match="choose ippo, dm2 or impala"):
        RunConfig(algorithm="coma")
    with pytest.raises(ConfigError, match="choose one of none, decoupled, vtrace"):
        RunConfig(ppo=PPOConfig(lag_correction="impact"))
    with pytest.raises(ConfigError, match="choose sync, pipelined or async"):
        RunConfig(schedule="hogwild")
    with pytest.raises(ConfigError, match="choose episodes or unrolls"):
        RunConfig(asynchrony=AsynchronyConfig(unit="steps"))


def test_seed_zero_is_allowed():
    assert RunConfig(seed=0).seed == 0


def test_only_dm2_uses_demonstrations():
    assert RunConfig(algorithm="dm2").uses_demonstrations
    assert not RunConfig(algorithm="ippo").uses_demonstrations
    assert not RunConfig(algorithm="impala").uses_demonstrations


def test_chunks_are_as_long_as_the_algorithm_says():
    assert RunConfig().chunk_length == PPOConfig().chunk_length
    assert RunConfig(algorithm="impala").chunk_length == ImpalaConfig().chunk_length


def test_differences_name_each_changed_key_with_both_values():
    before = RunConfig(seed=1)
    after = replace(before, seed=2, ppo=PPOConfig(clip=0.25))
    assert configuration.differences(before, after) == [
        "seed: 1 before, 2 now",
        "ppo.clip: 0.05 before, 0.25 now",
    ]
    assert configuration.differences(before, before) == []


def test_flatten_lists_every_leaf_once():
    leaves = configuration.flatten(RunConfig())
    sections = [f for f in dataclasses.fields(RunConfig) if dataclasses.is_dataclass(f.type)]
    inner = sum(len(dataclasses.fields(section.type)) for section in sections)
    assert len(leaves) == len(dataclasses.fields(RunConfig)) - len(sections) + inner
    assert leaves["collection.episodes_per_iteration"] == 256


@pytest.mark.parametrize(
    ("map_name", "expected"),
    [("3m", False), ("my.toml", True), ("a/b.json", True), ("3m.yaml", False), ("toml", False)],
)
def test_a_name_that_ends_like_a_file_is_a_scenario(map_name, expected):
    assert RunConfig(map=map_name).plays_scenario is expected
