from __future__ import annotations

from pathlib import Path

import pytest

from dm2_dist.envs.sc2_standin import fault
from dm2_dist.envs.sc2_standin.protocol import StandInError


def test_without_orders_nothing_goes_wrong() -> None:
    plan = fault.read({})
    assert not any(plan.strikes(name) for name in fault.NAMES)


def test_a_plan_is_read_from_the_environment() -> None:
    plan = fault.read({fault.FAULTS: " crash_at=7, slow_spawn=3 ,refuse_create,"})
    assert [plan.strikes_at("crash_at", number) for number in (6, 7, 8)] == [False, True, False]
    assert plan.strikes("slow_spawn")
    assert plan.value("slow_spawn") == 3
    assert plan.strikes("refuse_create")
    assert not plan.strikes("refuse_join")


def test_a_fault_from_a_request_on_strikes_at_its_first_chance_only() -> None:
    plan = fault.read({fault.FAULTS: "wipe_out_at=5"})
    assert [plan.strikes_from("wipe_out_at", number) for number in (4, 6, 7)] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("crash", "knows no fault 'crash'"),
        ("crash_at", "crash_at=N exits"),
        ("refuse_create=1", "refuse_create, without a value"),
        ("hang_at=soon", "must be a number"),
        ("hang_at=-1", "must be a number"),
        ("leak=nan", "must be a number"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(text: str, reason: str) -> None:
    with pytest.raises(StandInError, match=reason):
        fault.read({fault.FAULTS: text})


def test_a_fault_strikes_once_for_each_file(tmp_path: Path) -> None:
    once = tmp_path / "struck"
    orders = {fault.FAULTS: "refuse_create,refuse_join", fault.ONCE: str(once)}
    first, second = fault.read(orders), fault.read(orders)
    assert not first.strikes("leak")
    assert not once.exists()
    assert second.strikes("refuse_join")
    assert once.exists()
    assert not second.strikes("refuse_join")
    assert not first.strikes("refuse_create")
    once.unlink()
    assert first.strikes("refuse_create")
