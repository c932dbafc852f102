"""Which stage is named, and what is said would move it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch import bottleneck
from launch.bottleneck import Pace

SLOW_LEARNERS = Pace(
    schedule="pipelined",
    cores=2,
    learners=5,
    threads=1,
    on_gpu=False,
    actors=2,
    playing=40_000.0,
    learning=2_000.0,
    whole=1_900.0,
    time_share={},
)
MANY_CORES = replace(SLOW_LEARNERS, cores=16, playing=320_000.0, learning=5_000.0, whole=4_900.0)
SLOW_ACTORS = replace(MANY_CORES, playing=1_000.0, whole=900.0, actors=16)


def shares(actor: dict[str, float], learner: dict[str, float]) -> dict[str, dict[str, float]]:
    return {"actor": actor, "learner": learner}


def test_two_halves_on_the_same_cores_add_their_work_up() -> None:
    assert SLOW_LEARNERS.ceiling == pytest.approx(1 / (1 / 40_000 + 1 / 2_000))
    # 5 of 16 cores learn; the others are enough for the actors.
    assert MANY_CORES.ceiling == 5_000.0
    assert replace(MANY_CORES, schedule="sync").ceiling < 5_000.0


SPEED = st.floats(1.0, 1e6)


@given(SPEED, SPEED, st.integers(1, 64), st.integers(1, 10), st.sampled_from(["sync", "async"]))
def test_nothing_is_faster_than_its_slower_half(playing, learning, cores, learners, schedule):
    pace = replace(
        SLOW_LEARNERS,
        playing=playing,
        learning=learning,
        cores=cores,
        learners=learners,
        schedule=schedule,
    )
    assert 0 < pace.ceiling <= min(playing, learning) * (1 + 1e-9)
    assert pace.ceiling >= 1 / (1 / playing + 1 / learning) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("pace", "stage", "words"),
    [
        (SLOW_LEARNERS, "learners", ("20.0 times", "5 learners share 2 cores", "5,000")),
        (MANY_CORES, "learners", ("64.0 times", "--device cuda")),
        (replace(MANY_CORES, on_gpu=True), "learners", ("a GPU for each learner",)),
        (SLOW_ACTORS, "actors", ("5.0 times", "2,000")),
        (replace(SLOW_ACTORS, actors=4), "actors", ("--actors 16",)),
        (
            replace(SLOW_LEARNERS, schedule="sync", playing=4_000.0, whole=1_300.0),
            "turns",
            ("33%", "--schedule pipelined"),
        ),
        (
            replace(
                SLOW_LEARNERS,
                whole=1_000.0,
                time_share=shares({"play": 0.5, "send": 0.2}, {"checkpoint": 0.3}),
            ),
            "wire",
            ("48%", "20%", "episodes_per_ticket"),
        ),
        (
            replace(
                SLOW_LEARNERS,
                whole=1_000.0,
                time_share=shares({"play": 0.9, "send": 0.01}, {"checkpoint": 0.3}),
            ),
            "commit",
            ("30%", "--run-dir"),
        ),
        (
            replace(
                SLOW_LEARNERS,
                whole=1_000.0,
                time_share=shares(
                    {"play": 0.3, "wait_ticket": 0.1, "wait_parameters": 0.5, "settle": 0.1},
                    {"wait_data": 0.4},
                ),
            ),
            "hand-over",
            ("70%", "wait_parameters", "40%"),
        ),
    ],
)
def test_the_stage_and_the_mend_are_named(pace: Pace, stage: str, words: tuple[str, ...]) -> None:
    verdict = bottleneck.explain(pace)
    assert verdict.stage == stage
    for word in words:
        assert word in verdict.sentence
