"""A body's bytes, held to the plainest way to write them: tensor by tensor into an empty buffer."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist.comms import codec, slice_body
from dm2_dist.comms.inspection import Expectation
from dm2_dist.trajectory import SLICE_FIELDS

WIRE_DTYPES = {
    "observation": "<f4",
    "available_actions": "u1",
    "alive": "u1",
    "action": "u1",
    "behaviour_log_prob": "<f4",
    "reward": "<f4",
    "length": "<i4",
    "terminated": "u1",
    "truncated": "u1",
    "won": "u1",
}


def plain_body(data):
    """Offsets and bytes as docs/delivery.md says: each tensor at the next multiple of 64."""
    body, offsets = bytearray(), []
    for name, dtype in WIRE_DTYPES.items():
        body += bytes(-len(body) % 64)
        offsets.append(len(body))
        body += np.asarray(getattr(data, name)).astype(dtype).tobytes(order="C")
    return offsets, bytes(body)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_the_layout_is_the_plain_one_and_comes_back_whole(make_slice, make_message, lengths):
    data = make_slice(tuple(lengths))
    header, body = make_message(data)
    offsets, plain = plain_body(data)
    assert body == plain
    assert [spec.offset for spec in header.tensors] == offsets
    assert [spec.dtype for spec in header.tensors] == [
        np.dtype(dtype).name for dtype in WIRE_DTYPES.values()
    ]
    decoded = slice_body.decode_slice(header, body, Expectation(5, 4, 40, len(lengths)))
    for name in SLICE_FIELDS:
        np.testing.assert_array_equal(getattr(decoded, name), getattr(data, name))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16, 17])
def test_a_body_that_lies_at_an_odd_address_is_read_the_same(
    make_slice, make_message, expectation, size
):
    data = make_slice()
    header, body = make_message(data)
    shifted = memoryview(bytes(size) + body)[size:]
    decoded = slice_body.decode_slice(header, shifted, expectation)
    for name in SLICE_FIELDS:
        np.testing.assert_array_equal(getattr(decoded, name), getattr(data, name))
        assert not getattr(decoded, name).flags.writeable


def test_every_bit_of_a_body_counts_in_its_digest(make_slice, make_message):
    _, body = make_message(make_slice())
    digest = codec.digest_of(body)
    assert len(bytes.fromhex(digest)) == 16
    found = {digest}
    for bit in range(8 * len(body)):
        wrong = bytearray(body)
        wrong[bit // 8] ^= 1 << bit % 8
        found.add(codec.digest_of(wrong))
    assert len(found) == 1 + 8 * len(body)
    assert codec.digest_of(memoryview(body)) == digest
    assert codec.digest_of(body + b"\0") != digest
