"""What trackers are fed, exactly once; one that fails harms nobody."""

import importlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dm2_dist import run_directory
from dm2_dist.config import RunConfig, to_json
from dm2_dist.run_directory import RunDirectory
from launch import line_file
from monitoring import tracker
from monitoring.tracker import Cursor, Feed, Follower
from monitoring.tracker_process import Feeds


class Listener:
    """A tracker that remembers; of two that share a list the second goes on."""

    def __init__(self, logged):
        self.logged, self.closed, self.started = logged, False, ()

    def start(self, config, run_id, directory):
        self.started = (config["seed"], run_id, directory)

    def log(self, step, values):
        self.logged.append((step, values))

    def close(self):
        self.closed = True


class Failing(Listener):
    """A tracker that raises where it is told to."""

    def __init__(self, where):
        super().__init__([])
        self.where = where

    def start(self, config, run_id, directory):
        if self.where == "start":
            raise RuntimeError("no\nserver")

    def log(self, step, values):
        if self.where == "log":
            raise OSError("gone")

    def close(self):
        if self.where == "close":
            raise KeyError("late")


@pytest.fixture
def directory(tmp_path):
    found = RunDirectory(tmp_path / "first")
    found.logs.mkdir(parents=True)
    found.config.write_text(json.dumps({"config": json.loads(to_json(RunConfig(seed=7)))}))
    return found


def learn(directory, agent, version):
    line = {"agent": agent, "version": version, "env_steps": 100 * version, "entropy": 1.5}
    run_directory.append_line(directory.metrics, {**line, "wall_seconds": 2.0})


def evaluate(directory, version):
    line = {"env_steps": 100 * version, "win_rate": 0.25, "version": version}
    run_directory.append_line(directory.evaluations, line)


def test_a_line_is_a_step_and_values_of_one_group():
    line = {
        "agent": 2,
        "env_steps": 300,
        "entropy": 1,
        "bad": float("nan"),
        "word": "x",
        "on": True,
    }
    assert tracker.series(line) == (300, {"agent_2/entropy": 1.0})
    assert tracker.series({"env_steps": 5, "win_rate": 0.5}) == (5, {"evaluation/win_rate": 0.5})


def test_everything_is_logged_once_over_several_stretches(directory):
    logged = []
    learn(directory, 0, 1)
    feed = Feed("listener", Listener(logged), directory)
    assert feed.turn() == 1
    assert feed.turn() == 0
    evaluate(directory, 1)
    feed.turn()
    learn(directory, 1, 1)  # nobody is there
    second = Listener(logged)
    Feed("listener", second, directory).close()
    assert second.closed
    assert second.started == (7, "first", directory.root / "trackers" / "listener")
    assert [next(iter(values)) for _, values in logged] == [
        "agent_0/version",
        "evaluation/win_rate",
        "agent_1/version",
    ]


def test_a_tracker_chosen_later_gets_the_whole_history(directory):
    first, second = [], []
    learn(directory, 0, 1)
    Feed("first", Listener(first), directory).close()
    learn(directory, 0, 2)
    Feed("second", Listener(second), directory).close()
    assert [step for step, _ in second] == [100, 200]
    assert [step for step, _ in first] == [100]


def test_a_damaged_cursor_is_the_beginning(tmp_path):
    Cursor(3, 4).write(tmp_path)
    assert Cursor.read(tmp_path) == Cursor(3, 4)
    (tmp_path / "cursor.json").write_text('{"metrics": "x"}')
    assert Cursor.read(tmp_path) == Cursor()


@example(["line", "line", "read", "torn", "mend", "line", "read"])
@example(["line", "read", "torn", "read", "line", "read", "restart", "mend", "read"])
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["line", "torn", "mend", "read", "restart"]), max_size=25))
def test_the_follower_sees_each_whole_line_once(tmp_path_factory, course):
    path = tmp_path_factory.mktemp("record") / "metrics.jsonl"
    written, seen, follower = 0, [], Follower(path, 0)
    for what in [*course, "read"]:
        match what:
            case "line":
                run_directory.append_line(path, {"n": written})
                written += 1
            case "torn":
                with path.open("ab") as file:
                    file.write(b'{"n": 1')
            case "mend":  # what a head that starts again does to its file
                line_file.mended(path, set())
            case "read":
                seen += [line["n"] for line in follower.news(most=3)]
            case "restart":
                follower = Follower(path, follower.count)
    while more := [line["n"] for line in follower.news()]:
        seen += more
    assert seen == list(range(written))


