"""Replays: what is saved plays again, bit for bit, or says why not."""

import copy
import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dm2_dist
from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, embedded, replay, scenario
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.options import Options, RewardFlags
from dm2_dist.envs.skirmish.pictures import scene
from dm2_dist.envs.skirmish.replay import Recorder, Replay, ReplayError

SCENARIO = """
name = "ambush"
episode_limit = 30
terrain = "keep"
order = { kind = "attack_move", points = [[10.0, 10.0]] }
allies = [{ unit = "stalker", count = 2, point = [10.0, 10.0] }]
enemies = [
  { unit = "zergling", count = 4, point = [16.0, 16.0] },
  { unit = "baneling", count = 1, point = [14.0, 20.5] },
]
"""


def drawing(generator, available):
    return np.where(available > 0, generator.random(available.shape), -1.0).argmax(axis=2)


def play_and_record(batch, env, seed, steps=None):
    """Random play of a fresh batch: the replay of one battle, and its traced loops."""
    generator = np.random.default_rng(seed)
    recorder = Recorder.start(batch, env)
    loops = [scene.loops_of(batch, env)]
    while not batch.finished[env] and steps != len(loops) - 1:
        actions = drawing(generator, batch.available_actions)
        theirs = None
        if batch.opponents is not None:
            theirs = drawing(generator, batch.opponents.available_actions)
        batch.step(actions, theirs)
        recorder.add(actions, theirs)
        loops.append(scene.loops_of(batch, env))
    return recorder.finish(), np.concatenate(loops)


@pytest.fixture(scope="module")
def recorded():
    batch = SkirmishBatch("3s_vs_3z", 1, seed=4, trace=True)
    batch.reset()
    return play_and_record(batch, 0, seed=1)[0]


