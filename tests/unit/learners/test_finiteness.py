"""Which steps were skipped, and when that is too many."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.functional import value_norm
from learners import finiteness
from learners.finiteness import NonFiniteError, Skips


def flags(text):
    return torch.tensor([float(letter == "x") for letter in text])


def read(skips, critic, *, iteration=0, largest=1.0, **metrics):
    named = {name: torch.tensor(value) for name, value in metrics.items()}
    trained = {"policy": [torch.ones(2)], "critic": [torch.tensor([0.0, largest])]}
    both = {"policy_skipped": flags("." * len(critic)), "critic_skipped": flags(critic)}
    return skips.read(named | both, trained, iteration)


@given(st.lists(st.text(alphabet=".x", min_size=1, max_size=8), min_size=1, max_size=6))
def test_three_in_a_row_end_the_run_wherever_iterations_are_cut(iterations):
    skips, so_far = Skips(agent=2), ""
    for iteration, steps in enumerate(iterations):
        so_far += steps
        if "xxx" in so_far:
            with pytest.raises(NonFiniteError, match=f"agent 2, iteration {iteration}: the critic"):
                read(skips, steps, iteration=iteration)
            return
        assert read(skips, steps, iteration=iteration)["skipped_steps"] == steps.count("x")
        assert int(skips.state()["critic"]) == len(so_far) - len(so_far.rstrip("x"))
        assert int(skips.state()["policy"]) == 0


@pytest.mark.parametrize("largest", [math.inf, -math.inf, math.nan])
def test_a_network_that_has_overflowed_is_named(largest):
    with pytest.raises(NonFiniteError, match=r"agent 0, iteration 4: .* critic's parameters"):
        read(Skips(agent=0), "..", iteration=4, largest=largest)


def test_numbers_that_are_not_finite_are_not_reported():
    values = read(Skips(agent=0), "..", loss=1.5, approx_kl=math.inf, variance=math.nan)
    assert values == {"loss": 1.5, "skipped_steps": 0.0}


@given(st.text(alphabet=".x", min_size=1, max_size=9), st.text(alphabet=".x", max_size=9))
def test_means_are_over_the_steps_that_were_made(policy, critic):
    steps = []
    for name, text in (("policy", policy), ("critic", critic)):
        for number, letter in enumerate(text):
            value = torch.tensor(math.nan if letter == "x" else float(number))
            steps.append({f"{name}_loss": value, f"{name}_skipped": flags(letter)[0]})
    means = finiteness.means(steps)
    for name, text in (("policy", policy), ("critic", critic)):
        made = [number for number, letter in enumerate(text) if letter == "."]
        if not text:
            assert f"{name}_loss" not in means
        elif made:
            assert float(means[f"{name}_loss"]) == pytest.approx(sum(made) / len(made))
        else:
            assert math.isnan(means[f"{name}_loss"])
        if text:
            assert torch.equal(means[f"{name}_skipped"], flags(text))


def test_value_statistics_take_finite_returns_only():
    old = value_norm.update(value_norm.initial(torch.device("cpu")), torch.tensor([1.0, 2.0]))
    good = value_norm.update(old, torch.tensor([3.0]))
    assert all(map(torch.equal, finiteness.newer(old, good), good))
    for bad in (math.nan, math.inf):
        broken = value_norm.update(old, torch.tensor([3.0, bad]))
        assert all(map(torch.equal, finiteness.newer(old, broken), old))
