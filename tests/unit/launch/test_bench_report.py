"""What `dm2 bench` makes of its rows, and how a run's speed is read from its record."""

import json
import math

import pytest

from dm2_dist import presets
from launch import bench, bench_report, halves, pipeline_bench
from launch.bench_report import Report
from launch.bench_row import Row
from launch.machine import Machine
from launch.simulator_bench import Speed

MACHINE = Machine((0, 1), math.inf, 2**33, 0, 5.0, "a processor")


def test_a_row_knows_its_ratio_where_it_has_a_limit() -> None:
    assert Row("a", 50.0, "x/s", 200.0, "the limit").ratio == 0.25
    assert Row("a", 50.0, "x/s", None, "").ratio is None


def test_every_part_has_the_same_envelope() -> None:
    rows = [Row("a", 50.0, "x/s", 200.0, "the limit"), Row("b", 1.0, "s", None, "")]
    report = Report("learner", MACHINE, rows, ["learners are the bottleneck"])
    found = json.loads(json.dumps(bench_report.as_json(report, presets.quickstart())))
    assert found["what"] == "learner"
    assert found["map"] == "3m"
    assert found["machine"]["cores"] == 2
    assert "busy" in found["warnings"][0]
    assert found["bottlenecks"] == ["learners are the bottleneck"]
    assert found["rows"] == [
        dict(name="a", value=50.0, unit="x/s", limit=200.0, limit_is="the limit", ratio=0.25),
        dict(name="b", value=1.0, unit="s", limit=None, limit_is="", ratio=None),
    ]


def test_the_table_shows_value_limit_ratio_and_sentences(capsys) -> None:
    rows = [Row("one", 12345.0, "x/s", 24690.0, "the top")]
    bench_report.show(Report("learner", MACHINE, rows, ["said [so]"]), presets.quickstart())
    shown = capsys.readouterr().out
    for word in ("12,345 x/s", "24,690", "0.50", "said [so]", "the machine is busy"):
        assert word in shown


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (0, "0"), (45.67, "45.7"), (1.234, "1.23")]
)
def test_small_figures_keep_their_digits(value: float, text: str) -> None:
    assert bench_report.number(value) == text
    assert bench_report.number(0.01234) == "0.0123"


def test_several_cores_stand_beside_as_many_times_one() -> None:
    def speed(cores: int, rate: float) -> Speed:
        return Speed("3m", "random", cores, 64, rate, rate, rate, rate)

    alone, together = bench._speed_rows([speed(1, 100.0), speed(4, 300.0)])
    assert alone.limit is None
    assert (together.limit, together.ratio) == (400.0, 0.75)


def line(version: int, agent: int, wall: float) -> dict:
    return {"version": version, "agent": agent, "env_steps": 100 * version, "wall_seconds": wall}


def test_an_iteration_counts_when_its_last_learner_has_committed_it() -> None:
    ends = {1: (5.0, 6.0), 2: (10.0, 12.0), 3: (15.0, 14.0), 4: (20.0, 23.0)}
    lines = [line(v, k, wall) for v, walls in ends.items() for k, wall in enumerate(walls)]
    assert pipeline_bench.steady_rate(lines) == pytest.approx(200 / (23.0 - 12.0))


def test_a_whole_run_is_long_enough_and_not_too_long() -> None:
    def count(learning: float) -> int:
        return pipeline_bench.iterations(halves.Halves(10_000.0, learning, 1000), seconds=5.0)

    assert [count(rate) for rate in (1.0, 400.0, 9000.0)] == [3, 6, 12]
