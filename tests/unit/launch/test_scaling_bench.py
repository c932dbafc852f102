"""What `dm2 bench scaling` makes of what it reads: rates, shares, ceilings, pictures."""

from pathlib import Path

import pytest

from dm2_dist import config as configuration
from dm2_dist.config import ConfigError
from dm2_dist.envs import sleep
from launch import arguments, cli, scaling_bench, scaling_picture, scaling_run, scaling_table
from launch.host import RunFailedError
from launch.scaling_bench import Ceilings, Scaling
from launch.scaling_run import Point, Reading

CEILINGS = Ceilings(learners=9000.0, simulator=70000.0, playing=4500.0, one_core=2250.0, cores=2)


def point(actors: int, rate: float, env: str = "sleep", pss: float = 500.0) -> Point:
    return Point(
        env=env,
        actors=actors,
        env_steps_per_second=rate,
        start_seconds=3.5,
        actor_shares={"wait_ticket": 0.1, "play": 0.9},
        learner_shares={"wait_data": 1.0},
        processor_seconds={"actor": 0.5, "learner": 0.2, "head": 0.1},
        processor_microseconds_per_step=1e6 * 0.5 / rate,
        lag_versions=1.0,
        pss_megabytes=pss,
        actor_uss_megabytes=27.0,
    )


def scaling(env: str = "sleep") -> Scaling:
    points = [point(1, 90.0, env), point(32, 2736.0, env, pss=500.0 + 31 * 30.0)]
    pause = 0.0101 if env == "sleep" else 0.0
    rows = [scaling_bench.row_of(each, points[0], CEILINGS, pause) for each in points]
    return Scaling(scaling_bench.config_of(env, "3m"), CEILINGS, pause, rows, 30.0)


def test_metrics_are_read_as_they_are_served() -> None:
    actor = "\n".join(
        (
            "# HELP dm2_actor_env_steps_total Steps played.",
            'dm2_actor_env_steps_total{actor="actor-3",run_id="a b"} 1250.0',
            'dm2_actor_phase_seconds_total{actor="actor-3",phase="play",run_id="a b"} 12.5',
            'dm2_actor_phase_seconds_total{phase="wait_ticket"} 0.5',
            "process_cpu_seconds_total 3.0",
        )
    )
    assert scaling_run.read_metrics("actor", actor) == Reading(
        "actor", 1250.0, {"play": 12.5, "wait_ticket": 0.5}
    )
    learner = (
        'dm2_learner_policy_lag_versions_bucket{agent="0",le="1.0"} 3.0\n'
        'dm2_learner_policy_lag_versions_sum{agent="0"} 3.0\n'
        'dm2_learner_policy_lag_versions_count{agent="0"} 4.0\n'
        'dm2_learner_phase_seconds_total{agent="0",phase="ppo"} 2.0\n'
    )
    read = scaling_run.read_metrics("learner", learner)
    assert (read.lag_sum, read.lag_count, read.phases) == (3.0, 4.0, {"ppo": 2.0})


def test_rate_is_steps_over_the_time_of_whole_tickets() -> None:
    changes = [
        Reading("actor", 100.0, {"play": 1.5, "wait_ticket": 0.5}),
        Reading("actor", 90.0, {"play": 1.0}),
        Reading("actor", 0.0, {}),  # has finished no ticket
        Reading("learner", 0.0, {"wait_data": 3.0, "ppo": 1.0}),
    ]
    assert scaling_run.rate_of(changes) == 50.0 + 90.0
    assert scaling_run.shares_of(changes, "actor") == {
        "play": pytest.approx(2.5 / 3.0),
        "wait_ticket": pytest.approx(0.5 / 3.0),
    }
    assert scaling_run.shares_of(changes, "learner") == {"wait_data": 0.75, "ppo": 0.25}
    assert scaling_run.shares_of(changes, "head") == {}


def test_lag_is_unknown_before_the_first_iteration() -> None:
    first, second = Reading("learner"), Reading("learner", lag_sum=3.0, lag_count=4.0)
    assert scaling_run.lag_of([first]) is None
    assert scaling_run.lag_of([first, second]) == 0.75


def test_sleeping_actors_are_limited_by_the_pause_until_the_cores_are_full() -> None:
    step = 1.0 / CEILINGS.one_core
    limit = scaling_bench.limit_of(8, CEILINGS, 0.010)
    assert limit == pytest.approx(8 / (0.010 + step))
    shared = 1.0 / (1.0 / CEILINGS.playing + 1.0 / CEILINGS.learners)
    assert scaling_bench.limit_of(256, CEILINGS, 0.010) == pytest.approx(shared)
    assert scaling_bench.limit_of(32, CEILINGS, 0.0) == pytest.approx(shared)
    assert scaling_bench.limit_of(1, CEILINGS, 0.0) == CEILINGS.one_core


def test_efficiency_is_of_n_times_one_actor() -> None:
    one, many = scaling().rows
    assert one.efficiency == 1.0
    assert many.efficiency == pytest.approx(0.95)
    alone = scaling_bench.row_of(point(32, 2736.0), point(2, 180.0), CEILINGS, 0.0101)
    assert alone.efficiency is None


@pytest.mark.parametrize("words", ["0", "1,x", "", "1,,2", "257", "-1"])
def test_numbers_of_actors_that_are_none_are_named(words: str) -> None:
    with pytest.raises(ConfigError, match="--actors"):
        scaling_bench.actor_counts(words)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seconds", "0"], "--seconds is 0"),
        (["--map", "nowhere"], "nowhere"),
        (["--env", "sleep", "--actors", "none"], "--actors"),
    ],
)
def test_what_cannot_be_measured_is_named(words: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        scaling_bench.main(words)


def test_numbers_of_actors_are_sorted() -> None:
    assert scaling_bench.actor_counts("32,1,8,8") == [1, 8, 32]


@pytest.mark.parametrize("env", ["skirmish", "sleep"])
def test_the_flags_of_a_run_give_its_configuration(env: str) -> None:
    config = scaling_bench.config_of(env, "5m_vs_6m")
    words = scaling_run.flags_of(config)
    parsed = arguments.parse(
        cli.ShowConfig, "dm2 show-config", words, cli.ShowConfig(cli.base_of(words))
    )
    assert configuration.to_json(parsed.run) == configuration.to_json(config)


def test_the_figures_say_which_game_was_played(capsys: pytest.CaptureFixture[str]) -> None:
    table = scaling_table.as_json(scaling())
    assert table["game"] == sleep.LABEL
    assert table["pss_megabytes_per_actor"] == 30.0
    assert [row["actors"] for row in table["points"]] == [1, 32]
    row = scaling_table.rows(scaling())[1]
    assert row.ratio == pytest.approx(table["points"][1]["ratio"])
    scaling_table.show(table)
    said = " ".join(capsys.readouterr().out.split())
    assert sleep.LABEL in said
    assert "2,736" in said
    assert "0.950" in said


def test_the_picture_repeats_and_shows_both_games(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tables = [scaling_table.as_json(scaling(env)) for env in ("skirmish", "sleep")]
    for name in ("a.svg", "b.svg"):
        scaling_picture.draw(tables, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(RunFailedError, match="cannot be drawn"):
        scaling_picture.draw(tables, tmp_path / "a.nothing")
