"""The plan of chaos: a pure function of the seed, with every role and every kind in it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch import chaos_plan
from launch.chaos_plan import Fault

seeds = st.integers(-(2**70), 2**70)
numbers = st.integers(0, 60)


@given(seeds, numbers, numbers)
def test_a_seed_has_one_plan(seed, kills, others):
    assert chaos_plan.make(seed, kills, others) == chaos_plan.make(seed, kills, others)


@given(seeds, st.integers(4, 60), st.integers(4, 60))
def test_a_plan_holds_what_was_asked_for(seed, kills, others):
    plan = chaos_plan.make(seed, kills, others)
    count = Counter(fault.kind for fault in plan)
    assert count["kill"] == kills
    assert count.total() == kills + others
    assert set(count) == {"kill", "stop", "slow", "partition", "garble"}
    killed = {fault.role for fault in plan if fault.kind == "kill"}
    assert killed == {"actor", "learner", "head", "launcher"}


@given(seeds, numbers, numbers)
def test_faults_come_in_order_within_the_training_and_end(seed, kills, others):
    plan = chaos_plan.make(seed, kills, others)
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    for fault in plan:
        assert 0 < fault.at < 1
        assert 0 <= fault.delay < 5
        assert (fault.seconds == 0) == (fault.kind == "kill")
        assert 0 <= fault.seconds <= 15


@given(seeds, numbers, numbers)
def test_only_those_who_listen_are_cut_off_or_fed_garbage(seed, kills, others):
    for fault in chaos_plan.make(seed, kills, others):
        if fault.kind in {"partition", "garble"}:
            assert fault.role in {"learner", "head"}
        if fault.kind in {"stop", "slow"}:
            assert fault.role != "launcher"


def test_seeds_differ():
    plans = {chaos_plan.make(seed, 8, 4) for seed in range(100)}
    assert len(plans) == 100


def test_every_role_is_killed_about_as_often_as_meant():
    roles = [f.role for seed in range(100) for f in chaos_plan.make(seed, 40, 0)]
    for role, share in chaos_plan.KILLED:
        assert roles.count(role) / len(roles) == pytest.approx(share, abs=0.06)


@given(st.floats(0, 1, exclude_max=True), st.lists(st.text(max_size=8), unique=True, max_size=40))
def test_the_victim_is_one_of_those_that_run(choice, names):
    fault = Fault("kill", "actor", choice, 0.5, 0.0, 0.0)
    victim = fault.victim(names)
    assert victim in names if names else victim is None
    assert victim == fault.victim(list(reversed(names)))
