"""The interface of SMAC's class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dm2_dist.envs.skirmish import SkirmishEnv, UnknownMapError


def finish(env: SkirmishEnv) -> tuple[float, dict[str, float | bool]]:
    """Let the team stop until the battle ends."""
    terminated = False
    while not terminated:
        reward, terminated, info = env.step([int(row[1]) for row in env.get_avail_actions()])
        assert all(isinstance(value, bool | int | float) for value in info.values())
    return reward, info


def test_everything_that_frameworks_read_before_the_first_reset() -> None:
    env = SkirmishEnv("3s_vs_4z", seed=1)
    assert env.get_env_info() == {
        "state_shape": 61,
        "obs_shape": 42,
        "n_actions": 10,
        "n_agents": 3,
        "episode_limit": 200,
        "agent_features": ["health", "energy/cooldown", "rel_x", "rel_y", "shield"],
        "enemy_features": ["health", "rel_x", "rel_y", "shield"],
    }
    assert env.get_obs_move_feats_size() == 4
    assert env.get_obs_enemy_feats_size() == (4, 6)
    assert env.get_obs_ally_feats_size() == (2, 6)
    assert env.get_obs_own_feats_size() == 2
    assert (env.get_ally_num_attributes(), env.get_enemy_num_attributes()) == (5, 4)
    assert env.get_total_actions() == 10
    assert env.get_stats()["win_rate"] == 0
    assert env.seed() == 1
    env.close()


def test_agents_are_numbered_by_place_and_units_are_fresh() -> None:
    env = SkirmishEnv("8m", seed=4)
    env.reset()
    places = [(unit.pos.x, unit.pos.y) for unit in env.agents.values()]
    assert places == sorted(places)
    assert all(np.hypot(x - 9, y - 16) < 2.5 for x, y in places)
    assert all(np.hypot(u.pos.x - 23, u.pos.y - 16) < 2.5 for u in env.enemies.values())
    assert {unit.health for unit in [*env.agents.values(), *env.enemies.values()]} == {45.0}
    assert len({unit.tag for unit in [*env.agents.values(), *env.enemies.values()]}) == 16
    assert env.get_unit_types() == [2000] * 8 + [48] * 8
    assert env.get_unit_by_id(2) == env.agents[2]


def test_state_dict_holds_the_state() -> None:
    env = SkirmishEnv("3s_vs_5z", seed=4, state_timestep_number=True)
    env.reset()
    for _ in range(5):
        env.step([1, 2, 3])
    parts: dict[str, Any] = env.get_state_dict()
    assert list(parts) == ["allies", "enemies", "last_action", "timestep"]
    flat = np.concatenate([np.ravel(part) for part in parts.values()])
    assert np.array_equal(flat.astype(np.float32), env.get_state())
    assert parts["last_action"].tolist() == np.eye(11)[[1, 2, 3]].tolist()


def test_visibility_matrix_is_symmetric_among_agents_and_follows_the_sight_range() -> None:
    env = SkirmishEnv("3m", seed=4)
    env.reset()
    assert (
        env.get_visibility_matrix().tolist()
        == (np.array([[0, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]) == 1).tolist()
    )
    for _ in range(6):
        env.step([1, 1, 1])
    assert env.get_visibility_matrix()[:, 3:].all()


@pytest.mark.parametrize("action", [0, 6, 9, -1])
def test_unavailable_action_is_an_assertion_error(action: int) -> None:
    env = SkirmishEnv("3m", seed=1)
    env.reset()
    with pytest.raises(AssertionError, match=f"Agent 1 cannot perform action {action}$"):
        env.step([1, action, 1])
    assert env._episode_steps == 0


def test_actions_of_any_kind_of_integer() -> None:
    env = SkirmishEnv("3m", seed=1)
    env.reset()
    env.step(np.ones(3, np.int32))
    env.step([np.float32(1.0), True, 1])
    assert env._episode_steps == 2
    with pytest.raises(ValueError, match="needs 3 actions, not 2"):
        env.step([1, 1])


def test_defeat_is_counted() -> None:
    env = SkirmishEnv("3m", seed=1)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step([1, 1, 1])
    env.reset()
    reward, info = finish(env)
    assert info == {"battle_won": False, "dead_allies": 3, "dead_enemies": 0, "truncated": False}
    assert reward == 0.0
    stats = env.get_stats()
    assert (stats["battles_game"], stats["battles_won"], stats["timeouts"]) == (1, 0, 0)
    assert env.defeat_counted
    assert env.death_tracker_ally.tolist() == [1, 1, 1]
    assert env.death_tracker_enemy.tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="call reset"):
        env.step([0, 0, 0])
    env.reset()
    assert not env.defeat_counted
    assert env.last_action.sum() == 0


@pytest.mark.parametrize("continuing", [False, True])
def test_time_out_is_terminated_for_smac_and_truncated_for_us(continuing: bool) -> None:
    env = SkirmishEnv("3m", seed=1, step_mul=1, continuing_episode=continuing)
    env.reset()
    _, info = finish(env)
    assert env._episode_steps == 60
    assert info["truncated"] is True
    assert env.truncated
    assert info.get("episode_limit", False) is continuing
    assert env.get_stats()["timeouts"] == 1
    assert env.get_stats()["battles_draw"] == 1
    env.reset()
    assert not env.truncated


def test_nobody_left_is_neither_a_win_nor_a_defeat() -> None:
    env = SkirmishEnv("bane_vs_bane", seed=1, heuristic_ai=True)
    for _ in range(40):
        env.reset()
        _, info = finish(env)
        if info["dead_allies"] == info["dead_enemies"] == 24:
            break
    else:
        pytest.fail("no battle of 40 ended with nobody left")
    assert info["battle_won"] is False
    assert not env.win_counted
    assert not env.defeat_counted
    stats = env.get_stats()
    assert stats["battles_game"] == env._episode_count
    assert stats["timeouts"] == 0


def test_a_team_of_its_medivac_only_has_lost() -> None:
    env = SkirmishEnv("MMM2", seed=1, heuristic_ai=True)
    for _ in range(40):
        env.reset()
        _, info = finish(env)
        if info["dead_allies"] == 9 and env.agents[9].health > 0:
            break
    else:
        pytest.fail("no battle of 40 ended with the medivac alone")
    assert info["battle_won"] is False
    assert info["truncated"] is False
    assert env.defeat_counted


def test_same_seed_plays_the_same_sequence_of_different_battles() -> None:
    first, second = (SkirmishEnv("3m", seed=8) for _ in range(2))
    starts = []
    for _ in range(2):
        (a, state_a), (b, state_b) = first.reset(), second.reset()
        assert np.array_equal(a, b)
        assert np.array_equal(state_a, state_b)
        starts.append(state_a)
        for _ in range(5):
            assert first.step([1, 2, 3]) == second.step([1, 2, 3])
    assert not np.array_equal(starts[0], starts[1])
    assert not np.array_equal(SkirmishEnv("3m").reset()[1], SkirmishEnv("3m").reset()[1])


def test_returned_arrays_belong_to_the_caller() -> None:
    env = SkirmishEnv("3m", seed=1)
    observations, state = env.reset()
    kept = [array.copy() for array in [*observations, state]]
    env.step([2, 3, 5])
    assert all(np.array_equal(a, b) for a, b in zip([*observations, state], kept, strict=True))


def test_bad_arguments() -> None:
    with pytest.raises(UnknownMapError, match="unknown map '9m'"):
        SkirmishEnv("9m")
    with pytest.raises(TypeError, match="no flag obs_everything; flags: obs_all_health"):
        SkirmishEnv("3m", obs_everything=True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="step_mul must be 1 to 10,000"):
        SkirmishEnv("3m", step_mul=0)
    assert SkirmishEnv("3m", difficulty="7", game_version="4.10", debug=True).n_agents == 3