def test_a_folder_that_leads_elsewhere_is_refused(directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (directory.root / "trackers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(run_directory.RunDirectoryError, match="trackers is a link"):
        Feed("listener", Listener([]), directory)


@pytest.mark.parametrize("where", ["start", "log", "close"])
def test_a_tracker_that_fails_is_switched_off_with_one_line(directory, where, caplog):
    learn(directory, 0, 1)
    logged, told = [], []
    good = Listener(logged)
    makers = {"bad": Failing(where), "good": good}
    feeds = Feeds(directory, ["bad", "good"], told.append, makers.__getitem__)
    feeds.turn()
    learn(directory, 0, 2)
    feeds.turn()
    feeds.close()
    assert [step for step, _ in logged] == [100, 200]
    assert good.closed
    assert len(told) == 1
    assert told[0].startswith("bad is switched off, the run goes on: ")
    assert str(directory.logs / "tracker.log") in told[0]
    assert "\n" not in told[0]
    assert [feed.name for feed in feeds.working] == ["good"]


# --- the process ---


ALONE = """
import sys

def watch(event, values):
    if event == "socket.getaddrinfo":
        host = values[0]
    elif event == "socket.connect" and isinstance(values[1], tuple):
        host = values[1][0]
    else:
        return
    if host not in ("localhost", "127.0.0.1", "::1"):
        sys.stderr.write(f"asked the network for {host}\\n")

sys.addaudithook(watch)
from monitoring import tracker_process
sys.exit(tracker_process.main(sys.argv[1:]))
"""


def feed(directory, *names):
    return subprocess.Popen(
        [sys.executable, "-c", ALONE, str(directory.root), *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_process_tells_what_it_cannot_do_and_keeps_the_traceback_in_its_log(directory):
    with feed(directory, "abacus") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
    assert out.count("\n") == 1
    assert out.startswith("abacus is switched off, the run goes on: no tracker is called 'abacus'")
    (line,) = map(json.loads, (directory.logs / "tracker.log").read_text().splitlines())
    assert (line["role"], line["event"], line["level"]) == ("tracker", "tracker_failed", "ERROR")
    assert "Traceback" in line["exception"]


# --- the real ones ---


def accumulated(directory):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(directory.root / "trackers/tensorboard"))
    return found.Reload()


def test_tensorboard_reads_every_value_once_after_crashes(directory):
    made = pytest.importorskip("monitoring.tracker_tensorboard")
    folder = directory.root / "trackers" / "tensorboard"
    draws = random.Random(3)
    for version in range(1, 9):
        learn(directory, version % 2, version)
        evaluate(directory, version)
        board = made.TensorBoardTracker()
        feed = Feed("tensorboard", board, directory)
        if version % 3 == 0:
            before = (folder / "cursor.json").read_bytes()
            feed.turn()
            board.close()
            (folder / "cursor.json").write_bytes(before)  # killed before it was noted
            events = folder / "events.out.tfevents.0.dm2"
            os.truncate(events, events.stat().st_size - draws.randrange(20))
        else:
            feed.close()
    Feed("tensorboard", made.TensorBoardTracker(), directory).close()
    found = accumulated(directory)
    steps = {tag: [event.step for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert steps["agent_0/entropy"] == [200, 400, 600, 800]
    assert steps["agent_1/entropy"] == [100, 300, 500, 700]
    assert steps["evaluation/win_rate"] == [100 * version for version in range(1, 9)]
    assert "configuration" in " ".join(found.Tags()["tensors"])


@pytest.mark.parametrize("name", tracker.NAMES)
def test_each_real_tracker_goes_on_where_it_left_off_without_a_network(directory, name):
    pytest.importorskip(name)
    for version in (1, 2):
        learn(directory, 0, version)
        with feed(directory, name) as process:
            out, err = process.communicate(timeout=110)
        assert (out, err, process.returncode) == ("", "", 0)
    folder = directory.root / "trackers" / name
    assert Cursor.read(folder) == Cursor(metrics=2)
    match name:
        case "tensorboard":
            assert [event.value for event in accumulated(directory).Scalars("agent_0/version")] == [
                1.0,
                2.0,
            ]
        case "wandb":
            assert len(list(folder.glob("wandb/offline-run-*"))) == 2
            ids = {path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}
            assert ids == {(folder / "id").read_text()}
        case "mlflow":
            (kept,) = folder.glob("mlruns/*/*/metrics/agent_0/version")
            rows = [line.split()[1:] for line in kept.read_text().splitlines()]
            assert rows == [["1.0", "100"], ["2.0", "200"]]


def test_the_names_are_the_modules():
    folder = Path(importlib.import_module("monitoring").__file__).parent
    modules = {path.stem.removeprefix("tracker_") for path in folder.glob("tracker_*.py")}
    assert modules == {*tracker.NAMES, "process"}
