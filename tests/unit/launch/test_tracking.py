"""Which trackers are chosen, and that their process never outlives or harms a run."""

import importlib.util
import json
import os
import signal
import threading

import pytest

from dm2_dist.config import ConfigError, RunConfig, to_json
from launch import tracking
from launch.tracking import Trackers


@pytest.fixture
def root(tmp_path):
    (tmp_path / "logs").mkdir()
    document = {"config": json.loads(to_json(RunConfig()))}
    (tmp_path / "config.json").write_text(json.dumps(document))
    return tmp_path


def installed(name):
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


def test_tensorboard_is_the_default_where_it_is_installed():
    assert tracking.chosen(None) == (("tensorboard",) if installed("tensorboard") else ())
    assert tracking.chosen("none") == ()


def test_an_unknown_tracker_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="'abacus'; choose from tensorboard, wandb, mlflow"):
        tracking.chosen("abacus,tensorboard")


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_named_with_its_extra(name, tmp_path, monkeypatch):
    if installed(name):
        assert tracking.chosen(f"{name}, {name}") == (name,)
        return
    (tmp_path / name).mkdir()  # where somebody keeps the files of one, it is no package
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=rf"install dm2-dist with the extra \[{name}\]"):
        tracking.chosen(name)


def test_without_trackers_there_is_no_process_and_no_file(root):
    Trackers(root, (), pytest.fail).close(lambda: False)
    assert list((root / "logs").iterdir()) == []


def test_what_a_tracker_cannot_do_is_told_and_ends_nothing(root):
    told, heard = [], threading.Event()

    def tell(sentence):
        told.append(sentence)
        heard.set()

    (root / "trackers").mkdir()
    (root / "trackers" / "tensorboard").write_text("in the way")
    (root / "metrics.jsonl").write_text('{"agent": 0, "version": 1, "env_steps": 9}\n')
    trackers = Trackers(root, ("tensorboard",), tell)
    assert heard.wait(60)
    trackers.close(lambda: False)
    assert len(told) == 1
    assert told[0].startswith("tensorboard is switched off, the run goes on: ")
    assert "\n" not in told[0]


def test_a_process_that_dies_is_told_at_once_and_only_once(root):
    told, heard = [], threading.Event()

    def tell(sentence):
        told.append(sentence)
        heard.set()

    trackers = Trackers(root, ("tensorboard",), tell)
    os.kill(trackers.pid, signal.SIGKILL)
    assert heard.wait(60)
    trackers.close(lambda: False)
    sentence = "the trackers have ended, the run goes on without"
    assert told == [f"{sentence}; see {root}/logs/tracker.err"]


def test_a_process_that_hangs_is_told_and_gone(root):
    told = []
    trackers = Trackers(root, ("abacus",), told.append)
    pid = trackers.pid
    os.kill(pid, signal.SIGSTOP)
    trackers.close(lambda: True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert told == [f"the trackers' files may lack the end of the run; see {root}/logs/tracker.err"]
