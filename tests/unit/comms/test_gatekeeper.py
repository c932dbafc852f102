"""The rule of the door, and what the door does with requests that ZeroMQ would never make."""

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from dm2_dist.comms import gatekeeper, keys
from dm2_dist.comms.gatekeeper import ADMITTED, Gatekeeper, judge
from dm2_dist.comms.keys import Role

RAW = {role: bytes([index]) * 32 for index, role in enumerate(Role, start=1)}
ALLOWED = {role: (z85.encode(b"\xff" * 28 + raw[:4]), z85.encode(raw)) for role, raw in RAW.items()}


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder = tmp_path_factory.mktemp("door") / "keys"
    keys.init(folder)
    return keys.load(folder, Role.HEAD)


@given(st.sampled_from(Role), st.sampled_from(Role))
def test_a_listed_key_comes_in_where_its_role_has_business(listener, role):
    verdict = judge(b"CURVE", RAW[role], listener, ALLOWED)
    if role in ADMITTED[listener]:
        assert verdict == (role, "ok")
    else:
        assert verdict == (None, "wrong_role")


def test_who_has_business_where():
    assert ADMITTED[Role.HEAD] == {Role.ACTOR, Role.LEARNER, Role.LAUNCHER}
    assert ADMITTED[Role.LEARNER] == {Role.ACTOR}
    assert ADMITTED[Role.ACTOR] == ADMITTED[Role.LAUNCHER] == frozenset()


@given(st.binary(max_size=40), st.sampled_from(Role))
def test_nobody_else_comes_in(key, listener):
    assert judge(b"CURVE", key, listener, ALLOWED).role is None or key in RAW.values()


def test_refusals_have_reasons():
    assert judge(b"NULL", b"", Role.HEAD, ALLOWED).reason == "malformed"
    assert judge(b"PLAIN", RAW[Role.ACTOR], Role.HEAD, ALLOWED) == (None, "malformed")
    assert judge(b"CURVE", b"x" * 31, Role.HEAD, ALLOWED).reason == "malformed"
    assert judge(b"CURVE", b"x" * 32, Role.HEAD, ALLOWED).reason == "unknown_key"
    assert judge(b"CURVE", RAW[Role.ACTOR], Role.HEAD, None).reason == "no_list"


@settings(max_examples=100, deadline=None)
@given(request=st.lists(st.binary(max_size=40), max_size=12))
def test_no_request_raises(head, request):
    context = zmq.Context()
    door = Gatekeeper(context, head)
    visitor = context.socket(zmq.DEALER)
    visitor.connect("inproc://zeromq.zap.01")
    try:
        visitor.send_multipart([*request, b"1.0", b"9"])
        visitor.send_multipart([b"", b"1.0", b"7", b"head", b"::1", b"", b"CURVE", RAW[Role.ACTOR]])
        while visitor.poll(0) == 0 or visitor.recv_multipart()[2] != b"7":
            door.serve()
        assert door.refused["unknown_key"] == 1
    finally:
        visitor.close(linger=0)
        door.close()
        context.term()


def test_the_memory_of_who_was_refused_is_bounded(head):
    context = zmq.Context()
    door = Gatekeeper(context, head)
    try:
        for number in range(2 * gatekeeper._ADDRESSES_LIMIT):
            door._refuse(f"10.0.{number // 256}.{number % 256}", "unknown_key", b"x" * 32)
        assert len(door._logged) == gatekeeper._ADDRESSES_LIMIT
        assert door.refused["unknown_key"] == 2 * gatekeeper._ADDRESSES_LIMIT
    finally:
        door.close()
        context.term()
