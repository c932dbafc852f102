"""The parts of a report: intervals, curves, the flow, and the log of restarts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import report_flow, report_plot, report_restarts, report_statistics
from monitoring.report_plot import Axes, Line, Rule
from monitoring.report_source import Summary


@pytest.mark.parametrize(
    ("wins", "episodes", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (32, 32, 0.8928, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_wilson_has_the_published_values(wins: int, episodes: int, low: float, high: float) -> None:
    found = report_statistics.wilson(wins / episodes, episodes)
    assert found == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_an_interval_is_around_its_rate(episodes: int, rate: float) -> None:
    low, high = report_statistics.wilson(rate, episodes)
    assert 0 <= low <= rate <= high <= 1


def test_the_interquartile_mean_cuts_a_quarter_at_either_end() -> None:
    values = np.array([[100.0], [1.0], [2.0], [-50.0]])
    assert report_statistics.interquartile_mean(values) == pytest.approx([1.5])
    five = np.arange(5.0)[:, None] ** 2
    inside = (0.75 * 1 + 1 * 4 + 0.75 * 9) / 2.5
    assert report_statistics.interquartile_mean(five) == pytest.approx([inside])


def test_the_bootstrap_draws_within_strata_and_repeats() -> None:
    strata = [np.array([[0.0], [0.0]]), np.array([[1.0], [1.0], [1.0], [1.0]])]
    low, high = report_statistics.stratified_bootstrap(strata, report_statistics.mean)
    assert low == pytest.approx([4 / 6])
    assert high == pytest.approx([4 / 6])
    runs = [np.linspace(0, 1, 20)[:, None]]
    first = report_statistics.stratified_bootstrap(runs, report_statistics.mean)
    again = report_statistics.stratified_bootstrap(runs, report_statistics.mean)
    assert [bound.tolist() for bound in first] == [bound.tolist() for bound in again]
    # The standard error of the mean of 20 is 0.0679: the interval is about 0.5 -+ 0.133.
    assert float(first[0][0]) == pytest.approx(0.5 - 0.133, abs=0.02)
    assert float(first[1][0]) == pytest.approx(0.5 + 0.133, abs=0.02)


def test_a_common_grid_is_where_all_curves_are_known() -> None:
    short = (np.array([0.0, 10.0]), np.array([0.0, 1.0]))
    long = (np.array([5.0, 20.0]), np.array([1.0, 4.0]))
    grid, values = report_statistics.common_grid([short, long], points=3)
    assert grid.tolist() == [5.0, 7.5, 10.0]
    assert values.tolist() == [[0.5, 0.75, 1.0], [1.0, 1.5, 2.0]]
    apart = (np.array([30.0]), np.array([1.0]))
    grid, values = report_statistics.common_grid([short, apart])
    assert grid.shape == (0,)
    assert values.shape == (2, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_thinning_keeps_the_mean_place_and_the_largest(values: list[float], points: int) -> None:
    y = np.array(values)
    x = np.arange(len(y), dtype=float)
    thin, means = report_statistics.thinned(x, y, points)
    assert len(thin) == len(means) <= max(points, 1)
    assert np.all(np.diff(thin) > 0)
    assert y.min() - 1e-6 <= means.min() <= means.max() <= y.max() + 1e-6
    _, peaks = report_statistics.thinned(x, y, points, largest=True)
    assert peaks.max() == y.max()


REASONABLE = st.floats(-1e99, 1e99, allow_subnormal=False)


@given(
    st.lists(st.tuples(REASONABLE, REASONABLE), min_size=1, max_size=8),
    st.booleans(),
    REASONABLE,
)
def test_every_curve_stays_inside_its_picture(
    points: list[tuple[float, float]], logarithmic: bool, rule: float
) -> None:
    x, y = (np.array(column) for column in zip(*sorted(points), strict=True))
    line = Line("a", x, y, band=(y - 1, y + 1))
    axes = Axes(logarithmic=logarithmic)
    picture = report_plot.chart("title", [line], axes, rules=[Rule("level", rule)])
    found = re.search(r'points="([^"]*)"', picture)
    assert found is not None
    for pair in found[1].split():
        across, down = map(float, pair.split(","))
        assert 0 <= across <= 420
        assert 0 <= down <= 230
    assert "nan" not in picture
    assert picture.count("<text") < 20


def test_the_picture_shows_where_the_points_are() -> None:
    line = Line("a", np.array([0.0, 100.0]), np.array([0.0, 1.0]))
    picture = report_plot.chart("title", [line], Axes(limits=(0, 1)))
    assert 'points="52.0,198.0 408.0,10.0"' in picture
    assert ">0.5</text>" in picture
    assert 'data-frame="0 100 0 1 52 12 10 32"' in picture
    assert "<title>title</title>" in picture


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234, "1234"), (50_000, "50 k"), (1.25e6, "1.25 M"), (2e-7, "2.0e-07"),
     (-0.01, "-0.01"), (1e30, "1.0e+30")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert report_plot.short(value) == text


def test_the_flow_is_as_wide_as_its_parts() -> None:
    summary = Summary(produced=1000, trained=700, dropped={"stale": 200}, lost={"actor_died": 100})
    found = report_flow.branches(summary)
    assert [(branch.kind, branch.count) for branch in found] == [
        ("trained", 700),
        ("dropped", 200),
        ("lost", 100),
    ]
    picture = report_flow.picture(summary)
    heights = [float(h) for h in re.findall(r'<rect[^>]*height="([\d.]+)"', picture)]
    assert heights == [105.0, 30.0, 15.0, 150.0]
    assert "dropped: stale" in picture


def test_what_is_unaccounted_for_is_a_branch_and_nothing_is_no_picture() -> None:
    missing = report_flow.branches(Summary(produced=10, trained=9, error=1))
    assert [branch.label for branch in missing] == ["trained on", "unaccounted for"]
    assert "<svg" not in report_flow.picture(Summary())


def test_restarts_are_read_from_text_and_from_json(tmp_path: Path) -> None:
    older = {"time": "2026-11-21T10:00:00.000", "level": "INFO", "event": "started"}
    ended = {"time": "2026-11-21T10:00:30.500", "event": "ended", "name": "learner-2"}
    ended |= {"exit_code": -11, "restarting": True}
    nested = {"time": "2026-11-21 10:01:00", "event": "ended"}
    nested |= {"fields": {"name": "actor-0", "exit_code": 3, "restarting": True}}
    text = "2026-11-21 10:02:00,000 INFO x ended name=head-0 exit_code=-9 restarting=True"
    calm = "2026-11-21 10:03:00,000 INFO x ended name=actor-1 exit_code=0 restarting=False"
    (tmp_path / "launcher.log.1").write_text(f"{json.dumps(older)}\n{json.dumps(ended)}\n")
    (tmp_path / "launcher.log").write_text(f"{json.dumps(nested)}\n{{broken\n{text}\n{calm}\n")
    found = report_restarts.read(tmp_path)
    assert found.span == 180
    assert [(event.seconds, event.name, event.cause) for event in found.events] == [
        (30.5, "learner-2", "killed by SIGSEGV"),
        (60, "actor-0", "exit code 3"),
        (120, "head-0", "killed by SIGKILL"),
    ]


def test_no_log_is_no_restart(tmp_path: Path) -> None:
    assert report_restarts.read(tmp_path / "logs").events == ()


def test_what_lies_beyond_the_axes_is_drawn_at_their_edge() -> None:
    line = Line("a", np.array([0.0, 100.0]), np.array([-3.0, 5.0]))
    picture = report_plot.chart("title", [line], Axes(limits=(0, 1)))
    assert 'points="52.0,198.0 408.0,10.0"' in picture
