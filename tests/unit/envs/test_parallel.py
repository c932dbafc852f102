"""The PettingZoo environment: PettingZoo's own tests, and that it plays the same battles."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pettingzoo
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.utils import parallel_to_aec

from dm2_dist.envs.skirmish import SkirmishBatch, SkirmishEnv, UnknownMapError, parallel_env
from dm2_dist.envs.skirmish.parallel_battle import ParallelBattle, Stepped
from dm2_dist.envs.skirmish.seat import Team

with warnings.catch_warnings():
    # Where pygame is there these import a board game, which warns of itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
    from pettingzoo.test.render_test import collect_render_results

ROOT = Path(__file__).parents[3]
SCENARIO = str(ROOT / "examples/scenarios/patrol.toml")
PATROL = pytest.param(SCENARIO, id="patrol.toml")
TURNS = {
    # What PettingZoo remarks about environments that it does not know by name.
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be gymnasium.spaces.box or "
    "gymnasium.spaces.discrete",
    "Observation numpy array is all zeros.",
}

Observations = dict[str, dict[str, npt.NDArray[Any]]]


def charge(observations: Observations, agents: list[str]) -> dict[str, int]:
    """Walk ahead and attack whoever is in range."""
    actions = {}
    for agent in agents:
        available = np.flatnonzero(observations[agent]["action_mask"])
        actions[agent] = int(available[-1]) if available[-1] >= 6 or 4 not in available else 4
    return actions


def stand(observations: Observations, agents: list[str]) -> dict[str, int]:
    """Stop, or do nothing."""
    return {agent: int(observations[agent]["action_mask"].argmax()) for agent in agents}


def play_out(env: ParallelBattle, policy: Any, seed: int) -> list[Stepped]:
    """Play a battle to its end; returns all that its steps gave."""
    observations, _ = env.reset(seed=seed)
    steps = []
    while env.agents:
        steps.append(env.step(policy(observations, env.agents)))
        observations = steps[-1].observations
    return steps


def total(steps: list[Stepped], agent: str) -> float:
    return sum(step.rewards.get(agent, 0.0) for step in steps)


@pytest.mark.parametrize("opponents", ["computer", "policy"])
@pytest.mark.parametrize("map_name", ["3m", "MMM", "2s_vs_1sc", "corridor", PATROL])
def test_pettingzoo_accepts_the_environment(map_name: str, opponents: Any) -> None:
    parallel_api_test(parallel_env(map_name, opponents=opponents))
    parallel_seed_test(lambda: parallel_env(map_name, opponents=opponents))


@pytest.mark.parametrize("opponents", ["computer", "policy"])
def test_pettingzoo_accepts_that_the_dead_leave(opponents: Any) -> None:
    parallel_api_test(parallel_env("MMM", opponents=opponents, dead_agents="leave"))


@pytest.mark.parametrize("dead_agents", ["stay", "leave"])
@pytest.mark.parametrize(
    ("map_name", "opponents"),
    [("3m", "computer"), ("MMM", "policy"), pytest.param(SCENARIO, "policy", id="patrol.toml")],
)
def test_pettingzoo_accepts_it_turn_by_turn(
    map_name: str, opponents: Any, dead_agents: Any, recwarn: pytest.WarningsRecorder
) -> None:
    def make() -> Any:
        return parallel_to_aec(
            parallel_env(map_name, opponents=opponents, dead_agents=dead_agents, seed=1)
        )

    api_test(make())
    seed_test(make)
    assert {str(warning.message) for warning in recwarn} <= TURNS


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**63), map_name=st.sampled_from(["3m", "MMM", SCENARIO]))
def test_a_battle_is_that_of_the_batch_bit_for_bit(seed: int, map_name: str) -> None:
    generator = np.random.default_rng(seed)
    env = parallel_env(map_name, opponents="policy", seed=seed)
    observations, infos = env.reset()
    batch = SkirmishBatch(map_name, 1, opponents="policy")
    batch.reset(env.batch.seeds.copy())
    assert batch.opponents is not None
    sides: list[tuple[str, Team, int]] = [
        ("ally", batch, batch.num_agents),
        ("enemy", batch.opponents, batch.num_enemies),
    ]
    rewards = dict.fromkeys(env.possible_agents, 0.0)
    while env.agents:
        actions = []
        for name, team, size in sides:
            for number in range(size):
                shown = observations[f"{name}_{number}"]
                assert np.array_equal(shown["observation"], team.observation[0, number])
                assert np.array_equal(shown["action_mask"], team.available_actions[0, number])
                assert infos[f"{name}_{number}"]["alive"] == team.alive[0, number]
                assert rewards[f"{name}_{number}"] == team.exact_reward[0]
            assert np.array_equal(env.state(f"{name}_0"), team.state[0])
            listed = team.available_actions
            actions.append(
                np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)
            )
        batch.step(*actions)
        named = zip(env.agents, np.concatenate(actions, axis=1)[0], strict=True)
        observations, rewards, ended, truncated, infos = env.step(dict(named))
        assert set(ended.values()) == {bool(batch.terminated[0])}
        assert set(truncated.values()) == {bool(batch.truncated[0])}
    assert batch.finished.all()
    assert infos["ally_0"]["battle_won"] == batch.won[0]
    assert infos["enemy_0"]["battle_won"] == batch.opponents.won[0]


@pytest.mark.parametrize("map_name", ["3m", "corridor", PATROL])
def test_battles_are_those_of_the_class_with_smacs_interface(map_name: str) -> None:
    env = parallel_env(map_name, seed=7, obs_last_action=True)
    single = SkirmishEnv(map_name, seed=7, obs_last_action=True)
    for _ in range(2):
        observations, infos = env.reset()
        single.reset()
        while env.agents:
            seen = [observations[agent]["observation"] for agent in env.agents]
            assert np.array_equal(seen, single.get_obs())
            assert np.array_equal(env.state(), single.get_state())
            for shown in (observations, infos):
                masks = [shown[agent]["action_mask"].tolist() for agent in env.agents]
                assert masks == single.get_avail_actions()
            actions = charge(observations, env.agents)
            reward, over, info = single.step(actions.values())
            observations, rewards, ended, truncated, infos = env.step(actions)
            assert set(rewards.values()) == {reward}
            assert over == (not env.agents)
            assert set(truncated.values()) == {info["truncated"]}
            assert set(ended.values()) == {over and not info["truncated"]}
        assert infos["ally_0"]["battle_won"] == info["battle_won"]


def test_a_seed_names_a_sequence_of_battles() -> None:
    env = parallel_env("3m", seed=3)
    battles = [env.reset()[0]["ally_0"]["observation"] for _ in range(3)]
    assert not np.array_equal(battles[0], battles[1])
    word: Any = np.int64(3)
    again = [env.reset(seed=word)[0], env.reset()[0], env.reset(options={"any": 1})[0]]
    assert np.array_equal(battles, [shown["ally_0"]["observation"] for shown in again])
    drawn = [parallel_env("3m") for _ in range(3)]
    for other in drawn:
        other.reset()
    assert len({int(other.batch.seeds[0]) for other in drawn}) == 3


@pytest.mark.parametrize("opponents", ["computer", "policy"])
@pytest.mark.parametrize("map_name", ["2s3z", "6h_vs_8z", "2c_vs_64zg"])
def test_everything_shown_is_in_its_space(map_name: str, opponents: Any) -> None:
    env = parallel_env(
        map_name, opponents=opponents, obs_terrain_height=True, obs_timestep_number=True
    )
    observations, _ = env.reset(seed=1)
    for _ in range(40):
        for agent in env.agents:
            assert env.observation_space(agent).contains(observations[agent])
        assert env.state_space.contains(env.state())
        last = env.possible_agents[-1]
        assert env.side_state_space(last).contains(env.state(last))
        if not env.agents:
            break
        observations = env.step(charge(observations, env.agents)).observations


def test_spaces() -> None:
    env = parallel_env("2s_vs_1sc", opponents="policy")
    assert env.possible_agents == ["ally_0", "ally_1", "enemy_0"]
    sizes = {"ally_0": (17, 7), "ally_1": (17, 7), "enemy_0": (17, 8)}
    for agent, (features, actions) in sizes.items():
        space = env.observation_space(agent)
        assert space is env.observation_space(agent) is env.observation_spaces[agent]
        assert env.action_space(agent) is env.action_spaces[agent]
        assert env.action_space(agent) == Discrete(actions)
        mask = Box(0, 1, (actions,), np.int8)
        assert space == Dict({"observation": Box(-1, 1, (features,)), "action_mask": mask})
    assert env.state_space.shape == (27,)
    assert parallel_env("3m").possible_agents == ["ally_0", "ally_1", "ally_2"]


def test_samples_are_available_and_follow_the_seed_of_the_space() -> None:
    env = parallel_env("3m", seed=2)
    space = env.action_space("ally_1")
    space.seed(1)
    assert {int(space.sample()) for _ in range(200)} == set(range(9))
    _, infos = env.reset()
    allowed = set(np.flatnonzero(infos["ally_1"]["action_mask"]).tolist())
    space.seed(5)
    drawn = [int(space.sample()) for _ in range(200)]
    assert set(drawn) == allowed == {1, 2, 3, 4, 5}
    space.seed(5)
    assert drawn == [int(space.sample()) for _ in range(200)]
    only = np.eye(9, dtype=np.int8)[7]
    assert space.sample(only) == space.sample(mask=only) == 7
    assert space.sample(probability=only.astype(np.float64)) == 7


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            {"ally_0": 1, "ally_1": 6, "ally_2": 1},
            "ally_1 cannot perform action 6; available to it now: 1, 2, 3, 4, 5",
        ),
        ({"ally_0": -1, "ally_1": 1, "ally_2": 1}, "ally_0 cannot perform action -1; "),
        ({"ally_0": 1, "ally_1": 1, "ally_2": 9}, "ally_2 cannot perform action 9; "),
        (
            {"ally_0": 1, "ally_1": 1, "ally_2": 1.0},
            "the action of ally_2 must be an integer, not 1.0",
        ),
        ({"ally_1": 1}, "an action for every agent; ally_0, ally_2 has none"),
        (
            {"ally_0": 1, "ally_1": 1, "ally_2": 1, "enemy_0": 1},
            "an action for enemy_0, but now only ally_0, ally_1, ally_2 can act",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_and_nothing_is_played(
    actions: dict[str, Any], message: str
) -> None:
    env = parallel_env("3m", seed=1)
    env.reset()
    before = env.state()
    with pytest.raises(ValueError, match=re.escape(message)):
        env.step(actions)
    assert env.batch.episode_steps[0] == 0
    assert np.array_equal(before, env.state())
    env.step(dict.fromkeys(env.agents, np.array(1, np.int32)))


def test_a_negative_action_does_not_count_from_the_end() -> None:
    env = parallel_env("3m", seed=1)
    observations, _ = env.reset()
    while not observations["ally_0"]["action_mask"][8]:
        observations = env.step(charge(observations, env.agents)).observations
    with pytest.raises(ValueError, match="ally_0 cannot perform action -1; "):
        env.step({**charge(observations, env.agents), "ally_0": -1})


def test_an_enemys_illegal_action_names_the_enemy() -> None:
    env = parallel_env("3m", opponents="policy", seed=1)
    env.reset()
    with pytest.raises(ValueError, match="enemy_2 cannot perform action 0; available"):
        env.step({**dict.fromkeys(env.agents, 1), "enemy_2": 0})


def test_no_step_without_a_battle() -> None:
    env = parallel_env("3m", seed=1)
    for ask in (lambda: env.step({}), env.state):
        with pytest.raises(RuntimeError, match="call reset"):
            ask()
    play_out(env, stand, 1)
    assert env.agents == []
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step({})
    env.reset()
    assert env.agents == env.possible_agents


def test_the_dead_stay_or_leave_and_the_battle_is_the_same() -> None:
    stay = play_out(parallel_env("8m"), charge, 5)
    leave = play_out(parallel_env("8m", dead_agents="leave"), charge, 5)
    assert len(stay) == len(leave)
    gone: set[str] = set()
    early = 0
    for kept, left in zip(stay, leave, strict=True):
        assert set(kept.rewards) == {f"ally_{number}" for number in range(8)}
        assert set(left.rewards) == set(kept.rewards) - gone
        for agent in left.rewards:
            assert left.rewards[agent] == kept.rewards[agent]
            for field, shown in left.observations[agent].items():
                assert np.array_equal(shown, kept.observations[agent][field])
        dead = {agent for agent, info in kept.infos.items() if not info["alive"]}
        for agent in dead:
            assert np.flatnonzero(kept.infos[agent]["action_mask"]).tolist() == [0]
        last = kept is stay[-1]
        assert set(kept.terminations.values()) == {last}
        assert left.terminations == {agent: last or agent in dead for agent in left.rewards}
        early += len(dead - gone) if not last else 0
        gone |= dead
        assert not any(kept.truncations.values()) | any(left.truncations.values())
    assert early > 0
    assert total(stay, "ally_0") == pytest.approx(total(stay, "ally_7"))
    some = min(gone)
    assert total(leave, some) < total(stay, some)


def test_the_time_limit_is_a_truncation() -> None:
    steps = play_out(parallel_env("2s_vs_1sc"), stand, 1)
    assert len(steps) == 300
    assert not any(any(step.truncations.values()) for step in steps[:-1])
    assert not any(any(step.terminations.values()) for step in steps)
    assert set(steps[-1].truncations.values()) == {True}


def test_a_smaller_limit_truncates_what_is_undecided_then() -> None:
    length = len(play_out(parallel_env("3m"), charge, 1))
    cut = play_out(parallel_env("3m", max_cycles=length - 1), charge, 1)
    assert len(cut) == length - 1
    assert set(cut[-1].truncations.values()) == {True}
    assert set(cut[-1].terminations.values()) == {False}
    for limit in (length, 1000):
        decided = play_out(parallel_env("3m", max_cycles=limit), charge, 1)
        assert len(decided) == length
        assert set(decided[-1].truncations.values()) == {False}
        assert set(decided[-1].terminations.values()) == {True}
    assert len(play_out(parallel_env("2s_vs_1sc", max_cycles=1000), stand, 1)) == 300


def test_an_agent_that_dies_as_the_time_runs_out_is_terminated_and_the_others_truncated() -> None:
    def deaths(step: Stepped) -> int:
        return sum(not info["alive"] for info in step.infos.values())

    steps = play_out(parallel_env("8m"), charge, 5)
    first = next(index for index, step in enumerate(steps) if deaths(step))
    env = parallel_env("8m", max_cycles=first + 1, dead_agents="leave")
    last = play_out(env, charge, 5)[-1]
    assert sum(last.terminations.values()) == deaths(steps[first])
    assert all(last.terminations[agent] != last.truncations[agent] for agent in last.rewards)
    assert env.agents == []


def test_rewards_of_both_sides() -> None:
    own = play_out(parallel_env("3m", opponents="policy"), charge, 2)
    against = play_out(
        parallel_env("3m", opponents="policy", opponent_reward="zero_sum"), charge, 2
    )
    assert total(own, "ally_0") == total(own, "ally_2") == total(against, "ally_1") > 0
    assert total(own, "enemy_0") == total(own, "enemy_2") > 0
    assert total(against, "enemy_0") == -total(against, "ally_0")
    won = {own[-1].infos[agent]["battle_won"] for agent in ("ally_0", "ally_1", "ally_2")}
    lost = {own[-1].infos[agent]["battle_won"] for agent in ("enemy_0", "enemy_1", "enemy_2")}
    assert len(won) == len(lost) == 1
    assert won != lost


def test_copies_go_on_with_the_same_battle() -> None:
    env = parallel_env("MMM", opponents="policy", seed=1)
    env.reset()
    for number, agent in enumerate(env.agents):
        env.action_space(agent).seed(number)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(30):
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        step = env.step(actions)
        for twin in twins:
            assert actions == {a: twin.action_space(a).sample() for a in twin.agents}
            assert twin.step(actions).rewards == step.rewards
            assert np.array_equal(twin.state(), env.state())


def test_nothing_shown_changes_later() -> None:
    env = parallel_env("3m", seed=1)
    observations, infos = env.reset()
    state = env.state()
    kept = copy.deepcopy((observations, state))
    latest = observations
    for _ in range(10):
        latest = env.step(charge(latest, env.agents)).observations
    for agent, shown in kept[0].items():
        assert np.array_equal(shown["observation"], observations[agent]["observation"])
        assert np.array_equal(shown["action_mask"], observations[agent]["action_mask"])
        assert not np.array_equal(shown["observation"], latest[agent]["observation"])
    assert np.array_equal(kept[1], state)
    assert not np.array_equal(state, env.state())
    observations["ally_0"]["action_mask"][:] = 0
    assert infos["ally_0"]["action_mask"].any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"map_name": "3n"}, UnknownMapError, "did you mean 3m"),
        ({"seed": 1.5}, ValueError, "seed must be an integer, not 1.5"),
        ({"max_cycles": 0}, ValueError, "max_cycles must be at least 1 environment step, not 0"),
        ({"render_mode": "ansi"}, ValueError, "'human', 'rgb_array' or None, not 'ansi'"),
        ({"dead_agents": "go"}, ValueError, "dead_agents must be 'stay' or 'leave', not 'go'"),
        ({"opponents": "me"}, ValueError, "'computer' or 'policy', not 'me'"),
        ({"opponent_reward": "both"}, ValueError, "'own' or 'zero_sum', not 'both'"),
        ({"opponent_reward": "zero_sum"}, ValueError, "needs opponents='policy'"),
        ({"heuristic_ai": True}, TypeError, "parallel_env has no flag heuristic_ai; flags: obs_"),
        ({"obs_all": True}, TypeError, "parallel_env has no flag obs_all; flags: "),
        ({"step_mul": 0}, ValueError, "step_mul must be 1 to 10,000 game loops, not 0"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        parallel_env(**arguments)


def test_flags_reach_the_battle() -> None:
    env = parallel_env("3m", obs_last_action=True, state_last_action=False, reward_sparse=True)
    assert env.batch.observation_size == 48
    assert env.state_space.shape == (21,)
    steps = play_out(env, stand, 1)
    assert [step.rewards["ally_0"] for step in steps] == [0.0] * (len(steps) - 1) + [-20 / 365]


def test_pictures() -> None:
    env = parallel_env("3m", render_mode="rgb_array", window_size_x=400)
    with pytest.raises(RuntimeError, match="call reset first"):
        env.render()
    pictures = collect_render_results(parallel_to_aec(env))
    for drawn in pictures:
        assert drawn.dtype == np.uint8
        assert drawn.shape == pictures[0].shape
        assert drawn.shape[1:] == (300, 3)
    assert not np.array_equal(pictures[0], pictures[-1])
    env.close()


def test_pictures_are_those_of_the_class_with_smacs_interface() -> None:
    env = parallel_env("3m", seed=4, render_mode="rgb_array", window_size_x=400)
    single = SkirmishEnv("3m", seed=4, window_size_x=400)
    for _ in range(2):
        observations, _ = env.reset()
        single.reset()
        while env.agents:
            drawn, expected = env.render(), single.render("rgb_array")
            assert drawn is not None
            assert expected is not None
            assert np.array_equal(drawn, expected)
            actions = charge(observations, env.agents)
            observations = env.step(actions).observations
            single.step(actions.values())


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = parallel_env("3m")
    env.reset()
    with pytest.warns(UserWarning, match="make the environment with render_mode='rgb_array'"):
        assert env.render() is None
    env.close()


def test_a_watched_battle_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    env = parallel_env("3m", render_mode="human")
    with pytest.raises(RuntimeError, match="cannot open a window"):
        env.reset()
    env.close()


def test_metadata() -> None:
    env = parallel_env("3m")
    assert env.metadata == {
        "name": "dm2_skirmish_v0",
        "render_modes": ["human", "rgb_array"],
        "render_fps": 3,
        "is_parallelizable": True,
    }
    assert str(env) == "dm2_skirmish_v0"
    assert parallel_env("3m", step_mul=2).metadata["render_fps"] == 11
    assert parallel_env("3m", step_mul=100).metadata["render_fps"] == 1


def test_importing_the_simulator_imports_neither() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from dm2_dist.envs.skirmish import SkirmishEnv, parallel_env\n"
            "print(sorted({'pettingzoo', 'gymnasium', 'PIL'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["pettingzoo", "gymnasium"])
def test_without_the_extra_the_sentence_names_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = f"parallel_env needs {package}; install dm2-dist with the extra [pettingzoo]"
    with pytest.raises(ImportError, match=re.escape(message)):
        parallel_env("3m")


def test_pictures_need_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("dm2_dist.envs.skirmish.pictures.picture", raising=False)
    monkeypatch.delitem(sys.modules, "dm2_dist.envs.skirmish.pictures.picture", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeError, match=r"render needs PIL.*extra \[pictures\]"):
        parallel_env("3m", render_mode="rgb_array")


PAGE = (ROOT / "docs/pettingzoo.md").read_text()


def test_the_page_has_two_examples() -> None:
    assert PAGE.count("```python\n") == 2


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_examples_of_the_page_run(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example, "docs/pettingzoo.md", "exec"), {})
    assert "won: " in capsys.readouterr().out


def test_the_registration_on_the_page_works() -> None:
    call = re.search(r"`pettingzoo\.register\((.*?)\)`", PAGE, flags=re.DOTALL)
    assert call is not None
    pettingzoo.register(*re.findall(r'"(.*?)"', call[1]))
    env = pettingzoo.make("parallel", "dm2/Skirmish-v0", map_name="8m")
    assert len(env.possible_agents) == 8
