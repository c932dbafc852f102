"""Replays: what is saved plays again, bit for bit, or says why not."""

import copy
import dataclasses
import json
import math
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dm2_dist
from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, embedded, replay, replay_file, scenario
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


@pytest.fixture(scope="module")
def ambushed(tmp_path_factory):
    path = tmp_path_factory.mktemp("ambush") / "ambush.toml"
    path.write_text(SCENARIO)
    batch = SkirmishBatch(str(path), 1, seed=4, trace=True)
    batch.reset()
    return play_and_record(batch, 0, seed=1, steps=12)[0]


@pytest.fixture(scope="module")
def contested():
    batch = SkirmishBatch("3m", 1, seed=4, opponents="policy", trace=True)
    batch.reset()
    return play_and_record(batch, 0, seed=1, steps=12)[0]


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
        (setting("options.step_mul", 0), "step_mul must be 1 to 10,000 game loops, not 0"),
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
        (setting("scenario", {"name": "x"}), "json: the scenario cannot be used: the ground must"),
        (setting("scenario", {}), "json: the scenario cannot be used: the ground must be given"),
        (lambda content: content.pop("seed"), "missing required field `seed`"),
        (setting("simulator", {"\n": -664, "": -4726}), r"contains unknown field `\\n`"),
        (setting("up\x1b[2A", 5), r"contains unknown field `up\\x1b\[2A`"),
        (setting("x" * 10**6, 5), r"contains unknown field `x{300,}\.\.\."),
        (setting("options." + "x" * 10**6, 5), r"the option 'x{300,}\.\.\."),
        (setting("simulator.version", "0.1\n"), r"regex .* at `\$.simulator.version`"),
        (setting("map", "\ud800"), "is not JSON"),
        (setting("format_version", "1"), r"Expected `int`, got `str` - at `\$.format_version`"),
        (setting("format_version", 10**400), "has format version a number of more than twelve"),
        (setting("options.step_mul", 10_001), "step_mul must be 1 to 10,000 game loops, not 1"),
        (setting("options.step_mul", 129_461), "step_mul must be 1 to 10,000 game loops"),
        (setting("options.step_mul", 2**24), "step_mul must be 1 to 10,000 game loops"),
        (setting("options.step_mul", 1_134_299_795), "step_mul must be 1 to 10,000 game loops"),
        (setting("options.step_mul", 2**65), "step_mul must be 1 to 10,000 game loops"),
        (setting("options.step_mul", 10**400), "step_mul must be 1 to 10,000 game loops"),
        (
            setting("options.move_amount", 1e7),
            "move_amount must be positive and at most 1,000,000 cells",
        ),
        (setting("options.move_amount", 10**400), r"out of range - at `\$.move_amount`"),
        (setting("options.move_amount", math.inf), "is not JSON"),
        (setting("rewards.reward_win", math.nan), "is not JSON"),
        (setting("outcome.episode_return", -math.inf), "is not JSON"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(recorded, tmp_path, change, sentence):
    with pytest.raises(ReplayError, match=sentence) as caught:
        load_text(tmp_path, edited(recorded, change))
    assert str(tmp_path / "battle.replay.json") in str(caught.value)
    assert_clear(str(caught.value))


def test_a_number_that_overflows_is_refused(recorded, tmp_path):
    text = edited(recorded, setting("outcome.episode_return", 0.125)).replace("0.125", "1e999")
    with pytest.raises(ReplayError, match=r"Number out of range - at `\$.outcome.episode_return`"):
        load_text(tmp_path, text)


def long_battle(steps):
    """Change a recorded ambush to one of seven units that lasts long."""

    def change(content):
        content["options"]["step_mul"] = 10_000
        content["scenario"]["episode_limit"] = 1_000
        content["actions"] = [[1, 1]] * steps
        content["outcome"]["steps"] = steps

    return change


def test_a_battle_that_would_take_gigabytes_is_refused(ambushed, tmp_path):
    assert len(load_text(tmp_path, edited(ambushed, long_battle(239))).document.actions) == 239
    with pytest.raises(ReplayError, match="240 steps of 10000 game loops with 7 units are too mu"):
        load_text(tmp_path, edited(ambushed, long_battle(240)))


def test_the_longest_step_can_be_played(recorded, tmp_path):
    long = load_text(tmp_path, edited(recorded, setting("options.step_mul", 10_000)))
    with pytest.raises(ReplayError, match="does not play as recorded"):
        long.simulate()


def test_nesting_is_refused_at_every_depth(recorded, tmp_path):
    text = edited(recorded, setting("scenario", {"rows": "@"}))
    told = "too deep"
    for depth in range(1_000, 0, -1):  # one reader after the other has room for it
        with pytest.raises(ReplayError, match=r"nested too deeply|needs 32, north row") as caught:
            load_text(tmp_path, text.replace('"@"', "[" * depth + "]" * depth))
        told = str(caught.value)
        if "north row" in told:
            break
    assert "north row" in told


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"{}{}", "is not JSON"),
        (b'{"map": "\xff"}', "is not a replay: its key 'format' is not"),
        (b'{"format": "\xff"}', "is not JSON"),
        (b'{"x":' * 100_000, "is not a replay: its values are nested too deeply"),
        (b"[" * 100_000, "is not a valid replay: Expected `object`, got `array`"),
        (b"[]", "is not a valid replay"),
        (b"3", "is not a valid replay"),
        (b"{}", "is not a replay: its key 'format' is not 'dm2-dist replay'"),
        (b" " * 2**24, "is not JSON"),
        (b" " * (2**24 + 1), "is too large for a replay \\(16 MiB at most\\)"),
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
    with pytest.raises(ReplayError, match="cannot be read: it is not a file"):
        Replay.load(tmp_path)


