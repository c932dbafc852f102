"""The roster: who is there, and the end of those whom a killed launcher left behind."""

import os
import signal
import subprocess
import sys

import pytest

from launch import roster
from launch.roster import Roster

HOLD = """
import sys, time
log = open(sys.argv[1], "a")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def hold():
    """Start a process that keeps a file open."""
    processes = []

    def start(path):
        command = [sys.executable, "-c", HOLD, str(path)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert processes[-1].stdout.readline() == b"ready\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def listed(root, **processes):
    names = {name.replace("_", "-"): pid for name, pid in processes.items()}
    roster.write(root, Roster(os.getpid(), "127.0.0.1:9400", "/tmp/x", names))


def test_what_is_written_is_read(root):
    written = Roster(12, "127.0.0.1:9400", "/tmp/dm2-x", {"actor-0": 13, "head-0": 14})
    roster.write(root, written)
    assert roster.read(root) == written


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"launcher": 1}', b"\xff", b'{"launcher": {}}', b"[" * 100_000],
)
def test_a_spoilt_roster_is_none(root, content):
    assert roster.read(root) is None
    (root / roster.FILE).write_bytes(content)
    assert roster.read(root) is None
    assert roster.sweep(root) == []


@pytest.mark.parametrize("stopped", [False, True])
def test_a_straggler_is_killed_also_when_it_is_stopped(root, hold, stopped):
    straggler = hold(root / "logs" / "learner-0.log")
    if stopped:
        straggler.send_signal(signal.SIGSTOP)
    listed(root, learner_0=straggler.pid)
    assert roster.sweep(root) == ["learner-0"]
    assert straggler.wait() == -signal.SIGKILL


def test_a_process_that_is_not_of_this_run_is_left_alone(root, hold, tmp_path):
    other = hold(tmp_path / "learner-0.log")
    listed(root, learner_0=other.pid, actor_0=2**22 + 5)
    assert roster.sweep(root) == []
    assert other.poll() is None


def test_a_name_with_a_path_in_it_is_left_alone(root, hold, tmp_path):
    other = hold(tmp_path / "elsewhere.log")
    names = {"../elsewhere": other.pid}
    roster.write(root, Roster(1, "", "", names))
    assert roster.sweep(root) == []
    assert other.poll() is None
