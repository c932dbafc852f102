"""The short way to a scrape's text says what the long way through prometheus_client says."""

import math

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import parser

from monitoring import catalogue
from monitoring.exposition import number
from monitoring.metrics import ActorMetrics, HeadMetrics, LearnerMetrics
from monitoring.samples import Samples

_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
_amounts = st.one_of(
    st.integers(0, 2**60), st.floats(0, 1e300), st.sampled_from([0.0, 1e6, 1e16, math.inf])
)


def read(text: bytes) -> dict[str, tuple[str, str, list[tuple[object, ...]]]]:
    """Families by name: kind, help, and their samples; those of the process change by themselves.

    NOTE: not a number is written out, as it does not equal itself.
    """
    return {
        family.name: (
            family.type,
            family.documentation,
            [
                (s.name, tuple(sorted(s.labels.items())), repr(s.value) if _moves(s.name) else "")
                for s in family.samples
            ],
        )
        for family in parser.text_string_to_metric_families(text.decode())
    }


def _moves(name: str) -> bool:
    """Whether it moves only when somebody moves it."""
    return not name.startswith("process_") and "phase_seconds" not in name


def assert_same(source: Samples) -> None:
    short, long = read(source.text()), read(prometheus_client.generate_latest(source.registry))
    assert short == long
    assert "process_resident_memory_bytes" in short


@given(
    run_id=_texts,
    name=_texts,
    statistics=st.dictionaries(_texts, st.floats(), max_size=8),
    lags=st.lists(st.integers(0, 100), max_size=20),
    reasons=st.dictionaries(_texts, st.integers(0, 2**60), max_size=5),
    amount=_amounts,
)
@settings(deadline=None, max_examples=15)
def test_every_sample_is_the_same(
    run_id: str,
    name: str,
    statistics: dict[str, float],
    lags: list[int],
    reasons: dict[str, int],
    amount: float,
) -> None:
    learner = LearnerMetrics(run_id, 3)
    learner.iteration(2, statistics)
    learner.lag(lags, lags)
    for reason, count in reasons.items():
        learner.dropped(reason, count)
    learner._set("dm2_learner_trajectories_buffered", amount)
    actor = ActorMetrics(run_id, name)
    actor.policies([1, 2, 3])
    head = HeadMetrics(run_id, name)
    head.losses(reasons, 3)
    head.disk(2**50, 2**60)
    for source in (learner, actor, head):
        assert_same(source)
        assert_same(source)  # with what was kept from the scrape before


def test_what_changes_between_scrapes_is_not_kept() -> None:
    learner = LearnerMetrics("r", 0)
    for count in range(3):
        learner.trained(count)
        learner.lag([count], [])
        learner.iteration(count, {f"number_{count}": count})
        assert_same(learner)


@pytest.mark.parametrize("text", ["a\\b", 'a"b', "a\nb", "ä", "\\n", ""])
def test_label_values_come_back_as_they_were(text: str) -> None:
    labels = {
        sample.labels["run_id"]
        for family in parser.text_string_to_metric_families(ActorMetrics(text, "a").text().decode())
        for sample in family.samples
        if family.name.startswith("dm2_")
    }
    assert labels == {text}


@given(st.floats() | st.integers(-(2**60), 2**60))
def test_a_number_comes_back_as_it_was(value: float) -> None:
    back = float(number(value))
    assert back == float(value) or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_written_as_prometheus_writes_it(value: float) -> None:
    assert number(value) == {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")


def test_every_row_of_the_table_is_served() -> None:
    text = b"".join(
        source.text()
        for source in (ActorMetrics("r", "a"), LearnerMetrics("r", 0), HeadMetrics("r", "m"))
    ).decode()
    for row in catalogue.TABLE:
        assert f"# TYPE {row.name} {row.kind}\n" in text
