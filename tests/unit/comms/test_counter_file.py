import multiprocessing
import os
import signal

import pytest

from dm2_dist.comms.counter_file import CounterFile, CounterFileError, read_counters
from dm2_dist.comms.ledger import Counters
from dm2_dist.comms.messages import Source

SOURCE = Source(name="actor-" + "x" * 58, incarnation=2**62)


def test_counters_round_trip(tmp_path):
    path = tmp_path / "a.cnt"
    file = CounterFile(path, SOURCE, 3)
    assert read_counters(path) == Counters(SOURCE, (0, 0, 0), (0, 0, 0), False, 0)
    file.set_produced(1, 2**40)
    file.set_settled(2, 255)
    file.add_cut_off(3)
    file.add_cut_off(3)
    assert read_counters(path) == Counters(SOURCE, (0, 2**40, 0), (0, 0, 255), False, 6)
    file.close(clean=True)
    assert read_counters(path).closed
    assert os.listdir(tmp_path) == ["a.cnt"]


def test_a_file_of_before_games_could_be_lost_is_read(tmp_path):
    path = tmp_path / "a.cnt"
    file = CounterFile(path, SOURCE, 2)
    file.set_produced(0, 7)
    file.set_settled(1, 5)
    file.close(clean=True)
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\x01" + data[9:-8])
    assert read_counters(path) == Counters(SOURCE, (7, 0), (0, 5), True, 0)


def test_an_unclean_close_is_not_closed(tmp_path):
    file = CounterFile(tmp_path / "a.cnt", SOURCE, 1)
    file.close(clean=False)
    assert not read_counters(tmp_path / "a.cnt").closed


def _count_and_die(path):
    file = CounterFile(path, SOURCE, 1)
    for count in range(1, 300):
        file.set_produced(0, count)
    os.kill(os.getpid(), signal.SIGKILL)


def test_counters_survive_kill_9(tmp_path):
    path = tmp_path / "a.cnt"
    child = multiprocessing.get_context("fork").Process(target=_count_and_die, args=(path,))
    child.start()
    child.join(20)
    assert child.exitcode == -signal.SIGKILL
    assert read_counters(path).produced == (299,)
    assert not read_counters(path).closed


@pytest.mark.parametrize("size", [0, 7, 32, 103, 104, 4096])
def test_something_else_is_refused(tmp_path, size):
    path = tmp_path / "a.cnt"
    path.write_bytes(b"\x01" * size)
    with pytest.raises(CounterFileError, match=r"a\.cnt"):
        read_counters(path)


def test_cut_or_foreign_files_are_refused(tmp_path):
    path = tmp_path / "a.cnt"
    CounterFile(path, SOURCE, 2).close(clean=True)
    data = path.read_bytes()
    for wrong in (data[:-8], data + bytes(8), data[:8] + b"\x03" + data[9:]):
        path.write_bytes(wrong)
        with pytest.raises(CounterFileError):
            read_counters(path)
