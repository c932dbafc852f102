"""Updates that went wrong, on disk: they repeat bit for bit, and there are only so many."""

import dataclasses
import json
import os

import numpy as np
import pytest
import safetensors.torch

from learners import post_mortem
from learners.finiteness import NonFiniteError
from learners.post_mortem import PostMortems, Update


def huge(batch, field="reward", value=3e38):
    """The batch with numbers that a wire lets through and arithmetic does not."""
    array = getattr(batch, field).copy()
    array[::2] = value
    return dataclasses.replace(batch, **{field: array})


def folders(path):
    return sorted(folder.name for folder in path.iterdir())


def test_a_saved_update_repeats_bit_for_bit(tmp_path, batches, configure, make_learner):
    config = configure("dm2", epochs=3)
    learner = make_learner(config, 0, batches[1])
    learner.update(batches[0], 0)
    state = safetensors.torch.save(learner.state())
    broken = huge(batches[0])
    with pytest.raises(NonFiniteError) as first:
        learner.update(broken, 1)
    said = PostMortems(tmp_path / "kept", 0).save(Update(state, broken, 1), str(first.value))
    folder = tmp_path / "kept" / "agent_0-iteration_00000001"
    assert str(folder) in said
    loaded, batch, iteration = post_mortem.load(folder)
    again = make_learner(config, 0, batches[1])
    again.load(loaded)
    with pytest.raises(NonFiniteError) as second:
        again.update(batch, iteration)
    assert str(first.value) == str(second.value)
    assert again.parameters_sha256() == learner.parameters_sha256()
    assert json.loads((folder / "facts.json").read_text())["reason"] == str(first.value)


def test_the_newest_few_are_kept_of_each_agent(tmp_path, batches):
    for agent in (0, 1):
        kept = PostMortems(tmp_path / "kept", agent)
        for iteration in range(7):
            kept.save(Update(b"state", batches[0], iteration), "reason")
    names = [f"agent_{k}-iteration_{i:08d}" for k in (0, 1) for i in (3, 4, 5, 6)]
    assert folders(tmp_path / "kept") == names


def test_the_same_update_may_be_saved_again(tmp_path, batches):
    kept = PostMortems(tmp_path / "kept", 0)
    for reason in ("one", "two"):
        kept.save(Update(b"state", batches[0], 3), reason)
    folder = tmp_path / "kept" / "agent_0-iteration_00000003"
    assert folders(tmp_path / "kept") == [folder.name]
    assert json.loads((folder / "facts.json").read_text())["reason"] == "two"


def test_what_is_too_large_is_not_saved(tmp_path, batches):
    said = PostMortems(tmp_path / "kept", 0).save(Update(bytes(257 * 2**20), batches[0], 0), "")
    assert "was not saved" in said
    assert not (tmp_path / "kept").exists()


def test_a_disk_that_does_not_take_it_is_named(tmp_path, batches):
    (tmp_path / "kept").write_text("a file")
    said = PostMortems(tmp_path / "kept", 0).save(Update(b"", batches[0], 0), "")
    assert f"could not be saved to {tmp_path / 'kept'}" in said


def test_a_disk_that_fails_in_the_middle_keeps_nothing_half(tmp_path, batches, monkeypatch):
    calls = []
    original = os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    said = PostMortems(tmp_path / "kept", 0).save(Update(b"state", batches[0], 0), "")
    assert "No space left on device" in said
    assert folders(tmp_path / "kept") == []


def test_arrays_come_back_as_they_were(tmp_path, batches):
    PostMortems(tmp_path, 1).save(Update(safetensors.torch.save({}), batches[0], 9), "")
    _, batch, iteration = post_mortem.load(tmp_path / "agent_1-iteration_00000009")
    assert iteration == 9
    for field in dataclasses.fields(batch):
        assert np.array_equal(getattr(batch, field.name), getattr(batches[0], field.name))
