"""The command line: what it prints, what it answers to mistakes, how little it imports."""

import dataclasses
import json
import re
import resource
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from dm2_dist import checkpoint, demonstrations, networks, presets, run_directory
from dm2_dist import config as configuration
from dm2_dist.comms import codec
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.skirmish.replay import Replay
from dm2_dist.sections import CollectionConfig
from launch.cli import main

COMMANDS = {
    *("local", "record", "evaluate", "curves", "presets", "show-config", "bench", "replay"),
    *("doctor", "sc2-standin", "chaos", "keys", "head", "learner", "actor"),
    *("status", "top", "report"),
}
LOCAL_FLAGS = """
    --help --actors --run-dir --resume --metrics-port --plain --json --trackers
    --preset --env --map --scenario-sha256 --algorithm --schedule --seed --max-env-steps
    --demonstrations --demonstrations-sha256
    --device --learner-threads
    --collection.episodes-per-iteration --collection.episodes-per-ticket
    --asynchrony.max-lag --asynchrony.unit --asynchrony.unroll-length
    --network.hidden-size --network.policy-head-gain
    --ppo.learning-rate --ppo.adam-epsilon --ppo.epochs --ppo.minibatches --ppo.clip
    --ppo.discount --ppo.gae-lambda --ppo.entropy-coefficient --ppo.value-coefficient
    --ppo.huber-delta --ppo.max-gradient-norm --ppo.chunk-length --ppo.max-behaviour-ratio
    --ppo.lag-correction --ppo.trace-rho --ppo.trace-c
    --impala.learning-rate --impala.adam-epsilon --impala.decay --impala.minibatches
    --impala.discount --impala.rho --impala.c --impala.policy-rho --impala.chunk-length
    --impala.entropy-coefficient --impala.value-coefficient --impala.max-gradient-norm
    --imitation.reward-coefficient --imitation.steps --imitation.episodes-per-step
    --imitation.demonstration-episodes --imitation.learning-rate --imitation.gradient-penalty
    --imitation.match-living-time --imitation.no-match-living-time --imitation.hidden-size
    --evaluation.interval-env-steps --evaluation.episodes
    --games.version --games.answer-seconds --games.start-seconds --games.concurrent-launches
    --games.launches-allowed --games.recycle-episodes --games.memory-limit-mb
"""
PATROL = Path(__file__).resolve().parents[3] / "examples" / "scenarios" / "patrol.toml"
CONFIG = RunConfig(map="3m", collection=CollectionConfig(episodes_per_ticket=2))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory of its own, so that a run started by mistake is seen."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(capsys, elsewhere):
    """Run a command that must fail; gives its code and the one sentence it said."""

    def run(*words):
        code = main(words)
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("dm2: ")
        assert output.err.count("\n") == 1
        assert list(elsewhere.iterdir()) == []
        return code, output.err

    return run


@pytest.fixture
def printed(capsys):
    """Run a command that must do; gives what it printed."""

    def run(*words):
        assert main(words) == 0
        output = capsys.readouterr()
        assert output.err == ""
        return output.out

    return run


@pytest.fixture
def run_root(tmp_path):
    """A run of CONFIG that never trained anything."""
    directory, lock = run_directory.acquire(tmp_path / "run", CONFIG, resume=False)
    lock.release()
    return directory.root


@pytest.fixture
def trained_root(run_root):
    """A run on 3m whose three learners keep the versions 4 and 5."""
    save_policies(run_root, "3m")
    return run_root


@pytest.fixture
def patrol_root(tmp_path):
    """A run on a scenario whose nine learners keep the versions 4 and 5."""
    config = run_directory.pin_scenario(dataclasses.replace(CONFIG, map=str(PATROL)))
    directory, lock = run_directory.acquire(tmp_path / "patrol", config, resume=False)
    lock.release()
    save_policies(directory.root, str(PATROL))
    return directory.root


