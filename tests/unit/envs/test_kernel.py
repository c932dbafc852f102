"""The cache of compiled code: what its key depends on, and who fills it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dm2_dist.envs.skirmish.kernels import compiled as kernel


class Entry:
    """Stands in for a compiled entry point."""

    def __init__(self, cache: Path) -> None:
        self.signatures: list[object] = []
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


def test_one_caller_compiles_and_the_others_wait_for_it(tmp_path: Path) -> None:
    inside, leave, waiting = threading.Event(), threading.Event(), threading.Event()
    order: list[str] = []

    def compile_slowly() -> None:
        with kernel.first_call(Entry(tmp_path), 1):
            inside.set()
            assert leave.wait(10)
            order.append("compiled")

    def come_second() -> None:
        waiting.set()
        with kernel.first_call(Entry(tmp_path), 1):
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
    with kernel.first_call(Entry(tmp_path), 1):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no lock is needed")

    monkeypatch.setattr(kernel, "FileLock", refuse)
    with kernel.first_call(Entry(tmp_path), 1):
        pass
    compiled = Entry(tmp_path / "other")
    compiled.signatures.append("int64()")
    with kernel.first_call(compiled, 2):
        pass
    with (
        pytest.raises(AssertionError, match="no lock is needed"),
        kernel.first_call(Entry(tmp_path), 2),
    ):
        pass
