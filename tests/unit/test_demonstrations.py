import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from dm2_dist import demonstrations, trajectory
from dm2_dist.demonstrations import Card, DemonstrationsError

LENGTHS = (2, 5, 1, 3)
SIZES = (2, 4, 3)


def make_card(slices):
    first = slices[0]
    return Card(
        env="skirmish",
        map="3m",
        num_agents=len(slices),
        observation_size=first.observation.shape[1],
        num_actions=first.available_actions.shape[1],
        episodes=first.num_episodes,
        greedy=False,
        run="runs/expert",
        policies=("7:0123", "7:4567"),
        seeds=tuple(str(2**64 - 1 - i) for i in range(first.num_episodes)),
        returns=tuple(float(value) for value in first.returns()),
        lengths=tuple(int(value) for value in first.length),
        won=tuple(bool(value) for value in first.won),
    )


@pytest.fixture
def slices(team_slices):
    return team_slices(LENGTHS)


@pytest.fixture
def folder(tmp_path, slices):
    """A whole set of four episodes of two agents."""
    demonstrations.write(tmp_path / "set", make_card(slices), slices)
    return tmp_path / "set"


def edit_card(folder, **changes):
    path = folder / "demonstrations.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_set_reads_back(folder, slices):
    assert demonstrations.check(folder, "3m", SIZES, episodes=4) == make_card(slices)
    for agent, part in enumerate(slices):
        read = demonstrations.read_agent(folder, agent, episodes=4)
        for name in trajectory.SLICE_FIELDS:
            assert getattr(read, name).dtype == getattr(part, name).dtype
            np.testing.assert_array_equal(getattr(read, name), getattr(part, name))


@pytest.mark.parametrize("episodes", [1, 2, 3, 4])
def test_the_first_episodes_are_whole_ones(folder, slices, team_slices, episodes):
    rest = demonstrations.first_episodes(slices[1], episodes)
    read = demonstrations.read_agent(folder, 1, episodes)
    steps = sum(LENGTHS[:episodes])
    assert (read.num_episodes, read.env_steps) == (episodes, steps)
    assert read.observation.shape == (steps + episodes, 4)
    assert read.available_actions.shape == (steps + episodes, 3)
    assert read.alive.shape == (steps + episodes,)
    np.testing.assert_allclose(read.returns(), slices[1].returns()[:episodes], rtol=1e-6)
    for name in trajectory.SLICE_FIELDS:
        np.testing.assert_array_equal(getattr(read, name), getattr(rest, name))


def test_the_win_rate_is_the_fraction_won(slices):
    card = replace(make_card(slices), won=(True, False, False, False))
    assert card.win_rate == 0.25


def test_a_set_is_never_overwritten(folder, slices):
    with pytest.raises(DemonstrationsError, match="already holds demonstrations"):
        demonstrations.write(folder, make_card(slices), slices)


def test_a_writer_killed_before_the_card_leaves_no_set(folder, slices):
    (folder / "demonstrations.json").unlink()
    with pytest.raises(DemonstrationsError, match="holds no demonstrations"):
        demonstrations.read_card(folder)
    demonstrations.write(folder, make_card(slices), slices)
    assert demonstrations.read_card(folder) == make_card(slices)


def test_a_file_in_the_way_is_named(tmp_path, slices):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DemonstrationsError, match=r"cannot be written: .*file is a file"):
            demonstrations.write(folder, make_card(slices), slices)


def test_a_file_instead_of_a_set_is_named_once(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DemonstrationsError, match="is a file; name the folder") as refusal:
        demonstrations.check(path, "3m", SIZES, episodes=1)
    assert str(refusal.value).count(str(path)) == 1


def test_a_missing_array_file_is_named_once(folder):
    path = folder / "agent_1.safetensors"
    path.unlink()
    with pytest.raises(DemonstrationsError, match="bring the file back") as refusal:
        demonstrations.read_agent(folder, 1, episodes=4)
    assert str(refusal.value).count(str(path)) == 1


def test_another_map_is_refused_with_both_names(folder):
    with pytest.raises(DemonstrationsError, match="recorded on 3m but the run plays 8m"):
        demonstrations.check(folder, "8m", SIZES, episodes=4)


@pytest.mark.parametrize("sizes", [(3, 4, 3), (2, 5, 3), (2, 4, 4)])
def test_other_sizes_are_refused_with_both(folder, sizes):
    with pytest.raises(DemonstrationsError) as refusal:
        demonstrations.check(folder, "3m", sizes, episodes=4)
    assert str(SIZES) in str(refusal.value)
    assert str(sizes) in str(refusal.value)


def test_too_few_episodes_are_refused_by_card_and_by_file(folder):
    with pytest.raises(DemonstrationsError, match=r"holds 4 episodes but .* is 5"):
        demonstrations.check(folder, "3m", SIZES, episodes=5)
    edit_card(folder, episodes=5)
    demonstrations.check(folder, "3m", SIZES, episodes=5)
    with pytest.raises(DemonstrationsError, match="holds 4 episodes and 5 are needed"):
        demonstrations.read_agent(folder, 0, episodes=5)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"card"', "null", '{"map": "3m"}'])
def test_a_damaged_card_is_named(folder, text):
    (folder / "demonstrations.json").write_text(text)
    with pytest.raises(DemonstrationsError, match=r"demonstrations\.json is damaged"):
        demonstrations.read_card(folder)


def test_a_card_with_an_unknown_key_is_refused(folder):
    edit_card(folder, colour="red")
    with pytest.raises(DemonstrationsError, match="colour"):
        demonstrations.read_card(folder)


def test_a_missing_set_says_how_to_record_one(tmp_path):
    with pytest.raises(DemonstrationsError, match="dm2 record"):
        demonstrations.check(tmp_path / "nowhere", "3m", SIZES, episodes=1)


@pytest.mark.parametrize("kept", [0, 8, 100, -1])
def test_a_cut_file_is_named(folder, kept):
    path = folder / "agent_1.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DemonstrationsError, match=r"agent_1\.safetensors is damaged"):
        demonstrations.read_agent(folder, 1, episodes=4)


def test_a_file_without_one_of_the_arrays_is_named(folder, slices):
    arrays = {
        name: getattr(slices[0], name) for name in trajectory.SLICE_FIELDS if name != "action"
    }
    safetensors.numpy.save_file(arrays, folder / "agent_0.safetensors")
    with pytest.raises(DemonstrationsError, match="action"):
        demonstrations.read_agent(folder, 0, episodes=4)


def test_a_missing_agent_is_named(folder):
    with pytest.raises(DemonstrationsError, match=r"agent_2\.safetensors"):
        demonstrations.read_agent(folder, 2, episodes=1)