@given(
    map_name=st.sampled_from(["3m", "2s3z", "MMM", "bane_vs_bane", "2s_vs_1sc"]),
    seed=st.integers(0, 2**64 - 1),
    env=st.integers(0, 2),
    opponents=st.sampled_from(["computer", "policy"]),
    options=st.builds(
        Options,
        step_mul=st.sampled_from([4, 8]),
        move_amount=st.sampled_from([1.5, 2.0]),
        profile=st.sampled_from(["liberty", "lotv", "smaclite"]),
        rewards=st.builds(RewardFlags, reward_only_positive=st.booleans()),
    ),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_saved_battle_plays_again_bit_for_bit(
    tmp_path_factory, map_name, seed, env, opponents, options
):
    batch = SkirmishBatch(map_name, 3, options=options, opponents=opponents, trace=True)
    batch.reset(np.array([seed, seed // 2, seed // 3], np.uint64))
    made, loops = play_and_record(batch, env, seed % 1000, steps=40)
    path = made.save(tmp_path_factory.mktemp("replays") / "battle.replay.json")
    loaded = Replay.load(path)
    assert loaded == made
    course = loaded.simulate()
    np.testing.assert_array_equal(course.loops, loops)
    assert course.returns[-1] == made.document.outcome.episode_return
    assert course.stage.units == scene.make_stage(batch.row, batch.options).units
    assert course.ended == scene.outcome(batch, env)


def test_playing_gives_a_scene_for_each_loop_or_step(recorded):
    steps = recorded.document.outcome.steps
    by_loop, by_step = list(recorded.play()), list(recorded.play("step"))
    assert [seen.loop for seen in by_loop] == list(range(8 * steps + 1))
    assert [seen.step for seen in by_step] == list(range(steps + 1))
    assert by_step[-1].outcome == recorded.document.outcome.ended != ""
    assert by_step[-1].episode_return == recorded.document.outcome.episode_return
    assert by_loop[-2].outcome == ""
    np.testing.assert_array_equal(by_loop[16].x, by_step[2].x)


def test_a_battle_from_a_file_needs_the_file_no_more(tmp_path):
    path = tmp_path / "ambush.toml"
    path.write_text(SCENARIO)
    batch = SkirmishBatch(str(path), 2, seed=9, trace=True)
    batch.reset()
    made, loops = play_and_record(batch, 1, seed=5)
    path.unlink()
    loaded = Replay.load(made.save(tmp_path / "ambush.replay.json"))
    np.testing.assert_array_equal(loaded.simulate().loops, loops)


def test_a_described_battle_is_the_same_battle(tmp_path):
    path = tmp_path / "ambush.toml"
    path.write_text(SCENARIO)
    row = scenario.load(path)
    with embedded.as_file(embedded.describe(row)) as written:
        again = scenario.load(written)
    assert dataclasses.replace(again, terrain=row.terrain) == row
    for x, y in np.ndindex(field.MAP_SIZE, field.MAP_SIZE):
        assert again.terrain.pathable(x, y) == row.terrain.pathable(x, y)


def test_record_plays_a_policy_to_the_end(stop_play, random_play):
    batch = SkirmishBatch("3m", 2, seed=3)
    batch.reset()
    made = replay.record(batch, random_play(2), 1)
    assert made.document.outcome.steps == batch.episode_steps[1]
    assert made.won == bool(batch.won[1])
    assert made.simulate().ended == made.document.outcome.ended
    versus = SkirmishBatch("3m", 1, opponents="policy")
    versus.reset()
    lost = replay.record(
        versus, stop_play, 0, lambda batch: random_play(1)(batch.opponents).astype(np.int64)
    )
    assert lost.document.opponents == "policy"
    assert len(lost.document.opponent_actions) == lost.document.outcome.steps
    lost.simulate()


def test_steps_after_the_end_are_not_recorded(stop_play):
    batch = SkirmishBatch("3m", 1, seed=3)
    batch.reset()
    recorder = Recorder.start(batch, 0)
    for _ in range(batch.episode_limit):
        actions = stop_play(batch)
        batch.step(actions)
        recorder.add(actions)
    made = recorder.finish()
    assert len(made.document.actions) == batch.episode_steps[0] < batch.episode_limit


def test_an_interrupted_battle_can_be_kept(stop_play):
    batch = SkirmishBatch("3m", 1, seed=3)
    batch.reset()
    recorder = Recorder.start(batch, 0)
    batch.step(stop_play(batch))
    recorder.add(stop_play(batch))
    made = recorder.finish()
    assert (made.document.outcome.steps, made.document.outcome.ended) == (1, "")
    assert len(list(made.play())) == 9


def test_recording_from_the_middle_is_refused(stop_play):
    batch = SkirmishBatch("3m", 1, seed=3)
    batch.reset()
    recorder = Recorder.start(batch, 0)
    with pytest.raises(ValueError, match=r"0 steps, but 0 are recorded; call add once after"):
        recorder.add(stop_play(batch))
    batch.step(stop_play(batch))
    with pytest.raises(ValueError, match="has played 1 steps already; start to record right after"):
        Recorder.start(batch, 0)
    batch.step(stop_play(batch))
    with pytest.raises(ValueError, match="has played 2 steps, but 0 are recorded"):
        recorder.add(stop_play(batch))
    with pytest.raises(ValueError, match="environments 0 to 0, not 1"):
        Recorder.start(batch, 1)


def test_actions_of_opponents_are_given_exactly_where_a_policy_plays_them(stop_play):
    batch = SkirmishBatch("3m", 1, seed=3)
    batch.reset()
    recorder = Recorder.start(batch, 0)
    batch.step(stop_play(batch))
    with pytest.raises(ValueError, match="give opponent_actions exactly if a policy"):
        recorder.add(stop_play(batch), stop_play(batch))


def edited(made, change):
    """The JSON of a replay after a change to its values."""
    content = json.loads(json.dumps(msgspec.to_builtins(made.document)))
    change(content)
    return json.dumps(content)


def load_text(folder, text):
    path = folder / "battle.replay.json"
    path.write_text(text)
    return Replay.load(path)


def setting(key, value):
    def change(content):
        *parents, last = key.split(".")
        for name in parents:
            content = content[name]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (setting("format", "zip"), "is not a replay: its key 'format' is not 'dm2-dist replay'"),
        (setting("format_version", 2), "has format version 2; this simulator reads version 1"),
        (setting("map", "4s_vs_3z"), "the map '4s_vs_3z' is not one of SMAC's"),
        (setting("seed", "18446744073709551616"), "has more than 64 bits"),
        (setting("seed", 5), r"Expected `str`, got `int` - at `\$.seed`"),
        (setting("surprise", 5), "surprise"),
        (setting("options.fog", True), "the option 'fog' is not known here; play it with the sim"),
        (setting("rewards.bonus", 1), "the option 'bonus' is not known here"),
        (setting("options.step_mul", 0), "step_mul must be at least 1 game loop, not 0"),
        (setting("options.step_mul", "8"), "options cannot be used: Expected `int`, got `str`"),
        (setting("options.profile", "brood"), "brood"),
        (setting("outcome.steps", 3), "the outcome has 3 steps, the actions"),
        (setting("outcome.ended", "fled"), r"at `\$.outcome.ended`"),
        (setting("actions", [[1, 1]]), "actions"),
        (lambda content: content["actions"][2].append(1), r"actions\[2\] has 4 entries; the side"),
        (lambda content: content["actions"][2].__setitem__(0, 9), r"has the action 9 of 9"),
        (lambda content: content["actions"][2].__setitem__(0, -1), r"at `\$.actions\["),
        (setting("opponents", "policy"), "opponent_actions must be given exactly if a policy"),
        (setting("opponent_actions", []), "opponent_actions must be given exactly if a policy"),
        (setting("scenario", {"name": "x"}), "scenario"),
        (lambda content: content.pop("seed"), "missing required field `seed`"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(recorded, tmp_path, change, sentence):
    with pytest.raises(ReplayError, match=sentence) as caught:
        load_text(tmp_path, edited(recorded, change))
    assert str(tmp_path / "battle.replay.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a replay"),
        (b"3", "is not a replay"),
    ],
)
def test_what_is_no_replay_is_refused(tmp_path, content, sentence):
    path = tmp_path / "battle.replay.json"
    path.write_bytes(content)
    with pytest.raises(ReplayError, match=sentence):
        Replay.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ReplayError, match="does not exist"):
        Replay.load(tmp_path / "none.replay.json")
    with pytest.raises(ReplayError, match="cannot be read"):
        Replay.load(tmp_path)


def leaves(content, path=()):
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:4]):
            yield from leaves(value, (*path, index))
    yield path


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_spoilt_file_gives_a_clear_error_or_plays(recorded, tmp_path_factory, data):
    content = msgspec.to_builtins(recorded.document)
    content = json.loads(json.dumps(content))
    path = data.draw(st.sampled_from([path for path in leaves(content) if path]))
    value = data.draw(
        st.none()
        | st.booleans()
        | st.integers(-2, 2**65)
        | st.floats(allow_nan=False)
        | st.text()
        | st.lists(st.integers(), max_size=3)
        | st.dictionaries(st.text(), st.integers(), max_size=2)
    )
    spoilt = copy.deepcopy(content)
    place = spoilt
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    path = tmp_path_factory.mktemp("spoilt") / "battle.replay.json"
    path.write_text(json.dumps(spoilt))
    told = refusal(path)
    assert told is None or (told and "\n" not in told)


