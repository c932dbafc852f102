"""Whatever arrives is decoded or refused: nothing else is raised and no memory is wasted on it."""

import tracemalloc

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist.comms import codec, slice_body
from dm2_dist.comms.messages import CONTROL_KINDS, TRAJECTORY_KINDS, TensorSpec
from dm2_dist.comms.refusal import Refused

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [kind.__struct_config__.tag for kind in (*CONTROL_KINDS, *TRAJECTORY_KINDS)]
)
NUMBERS = st.integers(0, 20) | st.integers(0, 2**63 - 1)


def unpack_or_refuse(header):
    for kinds in (TRAJECTORY_KINDS, CONTROL_KINDS):
        for frame in (header, codec.seal(header)):
            try:
                codec.unpack(frame, kinds)
            except Refused:
                continue


@QUICK
@given(st.binary(max_size=300))
def test_random_headers(frame):
    unpack_or_refuse(frame)


@QUICK
@given(VALUES)
def test_random_structures(value):
    unpack_or_refuse(msgpack.packb(value))


@QUICK
@given(KINDS, st.data())
def test_right_fields_with_wrong_values(kind, data):
    (cls,) = {
        cls for cls in (*CONTROL_KINDS, *TRAJECTORY_KINDS) if cls.__struct_config__.tag == kind
    }
    fields = {name: data.draw(VALUES) for name in cls.__struct_fields__}
    unpack_or_refuse(msgpack.packb({"kind": kind, **fields}))


@QUICK
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_mutated_headers(make_slice, make_message, position, value, end):
    header, _ = make_message(make_slice())
    frame = bytearray(codec.pack(header)[codec.CHECK_BYTES :])
    frame[position % len(frame)] = value
    unpack_or_refuse(bytes(frame))
    unpack_or_refuse(bytes(frame[: end % len(frame)]))


@QUICK
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_bodies_with_an_honest_digest(make_slice, make_message, expectation, mutations):
    header, original = make_message(make_slice())
    body = bytearray(original)
    for position, value in mutations:
        body[position % len(body)] = value
    honest = msgspec.structs.replace(header, digest=codec.digest_of(body))
    try:
        data = slice_body.decode_slice(honest, bytes(body), expectation)
    except Refused:
        return
    assert np.isfinite(data.observation).all()
    assert data.length.sum() == data.env_steps


@QUICK
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["float32", "uint8", "int32", "object", "O", "V8", ""]),
            st.lists(NUMBERS, max_size=4),
            NUMBERS,
        ),
        min_size=10,
        max_size=10,
    ),
    st.binary(max_size=500),
)
def test_random_tensors(make_slice, make_message, expectation, specs, body):
    header, _ = make_message(make_slice())
    tensors = tuple(
        TensorSpec(known.name, dtype, tuple(shape), offset)
        for known, (dtype, shape, offset) in zip(header.tensors, specs, strict=True)
    )
    wrong = msgspec.structs.replace(header, tensors=tensors, digest=codec.digest_of(body))
    with pytest.raises(Refused):
        slice_body.decode_slice(wrong, body, expectation)


@QUICK
@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(0, 255))
def test_random_parameters(junk, position, value):
    body, _ = codec.encode_parameters({"weight": np.eye(4, dtype=np.float32)})
    mutated = bytearray(body)
    mutated[position % len(mutated)] = value
    for wrong in (junk, bytes(mutated), len(junk).to_bytes(8, "little") + junk):
        try:
            codec.decode_parameters(wrong, codec.digest_of(wrong))
        except Refused:
            continue


@pytest.mark.parametrize(
    "prefix",
    ["dc01ff", "dc0fff", "dcffff", "dd000001ff", "dd7fffffff", "c67fffffff", "df7fffffff",
     "db7fffffff", "c97fffffff01", "8180"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("limit", "kinds", "mebibytes"),
    [(codec.HEADER_LIMIT, TRAJECTORY_KINDS, 6), (codec.CONTROL_LIMIT, CONTROL_KINDS, 40)],
)
def test_claimed_sizes_reserve_little(prefix, limit, kinds, mebibytes):
    frame = codec.seal((bytes.fromhex(prefix) * limit)[: limit - codec.CHECK_BYTES])
    tracemalloc.start()
    with pytest.raises(Refused):
        codec.unpack(frame, kinds)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < mebibytes * 2**20
