"""On a device with a memory of its own the host only hands out work.

The device `meta` knows shapes and holds no values, so whatever asks for a value, or makes a shape
of one, fails there: the same branches as on a GPU, on any machine.
"""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dm2_dist.sections import ImpalaConfig
from learners.recorded_step import RecordedStep

META = torch.device("meta")


class OnlyOn(TorchDispatchMode):
    """Refuses operations that see or make tensors elsewhere, or shapes that depend on values."""

    def __init__(self, device):
        super().__init__()
        self.device, self.operations = device, 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        made = operation(*arguments, **(keywords or {}))
        everything = torch.utils._pytree.tree_leaves((arguments, keywords, made))
        elsewhere = [t for t in everything if isinstance(t, torch.Tensor) and t.device != META]
        assert not elsewhere, f"{operation} reaches the host"
        waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        if operation is torch.ops.aten.index.Tensor:  # waits only where it is given a mask
            waits = set()
            assert all(index is None or index.dtype == torch.int64 for index in arguments[1])
        assert not waits & set(operation.tags), f"{operation} waits for the device"
        self.operations += 1
        return made


@pytest.fixture(params=[("ippo", 1), ("ippo", 3), ("dm2", 1), ("impala", 1), ("impala", 3)])
def learner(request, batches, configure, make_learner):
    algorithm, minibatches = request.param
    config = configure(algorithm, minibatches=minibatches)
    section = ImpalaConfig(minibatches=minibatches)
    config = dataclasses.replace(config, impala=section)
    return make_learner(config, 0, batches[1], META)


def test_an_update_reads_the_device_once_when_all_is_done(learner, batches):
    begun = []
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta") as caught:
        learner.update(batches[0], 0, begun.append)
    assert caught.traceback[-1].name == "_to_host"
    assert begun[-1] == "ppo"


def test_a_gradient_step_never_reaches_the_host(learner, batches, monkeypatch):
    taken, original = [], RecordedStep.take

    def take(step):
        with OnlyOn(META) as guard:
            numbers = original(step)
        taken.append(guard.operations)
        return numbers

    monkeypatch.setattr(RecordedStep, "take", take)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta"):
        learner.update(batches[0], 0)
    assert len(taken) >= 2
    assert min(taken) > 20


@pytest.mark.parametrize(
    "waits",
    [
        lambda values: values.sum().item(),
        lambda values: values[values > 0.0],
        lambda values: values + torch.ones(3).to(META),
        lambda values: torch.tensor([1.0]),
    ],
)
def test_the_guard_notices(waits):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), OnlyOn(META):
        waits(torch.ones(3, device=META))
