"""Frames between an actor and its game's worker."""

import socket
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.envs.starcraft.channel import (
    Channel,
    Close,
    Closed,
    Failed,
    Frame,
    Late,
    Launch,
    Reset,
    Step,
)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Channel(ours), Channel(theirs)
    ours.close()
    theirs.close()


def soon(seconds=5.0):
    return time.monotonic() + seconds


def nothing():
    pass


REQUESTS = st.one_of(
    st.just(Reset()),
    st.just(Close()),
    st.builds(Step, st.lists(st.integers(0, 69), max_size=30).map(tuple)),
    st.builds(
        Launch,
        map_name=st.text(max_size=20),
        version=st.sampled_from(["", "4.10"]),
        seed=st.integers(0, 2**31 - 1),
        port=st.integers(1, 65535),
        start_seconds=st.floats(1, 1e4),
        answer_seconds=st.floats(1, 1e4),
    ),
)
BYTES = st.binary(max_size=300)
REPLIES = st.one_of(
    st.builds(Failed, reason=st.text(max_size=200), hopeless=st.booleans()),
    st.builds(
        Frame,
        observation=BYTES,
        state=BYTES,
        available=BYTES,
        alive=BYTES,
        reward=st.floats(-100, 100),
        terminated=st.booleans(),
        truncated=st.booleans(),
        won=st.booleans(),
    ),
)


@given(st.lists(REQUESTS, max_size=5), st.lists(REPLIES, max_size=5))
def test_what_is_said_is_heard_in_order(requests, replies):
    ours, theirs = socket.socketpair()
    actor, worker = Channel(ours), Channel(theirs)
    for request in requests:
        actor.send(request)
    for reply in replies:
        worker.send(reply)
    assert [worker.request() for _ in requests] == requests
    assert [actor.reply(soon(), nothing) for _ in replies] == replies
    actor.close()
    worker.close()


def test_an_answer_that_does_not_come_is_late_and_waiting_is_told(ends):
    calls = []
    with pytest.raises(Late):
        ends[0].reply(soon(0.5), lambda: calls.append(1))
    assert calls


def test_half_an_answer_is_late(ends):
    raw = socket.socket(fileno=socket.dup(ends[1]._socket.fileno()))
    raw.sendall(struct.pack("<I", 100) + b"half")
    raw.close()
    with pytest.raises(Late):
        ends[0].reply(soon(0.3), nothing)


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("<I", 2**31) + b"x",
        struct.pack("<I", 3) + b"\xc1\xc1\xc1",
        struct.pack("<I", 1) + b"\x80",
    ],
    ids=["too long", "no message", "no type"],
)
def test_garbage_ends_the_conversation(ends, garbage):
    ends[1]._socket.sendall(garbage)
    with pytest.raises(Closed):
        ends[0].reply(soon(), nothing)


def test_an_end_that_has_gone_is_noticed_on_both_sides(ends):
    ends[1].close()
    with pytest.raises(Closed):
        ends[0].reply(soon(), nothing)
    with pytest.raises(Closed):
        ends[0].send(Reset())


def test_a_worker_ends_with_its_actor(ends):
    ends[0].close()
    with pytest.raises(Closed):
        ends[1].request()