def save_policies(root, map_name):
    """Write the versions 4 and 5 of every learner: fresh policies."""
    spec = make.describe("skirmish", map_name)
    size = spec.observation_size + spec.num_actions + spec.num_agents
    for agent in range(spec.num_agents):
        policy = networks.make_policy(size, spec.num_actions, CONFIG.network, 0, agent)
        arrays = {name: tensor.detach().numpy() for name, tensor in policy.state_dict().items()}
        body, _ = codec.encode_parameters(arrays)
        folder = run_directory.RunDirectory(root).checkpoints(agent)
        for version in (4, 5):
            checkpoint.save_parameters(folder, version, body)


# --- StarCraft II ---


def test_naming_the_game_is_enough_to_have_a_battle_per_ticket(printed):
    shown = json.loads(printed("show-config", "--preset", "quickstart", "--env", "smac"))
    assert shown["env"] == "smac"
    assert shown["collection"]["episodes_per_ticket"] == 1
    assert json.loads(printed("show-config"))["collection"]["episodes_per_ticket"] > 1


def test_a_run_without_its_game_is_refused_before_anything_is_written(refused, monkeypatch):
    monkeypatch.setenv("SMAC_PATH", "/nowhere")
    code, sentence = refused("local", "--env", "smac")
    assert code == 1
    assert "oxwhirl/smac" in sentence


