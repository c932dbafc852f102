import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import wording

_INNER_WIDTH = 76


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00"), (9.9, "0:09"), (192.0, "3:12"), (3599.9, "59:59"), (3722.0, "1:02:02")],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (None, "-"),
        (0.0, "0 %"),
        (0.001, "1 %"),
        (0.844, "84 %"),
        (0.999, "99 %"),
        (1.0, "100 %"),
    ],
)
def test_percent(fraction: float | None, text: str) -> None:
    assert wording.percent(fraction) == text


def test_counts_leave_out_zeros_and_put_the_largest_first() -> None:
    assert wording.counts({"corrupt": 1, "stale": 4000, "schema": 0}) == "stale 4,000, corrupt 1"
    assert wording.counts({"schema": 0}) == ""


def test_sparkline_spans_zero_to_one_and_keeps_the_newest() -> None:
    assert wording.sparkline([0.0, 0.5, 1.0], 10) == "▁▅█"
    assert wording.sparkline([0.0, 0.5, 1.0], 2) == "▅█"


def test_activity_names_what_took_longest() -> None:
    assert wording.activity({"wait_data": 1.0, "ppo": 3.0}) == "ppo 75 %"
    assert wording.activity({"wait_data": 9.0, "ppo": 1.0}) == "collect 90 %"
    assert wording.activity({"checkpoint": 2.0}) == "commit 100 %"
    assert wording.activity({"ppo": 0.0}) == "idle"
    assert wording.activity({}) == "idle"


def actors(wait: float, play: float, send: float = 0.0) -> dict[str, float]:
    return {"wait_ticket": wait, "play": play, "send": send}


def learner(wait: float) -> dict[str, float]:
    return {"wait_data": wait, "ppo": 1.0 - wait}


def test_busy_learners_are_the_bottleneck() -> None:
    assert wording.bottleneck(actors(0.6, 0.4), [learner(0.03)] * 3, "pipelined") == (
        "learners are the bottleneck: busy 97 % of the time, actors wait 60 %"
    )


def test_waiting_for_parameters_and_settling_count_as_waiting() -> None:
    phases = {"wait_ticket": 1.0, "wait_parameters": 2.0, "settle": 3.0, "play": 4.0}
    assert wording.bottleneck(phases, [learner(0.0)], "pipelined").endswith("actors wait 60 %")


def test_one_slow_learner_is_told_from_all() -> None:
    sentence = wording.bottleneck(
        actors(0.5, 0.5), [learner(0.7), learner(0.05), learner(0.6)], "sync"
    )
    assert sentence == ("one learner is the bottleneck: busy 95 %, others 40 %, actors wait 50 %")


def test_busy_actors_are_the_bottleneck() -> None:
    assert wording.bottleneck(actors(0.05, 0.95), [learner(0.7), learner(0.5)], "sync") == (
        "actors are the bottleneck: they play 95 % of the time, learners wait 60 %"
    )


def test_a_slow_wire_is_the_bottleneck() -> None:
    assert wording.bottleneck(actors(0.1, 0.4, 0.5), [learner(0.5)], "pipelined") == (
        "the wire is the bottleneck: actors send 50 %, learners wait 50 %"
    )


def test_sync_takes_turns() -> None:
    assert wording.bottleneck(actors(0.5, 0.5), [learner(0.5)], "sync") == (
        "actors and learners take turns: actors wait 50 %, learners wait 50 %"
    )
    assert wording.bottleneck(actors(0.5, 0.5), [learner(0.5)], "pipelined") == (
        "nobody is busy all the time: actors wait 50 %, learners wait 50 %"
    )


def test_both_busy_is_balanced() -> None:
    assert wording.bottleneck(actors(0.1, 0.9), [learner(0.1)], "pipelined") == (
        "well balanced: actors play 90 %, learners work 90 %"
    )


@pytest.mark.parametrize(
    ("actor", "learners"),
    [
        ({}, [{"ppo": 1.0}]),
        ({"play": 0.0}, [{"ppo": 1.0}]),
        ({"play": 1.0}, []),
        ({"play": 1.0}, [{}]),
    ],
)
def test_nothing_is_claimed_without_data(
    actor: dict[str, float], learners: list[dict[str, float]]
) -> None:
    assert wording.bottleneck(actor, learners, "sync") == "too early to name the bottleneck"


_seconds = st.floats(0.0, 1e6)
_actor = st.fixed_dictionaries(dict.fromkeys(("wait_ticket", "play", "send"), _seconds))
_learners = st.lists(
    st.fixed_dictionaries(dict.fromkeys(("wait_data", "ppo"), _seconds)), max_size=8
)


@given(_actor, _learners, st.sampled_from(["sync", "pipelined"]))
def test_the_sentence_always_fits_its_line(
    actor: dict[str, float], learners: list[dict[str, float]], schedule: str
) -> None:
    assert 0 < len(wording.bottleneck(actor, learners, schedule)) <= _INNER_WIDTH


@given(st.dictionaries(st.text(max_size=3), st.floats(0.0, 1e6), max_size=6))
def test_shares_are_parts_of_one(phases: dict[str, float]) -> None:
    parts = wording.shares(phases)
    if sum(phases.values()) == 0:
        assert parts == {}
    else:
        assert parts.keys() == phases.keys()
        assert sum(parts.values()) == pytest.approx(1.0)
