import msgpack
import msgspec
import numpy as np
import pytest

from dm2_dist.comms import codec, messages, slice_body
from dm2_dist.comms.messages import CONTROL_KINDS, TRAJECTORY_KINDS, Source, TensorSpec
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import SLICE_FIELDS

SOURCE = Source(name="actor-0", incarnation=3)
LEASE = messages.Lease(
    head_incarnation=1,
    ticket_kind="train",
    iteration=2,
    index=0,
    seeds=(2**64 - 1, 5),
    versions=(1, 1),
    greedy=False,
    newest=False,
)


def refusal(action, *arguments):
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.reason


def test_header_round_trip(make_message, make_slice):
    header, _ = make_message(make_slice())
    assert codec.unpack(codec.pack(header), TRAJECTORY_KINDS) == header
    assert codec.unpack(codec.pack(LEASE), CONTROL_KINDS) == LEASE


def test_header_of_a_real_map_is_well_below_the_limit(make_message, make_slice):
    header, _ = make_message(make_slice(), versions=(2**62,) * 27, sequence=2**62)
    assert len(codec.pack(header)) < codec.HEADER_LIMIT / 2


def test_unknown_extra_fields_are_ignored():
    fields = {
        "kind": "get",
        "version": 3,
        "source": {"name": "a", "incarnation": 1, "x": 1},
        "y": 2,
    }
    message = codec.unpack(codec.seal(msgpack.packb(fields)), TRAJECTORY_KINDS)
    assert message == messages.Get(source=Source(name="a", incarnation=1), version=3)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "get", "version": 3},
        {"kind": "get", "version": "3", "source": {"name": "a", "incarnation": 1}},
        {"kind": "get", "version": 3.0, "source": {"name": "a", "incarnation": 1}},
        {"kind": "get", "version": -1, "source": {"name": "a", "incarnation": 1}},
        {"kind": "get", "version": 2**64 - 1, "source": {"name": "a", "incarnation": 1}},
        {"kind": "get", "version": 1, "source": {"name": "", "incarnation": 1}},
        {"kind": "get", "version": 1, "source": {"name": "a\n", "incarnation": 1}},
        {"kind": "get", "version": 1, "source": {"name": "a" * 65, "incarnation": 1}},
        {"kind": "get", "version": 1, "source": {"name": 'a"} 1\n', "incarnation": 1}},
        {"kind": "settle", "learner_incarnation": 1, "outcomes": [[1, "No such"]]},
        {"kind": "hello"},
        {"kind": None},
        {"kind": ["get"]},
        {},
        [],
        7,
        {1: 2},
        {b"kind": b"get"},
    ],
)
def test_wrong_structure_is_schema(fields):
    assert (
        refusal(codec.unpack, codec.seal(msgpack.packb(fields)), TRAJECTORY_KINDS) is Reason.SCHEMA
    )


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x81",
        codec.pack(LEASE)[codec.CHECK_BYTES :] + b"\0",
        msgpack.packb({"kind": msgpack.ExtType(3, b"x")}),
        msgpack.packb({"kind": msgpack.Timestamp(3)}),
        b"\x91" * 4000,
        b"\xdc\x0f\xff" * 1300,
        b"\xdd\xff\xff\xff\xff" * 800,
    ],
)
def test_what_is_not_a_map_is_schema(frame):
    assert refusal(codec.unpack, codec.seal(frame), CONTROL_KINDS) is Reason.SCHEMA


