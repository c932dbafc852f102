"""Turns and ports: what the games of one machine share."""

import socket
import subprocess
import sys

import pytest

from dm2_dist.envs.interface import GameLost
from dm2_dist.envs.starcraft import launching


class TurnedAwayError(Exception):
    pass


def turned_away():
    raise TurnedAwayError


def nothing():
    pass


def test_only_so_many_start_at_once(tmp_path):
    with launching.turn(tmp_path, 2, nothing), launching.turn(tmp_path, 2, nothing):
        with pytest.raises(TurnedAwayError), launching.turn(tmp_path, 2, turned_away):
            pass
    with launching.turn(tmp_path, 2, turned_away):
        pass


def test_a_turn_that_failed_is_over(tmp_path):
    for _ in range(3):
        with pytest.raises(GameLost), launching.turn(tmp_path, 1, turned_away):
            raise GameLost("it did not start")


HOLDER = """
import sys
from pathlib import Path
from dm2_dist.envs.starcraft import launching
with launching.turn(Path(sys.argv[1]), 1, lambda: None):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_the_turn_of_a_killed_process_is_free_again(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"mine\n"
    with pytest.raises(TurnedAwayError), launching.turn(tmp_path, 1, turned_away):
        pass
    holder.kill()
    holder.communicate()
    with launching.turn(tmp_path, 1, turned_away):
        pass


def test_ports_are_free_and_no_two_games_have_the_same(monkeypatch):
    monkeypatch.setattr(launching, "PORTS", range(31_000, 31_006))
    monkeypatch.setattr(launching, "_TRIES", 6)
    ports = []

    def take_all():
        while True:
            ports.append(launching.Port())

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 31_003))
        with pytest.raises(GameLost, match="none of 6 ports"):
            take_all()
        numbers = [port.number for port in ports]
        assert len(set(numbers)) == len(numbers) <= 5
        assert 31_003 not in numbers
    for port in ports:
        port.release()
    again = launching.Port()
    assert again.number in range(31_000, 31_006)
    again.release()