def test_a_pipe_that_nobody_writes_to_is_refused(tmp_path):
    os.mkfifo(tmp_path / "battle.replay.json")
    with pytest.raises(ReplayError, match="cannot be read: it is not a file"):
        Replay.load(tmp_path / "battle.replay.json")


SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


def leaves(content, path=()):
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content[:4]):
            yield from leaves(value, (*path, index))
    yield path


WORDS = (
    *(
        "\n",
        "\r",
        "\u2028",
        "\x1b[31m",
        "\x00",
        "\ud800",
        "[/red]",
        "é",
        "x" * 1_000,
        "9" * 20,
        "-1",
    ),
    *("3m", "corridor", "liberty", "lotv", "smaclite", "won", "time is up", "computer", "policy"),
    *("medivac", "baneling", "spine_crawler", "hold", "hunt", "attack_segment", "." * 32, "#" * 32),
)
NUMBERS = (0, -1, 9_999, 10_000, 10_001, 2**20, 2**31, 2**31 + 1, 2**53, 2**63, 2**64, 10**400)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70)
    | st.integers(-2, 2**65)
    | st.sampled_from(NUMBERS)
    | st.floats()
    | st.floats(0, 32)
    | st.text()
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(WORDS), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "remove", "add"]), VALUES
        ),
        min_size=1,
        max_size=3,
    ),
    whose=st.integers(0, 2),
)
@settings(max_examples=150, **SETTINGS)
def test_a_spoilt_file_gives_a_clear_error_or_plays(
    recorded, ambushed, contested, tmp_path_factory, changes, whose
):
    made = (recorded, ambushed, contested)[whose]
    spoilt = json.loads(json.dumps(msgspec.to_builtins(made.document)))
    for where, action, value in changes:
        paths = [path for path in leaves(spoilt) if path]
        if paths:
            spoil(spoilt, paths[int(where * len(paths))], action, value)
    assert_clear(refusal_of(tmp_path_factory, json.dumps(spoilt).encode()))


def spoil(content, path, action, value):
    """Set or remove what stands at a path, or add something beside it."""
    *parents, last = path
    for key in parents:
        content = content[key]
    if action == "set":
        content[last] = copy.deepcopy(value)
    elif action == "remove":
        del content[last]
    elif isinstance(content, list):
        content.insert(last, copy.deepcopy(value))
    else:
        content[value if isinstance(value, str) else f"{last}_"] = copy.deepcopy(value)


@given(
    whose=st.integers(0, 2),
    flips=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.integers(0, 2), st.binary(min_size=1, max_size=3)
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=200, **SETTINGS)
def test_spoilt_bytes_give_a_clear_error_or_play(
    recorded, ambushed, contested, tmp_path_factory, whose, flips
):
    content = bytearray(text_of((recorded, ambushed, contested)[whose]))
    for where, gone, instead in flips:
        place = int(where * len(content))
        content[place : place + gone] = instead
    assert_clear(refusal_of(tmp_path_factory, bytes(content)))


@given(
    whose=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    cut=st.floats(0, 1),
    go_on=st.floats(0, 1),
)
@settings(max_examples=60, **SETTINGS)
def test_the_halves_of_two_files_give_a_clear_error_or_play(
    recorded, ambushed, contested, tmp_path_factory, whose, cut, go_on
):
    first, second = (text_of((recorded, ambushed, contested)[number]) for number in whose)
    content = first[: int(cut * len(first))] + second[int(go_on * len(second)) :]
    assert_clear(refusal_of(tmp_path_factory, content))


def test_a_file_that_is_cut_off_anywhere_is_refused(ambushed, tmp_path):
    content = text_of(ambushed)
    path = tmp_path / "battle.replay.json"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        told = refusal(path)
        assert told is not None, length
        assert_clear(told)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200, **SETTINGS)
def test_every_return_is_read_as_it_was_written(recorded, tmp_path_factory, number):
    path = tmp_path_factory.mktemp("returns") / "battle.replay.json"
    made = other_outcome(recorded, episode_return=number)
    made.save(path)
    assert math.copysign(1.0, number) == math.copysign(
        1.0, replay_file.read(path).outcome.episode_return
    )
    assert replay_file.read(path) == made.document


def text_of(made):
    return json.dumps(msgspec.to_builtins(made.document)).encode()


def refusal_of(factory, content):
    path = factory.mktemp("spoilt") / "battle.replay.json"
    path.write_bytes(content)
    return refusal(path)


def assert_clear(told):
    """What a refusal says is one short line that can be printed, and names no file but its own."""
    assert told is None or (told and told.isprintable() and len(told) < 1_000), told
    assert told is None or "dm2-scenario-" not in told


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


def test_what_json_cannot_say_is_not_saved(recorded, tmp_path):
    endless = other_outcome(recorded, episode_return=math.inf)
    with pytest.raises(ReplayError, match="an option or the return is not a finite number"):
        endless.save(tmp_path / "battle.replay.json")
    assert not list(tmp_path.iterdir())


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