def test_no_bit_of_a_header_may_change():
    frame = codec.pack(LEASE)
    for bit in range(8 * len(frame)):
        wrong = bytearray(frame)
        wrong[bit // 8] ^= 1 << bit % 8
        assert refusal(codec.unpack, bytes(wrong), CONTROL_KINDS) is Reason.CORRUPT
    for end in range(len(frame)):
        assert refusal(codec.unpack, frame[:end], CONTROL_KINDS) is Reason.CORRUPT


def test_header_limits():
    big = msgpack.packb({"kind": "get", "padding": "x" * codec.HEADER_LIMIT})
    assert refusal(codec.unpack, big, TRAJECTORY_KINDS) is Reason.OVERSIZE
    assert refusal(codec.unpack, bytes(codec.CONTROL_LIMIT + 1), CONTROL_KINDS) is Reason.OVERSIZE
    with pytest.raises(ValueError, match="exceeds its limit"):
        codec.pack(messages.Settle(learner_incarnation=1, outcomes=((2**62, "trained"),) * 500))


def test_settle_messages_fit_whatever_their_number():
    outcomes = [(2**62 + n, "illegal_action") for n in range(1000)]
    parts = codec.settle_messages(2**62, outcomes)
    assert all(len(codec.pack(part)) <= codec.HEADER_LIMIT for part in parts)
    assert [outcome for part in parts for outcome in part.outcomes] == outcomes
    assert codec.settle_messages(1, []) == []


def test_slice_round_trip_is_exact_and_copies_nothing(make_slice, make_message, expectation):
    data = make_slice()
    header, body = make_message(data)
    decoded = slice_body.decode_slice(header, body, expectation)
    for name in SLICE_FIELDS:
        array, original = getattr(decoded, name), getattr(data, name)
        np.testing.assert_array_equal(array, original)
        assert array.dtype == original.dtype
        assert not array.flags.writeable
        assert not array.flags.owndata
    assert all(spec.offset % slice_body.ALIGNMENT == 0 for spec in header.tensors)


def test_slice_decodes_from_a_writable_view(make_slice, make_message, expectation):
    header, body = make_message(make_slice())
    decoded = slice_body.decode_slice(header, memoryview(bytearray(body)), expectation)
    assert not decoded.reward.flags.writeable


def test_encoding_accepts_views_and_wider_integers(make_slice, make_message, expectation):
    data = make_slice()
    flipped = np.asfortranarray(data.observation)
    header, body = make_message(
        make_slice(observation=flipped, length=data.length.astype(np.int64))
    )
    decoded = slice_body.decode_slice(header, body, expectation)
    np.testing.assert_array_equal(decoded.observation, data.observation)


def test_oversize_body(make_slice, make_message, expectation):
    header, _ = make_message(make_slice())
    body = bytes(codec.BODY_LIMIT + 1)
    assert refusal(slice_body.decode_slice, header, body, expectation) is Reason.OVERSIZE
    rows = codec.BODY_LIMIT // 4
    with pytest.raises(ValueError, match="episodes_per_ticket"):
        slice_body.encode_slice(make_slice(reward=np.zeros(rows + 1, np.float32)))


def test_corrupt_body(make_slice, make_message, expectation):
    header, body = make_message(make_slice())
    flipped = bytearray(body)
    flipped[70] ^= 1
    for wrong in (bytes(flipped), body[:-1], body + b"\0", b""):
        assert refusal(slice_body.decode_slice, header, wrong, expectation) is Reason.CORRUPT
    lying = msgspec.structs.replace(header, digest="0" * 32)
    assert refusal(slice_body.decode_slice, lying, body, expectation) is Reason.CORRUPT


def _with_spec(header, tensor, **changes):
    specs = tuple(
        msgspec.structs.replace(spec, **changes) if spec.name == tensor else spec
        for spec in header.tensors
    )
    return msgspec.structs.replace(header, tensors=specs)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("reward", {"name": "rewards"}),
        ("reward", {"dtype": "float64"}),
        ("reward", {"dtype": "object"}),
        ("length", {"dtype": "int64"}),
        ("observation", {"shape": (10, 6)}),
        ("observation", {"shape": (50,)}),
        ("action", {"shape": ()}),
        ("action", {"shape": (1,)}),
        ("action", {"shape": (2**62,)}),
        ("length", {"shape": (3,)}),
        ("reward", {"offset": 0}),
        ("reward", {"offset": 7}),
        ("reward", {"offset": 2**62}),
    ],
)
def test_wrong_tensors_are_schema(make_slice, make_message, expectation, name, changes):
    header, body = make_message(make_slice())
    wrong = _with_spec(header, name, **changes)
    assert refusal(slice_body.decode_slice, wrong, body, expectation) is Reason.SCHEMA


def test_missing_surplus_and_shuffled_tensors_are_schema(make_slice, make_message, expectation):
    header, body = make_message(make_slice())
    extra = TensorSpec("secret", "uint8", (1,), 0)
    for tensors in ((), header.tensors[1:], (*header.tensors, extra), header.tensors[::-1]):
        wrong = msgspec.structs.replace(header, tensors=tensors)
        assert refusal(slice_body.decode_slice, wrong, body, expectation) is Reason.SCHEMA


def test_another_number_of_episodes_is_schema(make_slice, make_message, expectation):
    header, body = make_message(make_slice(lengths=(3, 3, 2)))
    assert refusal(slice_body.decode_slice, header, body, expectation) is Reason.SCHEMA


def test_parameters_round_trip():
    parameters = {"a.weight": np.eye(3, dtype=np.float32), "b": np.array(2, np.int64)}
    body, digest = codec.encode_parameters(parameters)
    decoded = codec.decode_parameters(memoryview(body), digest)
    assert decoded.keys() == parameters.keys()
    np.testing.assert_array_equal(decoded["a.weight"], parameters["a.weight"])
    assert codec.encode_parameters(dict(reversed(parameters.items()))) == (body, digest)


def test_parameters_refused():
    body, digest = codec.encode_parameters({"w": np.array([1.0, np.nan], np.float32)})
    assert refusal(codec.decode_parameters, body, digest) is Reason.NONFINITE
    assert refusal(codec.decode_parameters, body, "0" * 32) is Reason.CORRUPT
    junk = b"\xff" * 100
    assert refusal(codec.decode_parameters, junk, codec.digest_of(junk)) is Reason.CORRUPT
    body, digest = codec.encode_parameters({"w": np.ones(2, np.float16)})
    assert refusal(codec.decode_parameters, body, digest) is Reason.SCHEMA
    strange = _safetensors("BF16", 2)
    assert refusal(codec.decode_parameters, strange, codec.digest_of(strange)) in (
        Reason.CORRUPT,
        Reason.SCHEMA,
    )


def test_oversize_parameters():
    huge = np.zeros(codec.PARAMETERS_LIMIT // 4 + 1, np.float32)
    with pytest.raises(ValueError, match="exceeds"):
        codec.encode_parameters({"w": huge})
    body = memoryview(huge).cast("B")
    assert refusal(codec.decode_parameters, body, "") is Reason.OVERSIZE


def _safetensors(dtype, nbytes):
    header = msgspec.json.encode({"w": {"dtype": dtype, "shape": [1], "data_offsets": [0, nbytes]}})
    return len(header).to_bytes(8, "little") + header + bytes(nbytes)