# --- help ---


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_help_lists_the_commands(printed, words):
    text = printed(*words)
    assert set(re.findall(r"^  ([a-z0-9-]+)  ", text, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["actor", "learner", "replay", "chaos", "bench"])
def test_no_help_breaks_off_in_mid_sentence_or_shows_a_type(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert not re.search(r"\{None|default: None|--no-json|\bPATH\b", text)
    rows = [row.rstrip(" │") for row in text.splitlines() if re.match(r"[ │] {6,}[^ ]", row)]
    assert rows
    for above, below in pairwise(text.splitlines()):
        if above.rstrip(" │") in rows and below.rstrip(" │") in rows:
            word = below.lstrip(" │").partition(" ")[0]
            assert len(above.rstrip(" │")) + 1 + len(word) > columns - 4, (above, below)


def test_the_flags_of_local_grow_only_on_purpose(capsys):
    with pytest.raises(SystemExit):
        main(["local", "--help"])
    text = capsys.readouterr().out
    options = re.findall(r"^\W*?(?:-h, )?(--[a-z][^ ,]+(?:, --[^ ,]+)?)", text, re.MULTILINE)
    flags = [flag for option in options for flag in option.split(", ")]
    assert sorted(flags) == sorted(LOCAL_FLAGS.split())


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["local", "--help"], ["presets"], ["replay", "--help"], ["doctor", "--help"]),
        *(["chaos", "--help"], ["learner", "--help"]),
    ],
)
def test_help_takes_less_than_a_second_and_no_heavy_library(words):
    program = (
        "import sys\n"
        "from launch.cli import main\n"
        "try:\n"
        f"    main({words!r})\n"
        "finally:\n"
        "    heavy = {'torch', 'numba', 'zmq'} & set(sys.modules)\n"
        "    sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )

    def allow_two_seconds():
        """The kernel ends a process that computes for longer: twice what we promise."""
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=allow_two_seconds,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


# --- presets and configurations ---


def test_presets_are_listed_with_a_line_each(printed):
    lines = printed("presets").splitlines()
    assert [line.split()[0] for line in lines] == list(presets.PRESETS)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_is_shown_and_starts_a_configuration(printed, name):
    expected = presets.by_name(name)
    assert configuration.from_json(printed("presets", name)) == expected
    assert configuration.from_json(printed("show-config", "--preset", name)) == expected
    assert configuration.from_json(printed("show-config", f"--preset={name}")) == expected


def test_flags_change_single_keys_of_a_preset(printed):
    words = "--preset quickstart --seed 7 --ppo.clip 0.3 --algorithm dm2 --demonstrations d"
    shown = configuration.from_json(printed("show-config", *words.split()))
    changes = configuration.differences(presets.by_name("quickstart"), shown)
    assert [change.partition(":")[0] for change in changes] == [
        "algorithm",
        "seed",
        "demonstrations",
        "ppo.clip",
    ]


# --- mistakes: code 2 ---


def test_an_unknown_command_is_refused(refused):
    code, sentence = refused("lokal")
    assert code == 2
    assert "'lokal'" in sentence


@pytest.mark.parametrize("command", ["local", "show-config"])
def test_an_unknown_preset_is_refused_with_the_nearest(refused, command):
    code, sentence = refused(command, "--preset", "quikstart")
    assert code == 2
    assert "did you mean quickstart" in sentence


@pytest.mark.parametrize("words", ["local --map", "bench simulator --maps"])
def test_an_unknown_map_is_refused_with_the_nearest(refused, words):
    code, sentence = refused(*words.split(), "5m_vs_6n")
    assert code == 2
    assert "did you mean 5m_vs_6m" in sentence


@pytest.mark.parametrize("words", ["local --map", "bench simulator --maps"])
def test_a_scenario_that_is_not_there_is_refused_by_name(refused, words):
    code, sentence = refused(*words.split(), "gone.toml")
    assert code == 2
    assert "gone.toml: there is no such file; check the path" in sentence


@pytest.mark.parametrize("words", ["local --map", "bench simulator --maps"])
def test_a_scenario_that_describes_no_battle_is_refused_with_the_mend(refused, tmp_path, words):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(PATROL.read_text().replace('"medivac"', '"medivak"'))
    code, sentence = refused(*words.split(), str(wrong))
    assert code == 2
    assert f"{wrong}: allies[2].unit is 'medivak'; did you mean medivac?" in sentence


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("local --env starcraft", "env"),
        ("local --actors 0", "actors"),
        ("local --seed -1", "seed"),
        ("local --max-env-steps 0", "max_env_steps"),
        ("local --demonstrations d", "demonstrations"),
        ("local --algorithm dm2", "--demonstrations"),
        (
            "local --algorithm dm2 --demonstrations d --imitation.episodes-per-step 300",
            "imitation.episodes_per_step is 300 and collection.episodes_per_iteration is 256",
        ),
        ("local --resume", "--run-dir"),
        ("show-config --ppo.clip -1", "ppo.clip"),
        ("presets nothing-like-it", "quickstart"),
        ("record nowhere --output there --episodes 0", "episodes"),
        ("evaluate nowhere --episodes -3", "episodes"),
        ("evaluate nowhere --replays there --replays-kept 0", "replays-kept"),
        ("record nowhere --output there --replays-kept -1", "replays-kept"),
        ("replay nowhere --speed 0", "speed"),
    ],
)
def test_what_cannot_work_is_refused_by_name(refused, words, named):
    code, sentence = refused(*words.split())
    assert code == 2
    assert named in sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("local --seed abc", "--seed is 'abc'; it must be a whole number"),
        ("local --actors many", "--actors is 'many'; it must be a whole number"),
        ("local --ppo.clip wide", "--ppo.clip is 'wide'; it must be a number"),
        ("local --colour red", "unknown option --colour; `dm2 local --help` lists them"),
        ("local --actor 3", "unknown option --actor; did you mean --actors?"),
        ("local --schedule hogwild", "--schedule is 'hogwild'; choose sync, pipelined or async"),
        ("local --algorithm qmix", "--algorithm is 'qmix'; choose ippo, dm2 or impala"),
        ("local --preset", "--preset needs a value after it"),
        ("record", "record needs RUN and --output DIR"),
        ("record run", "record needs --output DIR"),
        ("show-config 3m", "show-config takes no '3m'"),
        ("bench gpu", "bench takes no 'gpu'; choose all, inference"),
        ("bench --seconds x scaling", "--seconds is 'x'"),
        ("bench scaling --picture figures.jpeg", "must end in .svg, .png or .pdf"),
        ("keys rotate there --role king", "--role is 'king'; choose actor, head, launcher or"),
        ("status", "status needs RUN|HOST:PORT; `dm2 status --help` tells more"),
        ("curves there --output curves.jpeg", "must end in .svg, .png or .pdf"),
        ("head", "head needs --listen tcp://HOST:PORT"),
        ("head --listen tcp://127.0.0.1", "'tcp://127.0.0.1' is not an address"),
        ("head --listen tcp://0.0.0.0:5555", "nothing is encrypted"),
        ("actor --connect here", "'here' is not an address"),
        ("actor --connect tcp://elsewhere:5555", "nothing is encrypted"),
        ("actor --connect tcp://127.0.0.1:9 --scenario gone.toml", "there is no file gone.toml"),
        ("learner --connect here --agent 0 --run-dir there", "'here' is not an address"),
    ],
)
def test_words_that_make_no_command_get_one_sentence(refused, words, said):
    code, sentence = refused(*words.split())
    assert code == 2
    assert said in sentence


