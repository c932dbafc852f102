"""Learners on the CPU are forked from a process of their own, which has imported torch."""

import multiprocessing
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest

from launch import host, warm_context
from launch.warm_context import WarmContext

pytestmark = pytest.mark.integration


@pytest.fixture
def sleeping():
    """Start a process that does nothing; gives its pid."""
    processes = []

    def start(context):
        processes.append(context.Process(target=time.sleep, args=(600,)))
        processes[-1].start()
        return processes[-1].pid

    yield start
    for process in processes:
        process.kill()
        process.join()
        assert process.exitcode == -9
        process.close()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def has_torch(pid):
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def test_learners_share_torch_and_actors_do_not_get_it(sleeping, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    host.prepare_environment()
    connect = forkserver.connect_to_new_process
    warm_context.begin()
    first, second = sleeping(WarmContext()), sleeping(WarmContext())
    actor = sleeping(multiprocessing.get_context("forkserver"))
    assert forkserver.connect_to_new_process == connect
    assert parent(first) == parent(second) != parent(actor)
    assert has_torch(first)
    assert not has_torch(actor)
