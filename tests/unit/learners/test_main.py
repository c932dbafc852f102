"""What a learner process makes of its end."""

import numpy as np
import pytest
import safetensors.torch
import torch

from dm2_dist import checkpoint
from learners import main

TOO_MUCH = 1 << 50


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: bytes(TOO_MUCH),
        lambda: np.empty(TOO_MUCH, dtype=np.float64),
        lambda: torch.empty(TOO_MUCH),
    ],
)
def test_failed_allocations_are_told_from_other_errors(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as error:
        allocate()
    assert main.out_of_memory(error.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(28, "full"), KeyError(1)])
def test_other_errors_are_not_taken_for_it(error):
    assert not main.out_of_memory(error)


def test_a_commit_holds_all_that_an_update_depends_on(tmp_path, configure, make_learner, batches):
    """Random states are not in it because there are none: every draw is keyed by the iteration."""
    learner = make_learner(configure("dm2"), 0, batches[0])
    learner.update(batches[0], 0)
    state = safetensors.torch.save(learner.state())
    checkpoint.save(tmp_path, 1, {}, {"state": state})
    found = safetensors.torch.load(checkpoint.load_newest(tmp_path).files["state"])
    groups = {name.split(".")[0] for name in found}
    networks = {"policy", "critic", "discriminator"}
    optimisers = {f"{network}_optimiser" for network in networks}
    assert groups == networks | optimisers | {"value_statistics", "skips"}
    for network in networks:
        parameters = {n.removeprefix(network) for n in found if n.split(".")[0] == network}
        for moment in ("step", "exp_avg", "exp_avg_sq"):
            assert {f"{network}_optimiser{n}.{moment}" for n in parameters} <= set(found)