def test_a_head_whose_address_is_taken_leaves_nothing(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        code, sentence = refused("head", "--listen", address)
    assert code == 2
    assert f"{address} is taken by another process" in sentence


def test_settings_that_the_algorithm_does_not_read_are_not_checked(printed):
    words = ("show-config", "--collection.episodes-per-iteration", "32")
    assert '"episodes_per_iteration": 32' in printed(*words)


# --- the world: code 1 ---


@pytest.mark.parametrize(
    "words",
    [
        "evaluate nowhere",
        "evaluate nowhere --replays there",
        "record nowhere --output there",
        "local --resume --run-dir nowhere",
    ],
)
def test_a_missing_run_is_an_error(refused, words):
    code, sentence = refused(*words.split())
    assert code == 1
    assert "nowhere holds no run" in sentence


@pytest.mark.parametrize("command", ["evaluate", "record --output there"])
def test_a_run_without_parameters_is_an_error(refused, run_root, command):
    code, sentence = refused(*command.split(), str(run_root))
    assert code == 1
    assert "no parameters yet" in sentence


def test_a_version_that_is_not_kept_is_an_error_that_lists_the_others(refused, trained_root):
    code, sentence = refused("evaluate", str(trained_root), "--version", "3")
    assert code == 1
    assert "keeps the versions 4, 5, not 3" in sentence


def test_missing_demonstrations_are_an_error(refused):
    code, sentence = refused("local", "--algorithm", "dm2", "--demonstrations", "nowhere")
    assert code == 1
    assert "dm2 record" in sentence


@pytest.mark.parametrize("words", ["evaluate", "record --output there", "local --resume --run-dir"])
def test_a_run_whose_scenario_has_been_changed_is_an_error(refused, patrol_root, words):
    own = patrol_root / "scenario.toml"
    own.write_text(own.read_text().replace("count = 6", "count = 5"))
    code, sentence = refused(*words.split(), str(patrol_root))
    assert code == 1
    assert f"{own} is not the scenario that the run was started with" in sentence


def test_resuming_with_another_scenario_is_an_error(refused, patrol_root, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(PATROL.read_text().replace("count = 6", "count = 5"))
    code, sentence = refused(
        "local", "--resume", "--run-dir", str(patrol_root), "--map", str(other)
    )
    assert code == 1
    assert f"{other} is not the scenario that the run was started with" in sentence


def test_a_replay_that_is_not_there_is_an_error(refused):
    code, sentence = refused("replay", "nowhere.replay.json")
    assert code == 1
    assert "nowhere.replay.json" in sentence


def test_a_second_run_in_the_same_directory_is_an_error(refused, run_root):
    code, sentence = refused("local", "--run-dir", str(run_root))
    assert code == 1
    assert "--resume" in sentence


def test_resuming_another_configuration_is_an_error_that_names_the_key(refused, run_root):
    code, sentence = refused("local", "--resume", "--run-dir", str(run_root), "--seed", "9")
    assert code == 1
    assert "seed: 0 before, 9 now" in sentence


def test_a_run_that_has_finished_stays_as_it_is(capsys, run_root):
    summary = {
        "finished": True,
        "env_steps": CONFIG.max_env_steps,
        "iterations": 9,
        "wall_seconds": 60.0,
        "env_steps_per_second": 1.0,
        "win_rate": 1.0,
        "win_rate_best": 1.0,
        "ledger": {"produced": 0, "trained": 0, "dropped": {}, "lost": {}, "error": 0},
        "restarts": {},
        "time_share": {},
    }
    (run_root / "summary.json").write_text(json.dumps(summary))
    (run_root / "report.html").write_text("")
    before = {path: path.stat().st_mtime_ns for path in run_root.rglob("*")}
    assert main(["local", "--resume", "--run-dir", str(run_root)]) == 0
    output = capsys.readouterr()
    assert "Finished: 1,000,000 env steps" in output.out
    assert "has finished; a larger --max-env-steps than 1,000,000 goes on" in output.err
    assert {path: path.stat().st_mtime_ns for path in run_root.rglob("*")} == before
    with socket.create_server(("127.0.0.1", 0)) as taken:  # more steps are a reason to start
        port = str(taken.getsockname()[1])
        more = ["--max-env-steps", "2000000", "--metrics-port", port]
        assert main(["local", "--resume", "--run-dir", str(run_root), *more]) == 1


def test_a_directory_in_use_is_an_error(refused, run_root):
    _, lock = run_directory.acquire(run_root, CONFIG, resume=True)
    with lock:
        code, sentence = refused("local", "--resume", "--run-dir", str(run_root))
    assert code == 1
    assert "in use by another dm2 process" in sentence


def test_a_port_in_use_is_an_error(refused, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, sentence = refused(
            "local", "--metrics-port", port, "--run-dir", str(tmp_path / "new")
        )
    assert code == 1
    assert f"--metrics-port {port} cannot be used" in sentence


def test_a_refused_port_does_not_use_up_the_run_directory(refused, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused("local", "--metrics-port", port, "--run-dir", str(tmp_path / "new"))
    _, lock = run_directory.acquire(tmp_path / "new", CONFIG, resume=False)
    lock.release()


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_exist_is_refused(refused, tmp_path, port):
    refused("local", "--metrics-port", port, "--run-dir", str(tmp_path / "new"))


# --- frozen teams ---


def test_recording_writes_demonstrations_of_the_newest_version(printed, trained_root, tmp_path):
    output = tmp_path / "set"
    text = printed("record", str(trained_root), "--output", str(output), "--episodes", "3")
    assert "recorded 3 episodes of 3m with version 5" in text
    spec = make.describe("skirmish", "3m")
    sizes = (spec.num_agents, spec.observation_size, spec.num_actions)
    card = demonstrations.check(output, "3m", sizes, episodes=3)
    assert not card.greedy
    assert all(policy.startswith("5:") for policy in card.policies)
    for agent in range(spec.num_agents):
        part = demonstrations.read_agent(output, agent, episodes=3)
        assert tuple(part.length.tolist()) == card.lengths


def test_recording_again_gives_the_same_files(printed, trained_root, tmp_path):
    sets = [tmp_path / name for name in ("first", "second", "other seed")]
    for output, seed in zip(sets, "001", strict=True):
        printed(
            "record", str(trained_root), "--output", str(output), "--episodes=3", "--seed", seed
        )
    first, second, other = ((path / "agent_0.safetensors").read_bytes() for path in sets)
    assert first == second
    assert first != other


def test_recording_over_demonstrations_is_an_error(refused, printed, trained_root, tmp_path):
    words = ("record", str(trained_root), "--output", str(tmp_path / "set"), "--episodes", "1")
    printed(*words)
    code, sentence = refused(*words)
    assert code == 1
    assert "already holds demonstrations" in sentence


def test_an_evaluation_is_printed_as_a_sentence_or_as_json(printed, trained_root):
    words = ("evaluate", str(trained_root), "--episodes", "3")
    assert "3m, version 5, 3 greedy episodes: win rate" in printed(*words)
    assert "version 4, 3 sampled episodes" in printed(*words, "--version", "4", "--sampled")
    scores = json.loads(printed(*words, "--json"))
    assert (scores["version"], scores["map"], scores["episodes"]) == (5, "3m", 3)
    assert 0.0 <= scores["win_rate"] <= 1.0
    assert json.loads(printed(*words, "--json")) == scores


def test_a_scenario_goes_by_the_name_that_stands_in_it(printed, patrol_root, tmp_path):
    assert printed("evaluate", str(patrol_root), "--episodes", "1").startswith("patrol, version 5,")
    scores = json.loads(printed("evaluate", str(patrol_root), "--episodes", "1", "--json"))
    assert scores["map"] == "patrol"
    output = tmp_path / "set"
    words = ("record", str(patrol_root), "--output", str(output), "--episodes", "1")
    assert "recorded 1 episodes of patrol" in printed(*words)
    assert demonstrations.read_card(output).map == "patrol"


# --- replays ---


@pytest.mark.parametrize("run", ["trained_root", "patrol_root"])
def test_the_first_battles_are_kept_while_they_are_evaluated(printed, request, tmp_path, run):
    folder = tmp_path / "kept"
    words = ("evaluate", str(request.getfixturevalue(run)), "--episodes", "5", "--sampled")
    kept = ("--replays", str(folder), "--replays-kept", "3")
    assert printed(*words, *kept) == printed(*words)
    paths = sorted(folder.iterdir())
    assert len(paths) == 3
    courses = [Replay.load(path).simulate() for path in paths]
    names = [f"{index:03}-{course.ended}.replay.json" for index, course in enumerate(courses)]
    assert [path.name for path in paths] == [name.replace(" ", "-") for name in names]
    (output,) = [printed("replay", str(paths[0])).split(":")[0]]
    assert output == f"wrote {folder / paths[0].name.removesuffix('.replay.json')}.html"


def test_what_is_kept_is_what_was_recorded(printed, trained_root, tmp_path):
    output, folder = tmp_path / "set", tmp_path / "kept"
    words = ("record", str(trained_root), "--output", str(output), "--episodes", "5")
    printed(*words, "--replays", str(folder))
    card = demonstrations.read_card(output)
    documents = [Replay.load(path).document for path in sorted(folder.iterdir())]
    assert tuple(document.seed for document in documents) == card.seeds
    assert tuple(document.outcome.steps for document in documents) == card.lengths
    returns = [document.outcome.episode_return for document in documents]
    assert returns == pytest.approx(card.returns, abs=1e-4)
    for agent in range(3):
        part = demonstrations.read_agent(output, agent, episodes=5)
        actions = [step[agent] for document in documents for step in document.actions]
        assert part.action.tolist() == actions


@pytest.mark.parametrize("command", ["evaluate", "record --output there"])
def test_replays_are_not_mixed_with_older_ones(refused, trained_root, tmp_path, command):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "000-won.replay.json").write_text("{}")
    words = (*command.split(), str(trained_root), "--replays", str(folder))
    code, sentence = refused(*words)
    assert code == 1
    assert f"{folder} already holds replays; choose another --replays" in sentence


def test_a_file_in_the_place_of_the_replays_is_an_error(refused, trained_root, tmp_path):
    (tmp_path / "kept").write_text("")
    code, sentence = refused("evaluate", str(trained_root), "--replays", str(tmp_path / "kept"))
    assert code == 1
    assert "is not a folder; choose another --replays" in sentence


# --- chaos ---


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "chaos needs a run to disturb after --"),
        (["--"], "chaos needs a run to disturb after --"),
        (["--", "record", "there"], "chaos needs a run to disturb after --"),
        (["--", "local", "--resume"], "--resume is chosen by chaos"),
        (["--", "local", "--run-dir=here"], "--run-dir is chosen by chaos"),
        (["--kills", "-1", "--", "local"], "kills and others must be at least 0"),
        (["--patience-seconds", "0", "--", "local"], "patience-seconds must be above 0"),
        (["--no-twin", "--twin-of", "there", "--", "local"], "exclude each other"),
    ],
)
def test_chaos_refuses_what_makes_no_sense(refused, words, sentence):
    code, said = refused("chaos", *words)
    assert code == 2
    assert sentence in said
