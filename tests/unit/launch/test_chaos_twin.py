"""What may be compared with what: a twin is a run of the same configuration."""

import dataclasses
import json

import pytest

from dm2_dist import run_directory
from dm2_dist.config import RunConfig
from launch import chaos
from launch.chaos_child import Progress


@pytest.fixture
def run(tmp_path):
    """Make the directory of a run that has come to an end."""

    def make(name, **changes):
        config = dataclasses.replace(RunConfig(map="3m"), **changes)
        directory, lock = run_directory.acquire(tmp_path / name, config, resume=False)
        lock.release()
        directory.summary.write_text(json.dumps({"finished": True}))
        return directory

    return make


def test_a_twin_has_the_same_configuration(run):
    assert chaos._comparable(run("one", seed=3), run("two", seed=3)) == {"finished": True}


def test_another_run_is_no_twin(run):
    with pytest.raises(chaos._RefusedError, match=r"is no twin of this run: seed"):
        chaos._comparable(run("one", seed=3), run("two", seed=4))


def test_a_folder_without_a_run_is_no_twin(run, tmp_path):
    nothing = run_directory.RunDirectory(tmp_path / "nothing")
    with pytest.raises(chaos._RefusedError, match="holds no run"):
        chaos._comparable(run("one"), nothing)


def test_without_a_twin_nothing_is_compared(run):
    assert chaos._comparable(run("one"), None) is None


def test_progress_is_that_of_the_slowest_agent_and_survives_torn_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    progress = Progress(path)
    assert progress.env_steps() == 0
    path.write_text('{"agent": 0, "env_steps": 30}\n{"agent": 1, "env_st')
    assert progress.env_steps() == 30
    with path.open("a") as file:
        file.write('\n[]\n{"agent": 1, "env_steps": 20}\n{"agent": 0, "env_steps": 60}\n')
    assert progress.env_steps() == 20
