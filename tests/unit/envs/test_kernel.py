"""Compiled code: that it cannot allocate, what its cache depends on, and who fills that."""

from __future__ import annotations

import shutil
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from dm2_dist.envs.skirmish import SkirmishBatch, calibration
from dm2_dist.envs.skirmish.kernels import compiled as kernel


class Entry:
    """Stands in for a compiled entry point."""

    def __init__(self, cache: Path) -> None:
        self.stats = SimpleNamespace(cache_path=str(cache))

    def __call__(self) -> None: ...


def test_the_cache_key_changes_with_any_source_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Path(kernel.__file__).parent
    for path in sources.glob("*.py"):
        shutil.copy(path, tmp_path)
    before = kernel.source_digest()
    monkeypatch.setattr(kernel, "__file__", str(tmp_path / "kernel.py"))
    assert kernel.source_digest() == before
    with (tmp_path / "target.py").open("a") as file:
        file.write("\n")
    assert kernel.source_digest() != before


def test_one_caller_compiles_and_the_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_compiled", set())
    inside, leave, waiting = threading.Event(), threading.Event(), threading.Event()
    order: list[str] = []

    def compile_slowly() -> None:
        with kernel.first_call(Entry(tmp_path), 1, "one"):
            inside.set()
            assert leave.wait(10)
            order.append("compiled")

    def come_second() -> None:
        waiting.set()
        with kernel.first_call(Entry(tmp_path), 1, "one"):
            order.append("loaded")

    threads = [threading.Thread(target=compile_slowly), threading.Thread(target=come_second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    assert waiting.wait(10)
    threads[1].join(0.2)
    assert order == [], "the second waits"
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["compiled", "loaded"]


def test_nobody_waits_once_the_code_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_compiled", set())
    with kernel.first_call(Entry(tmp_path), 1, "one"):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no lock is needed")

    monkeypatch.setattr(kernel, "FileLock", refuse)
    with kernel.first_call(Entry(tmp_path / "unknown"), 1, "one"):
        pass  # this process has it
    monkeypatch.setattr(kernel, "_compiled", set())
    with kernel.first_call(Entry(tmp_path), 1, "one"):
        pass  # another process finds it on disk
    for digest, variant in ((2, "one"), (1, "two")):
        with (
            pytest.raises(AssertionError, match="no lock is needed"),
            kernel.first_call(Entry(tmp_path), digest, variant),
        ):
            pass


@pytest.mark.parametrize("compiled", [kernel.inner, kernel.apart, kernel.entry])
def test_no_kernel_can_make_an_array(compiled: Any) -> None:
    def total(size: int) -> float:
        return float(np.zeros(size).sum())

    with pytest.raises(TypingError, match="Only accept returning of array passed into"):
        compiled(total)(4)
    assert numba.njit(total)(4) == 0, "nothing else is wrong with it"


def test_kernels_compute_the_same_bits_on_every_call() -> None:
    for compiled in (kernel.inner, kernel.apart, kernel.entry):
        made: Any = compiled(lambda size: size + 1)
        options = made.targetoptions
        assert not options.get("fastmath", False)
        assert not options.get("parallel", False)


@pytest.mark.parametrize("opponents", ["computer", "policy"])
def test_a_step_allocates_no_arrays(opponents: Any) -> None:
    batch = SkirmishBatch("3s5z", 32, opponents=opponents)
    batch.reset()
    generator = np.random.default_rng(1)
    first = calibration.random_actions(batch, generator)
    stop = np.ones((32, batch.num_enemies), np.int64)
    given = [first] if batch.opponents is None else [first, stop]
    batch.step(*given)
    quiet = [np.where(batch.alive == 1, 1, 0), *given[1:]]

    def step() -> None:
        quiet[0][:] = batch.alive
        if batch.opponents is not None:
            quiet[1][:] = batch.opponents.alive
        batch.step(*quiet)

    tracemalloc.start()
    try:
        for _ in range(900):
            step()  # until the interpreter's lists of free tuples are full
        largest, before = 0, tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            batch.finished[:] = 0
            present = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step()
            largest = max(largest, tracemalloc.get_traced_memory()[1] - present)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert largest < 1024, "less than any array of the batch"
    assert after - before < 300 * 32, "and nothing is kept"