def refusal(path):
    """What a replay that cannot be played is refused with; None if it plays."""
    try:
        Replay.load(path).simulate()
    except ReplayError as error:
        return str(error)
    return None


def other_outcome(made, **choices):
    outcome = msgspec.structs.replace(made.document.outcome, **choices)
    simulator = replay.Simulator(version="0.0.9", sources="0123456789abcd")
    return Replay(msgspec.structs.replace(made.document, outcome=outcome, simulator=simulator))


def test_another_outcome_is_told_with_both_simulators(recorded):
    spoilt = other_outcome(recorded, episode_return=0.25)
    with pytest.raises(ReplayError) as caught:
        next(spoilt.play())
    told = str(caught.value)
    assert "the replay of 3s_vs_3z does not play as recorded: it ends" in told
    assert "return 0.25" in told
    assert "recorded with simulator 0.0.9 (sources 0123456789abcd)" in told
    assert f"this is {dm2_dist.__version__} (sources " in told


def test_an_action_that_cannot_be_played_is_told_with_its_step(recorded):
    actions = ((0, 0, 0), *recorded.document.actions[1:])
    spoilt = Replay(msgspec.structs.replace(recorded.document, actions=actions))
    with pytest.raises(ReplayError, match="step 1 cannot be played: environment 0: agent 0"):
        spoilt.simulate()


def test_a_replay_says_which_simulator_recorded_it(recorded):
    assert recorded.document.simulator == replay.present_simulator()
    assert recorded.document.simulator.version == dm2_dist.__version__


def test_replays_are_small(recorded, tmp_path):
    path = recorded.save(tmp_path / "battle.replay.json")
    assert path.stat().st_size < 1200 + 12 * recorded.document.outcome.steps


def test_what_cannot_be_saved_leaves_nothing_behind(recorded, tmp_path):
    (tmp_path / "battle.replay.json").mkdir()
    with pytest.raises(OSError, match="battle"):
        recorded.save(tmp_path / "battle.replay.json")
    assert [path.name for path in tmp_path.iterdir()] == ["battle.replay.json"]


@pytest.mark.parametrize("map_name", sorted(MAPS))
def test_every_map_can_be_recorded_and_played(map_name):
    batch = SkirmishBatch(map_name, 1, seed=2, trace=True)
    batch.reset()
    made, loops = play_and_record(batch, 0, seed=3, steps=12)
    np.testing.assert_array_equal(made.simulate().loops, loops)


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    root = Path(dm2_dist.__file__).resolve().parent.parent
    text = (root / "docs" / "replays.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/replays.md", "exec"), {})
    assert Replay.load(tmp_path / "lost.replay.json").document.outcome.ended == "lost"
    assert capsys.readouterr().out.startswith("0 ")
