import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.time_budget import TimeBudget, process_age

PHASES = ("wait", "work", "more")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def budget(clock: Clock, age: float = 0.0) -> TimeBudget:
    return TimeBudget(PHASES, clock, age)


def test_what_is_under_way_counts_already() -> None:
    clock = Clock()
    source = budget(clock, age=5.0)
    clock.now += 1.0
    source.enter("wait")
    clock.now += 2.0
    assert source.totals() == {"start": 6.0, "wait": 2.0, "work": 0.0, "more": 0.0, "other": 0.0}
    clock.now += 1.0
    source.enter("work")
    clock.now += 4.0
    assert source.named() == {"wait": 3.0, "work": 4.0, "more": 0.0}


def test_what_does_not_belong_is_refused() -> None:
    source = budget(Clock())
    with pytest.raises(AssertionError, match="no phase"):
        source.enter("lunch")


_seconds = st.floats(0.0, 1000.0)


@given(st.lists(st.tuples(st.sampled_from(PHASES), _seconds), max_size=20), _seconds)
def test_the_phases_sum_to_the_age_and_none_ever_falls(
    turns: list[tuple[str, float]], age: float
) -> None:
    clock = Clock()
    source = budget(clock, age)
    begun, before = clock.now - age, source.totals()
    for phase, seconds in turns:
        source.enter(phase)
        clock.now += seconds
        totals = source.totals()
        assert sum(totals.values()) == pytest.approx(clock.now - begun, abs=1e-6)
        assert all(totals[name] >= before[name] for name in totals)
        before = totals


def test_the_age_of_a_process_is_that_of_the_process_itself() -> None:
    began = time.monotonic()
    program = (
        "import time; time.sleep(0.5); from monitoring import time_budget;"
        "print(time_budget.process_age())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    lived = time.monotonic() - began
    assert 0.5 <= float(done.stdout) <= lived + 0.02
    assert process_age() > lived
