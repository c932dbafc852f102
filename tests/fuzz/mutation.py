"""Wrong messages: real ones with a few things changed, in their bytes or in their structure.

Everything is drawn from one `random.Random`, so that an input can be made again from its number.
"""

import random
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from dm2_dist.comms import codec

EDGES: tuple[Any, ...] = (
    0, 1, -1, 7, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.0, 1e308, 0.5,
    float("nan"), float("inf"), float("-inf"), None, True, False, "", "a", "0", "-1", "00",
    "x" * 65, "train/0/0", "evaluate/3/0", "train/-1/0", "train/0", "a/b/c", "9" * 30, "actor-0",
    "learner-1", "learner-99", "tcp://127.0.0.1:1", "tcp://", "ipc://", "ipc:///tmp/x", "\0", "ü",
    b"", b"\xff", [], {}, [0], [[]], {"0": 0}, {"a": []}, "run", "drain", "stop", "fail", "close",
    "__class__", "../../etc/passwd", "hello", "trajectory", "float32", "object", [2**62, 2**62],
)  # fmt: skip


def bent(chance: random.Random, value: Any) -> Any:
    """A structure with one place in it changed."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        return _bent_map(chance, value)
    if isinstance(value, list | tuple) and value and chance.random() < 0.8:
        return _bent_list(chance, value)
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 2, 64, 2**32, -(2**40), 2**62))
    if isinstance(value, str) and value and chance.random() < 0.4:
        place = chance.randrange(len(value))
        return value[:place] + chance.choice("/.-0Az \0é") + value[place + chance.randrange(2) :]
    return edge(chance)


def _bent_map(chance: random.Random, value: dict[Any, Any]) -> dict[Any, Any]:
    key = chance.choice(list(value))
    changed = dict(value)
    match chance.randrange(8):
        case 0:
            del changed[key]
        case 1:
            new = chance.choice(EDGES)
            changed[new if isinstance(new, str | int | bytes) else str(new)] = changed.pop(key)
        case 2:
            changed[str(chance.randrange(10**6))] = changed[key]
        case _:
            changed[key] = bent(chance, value[key])
    return changed


def _bent_list(chance: random.Random, value: Sequence[Any]) -> list[Any]:
    changed = list(value)
    place = chance.randrange(len(changed))
    match chance.randrange(6):
        case 0:
            del changed[place]
        case 1:
            changed.insert(place, edge(chance))
        case 2:
            changed = changed * chance.randrange(1, 40)
        case _:
            changed[place] = bent(chance, changed[place])
    return changed


def edge(chance: random.Random) -> Any:
    """A value that programs stumble over; sometimes deep, sometimes long."""
    match chance.randrange(24):
        case 0:
            nested: Any = 0
            for _ in range(chance.randrange(600)):
                nested = [nested] if chance.random() < 0.5 else {"a": nested}
            return nested
        case 1:
            return [chance.choice(EDGES)] * chance.randrange(300)
        case 2:
            return {str(n): n for n in range(chance.randrange(300))}
        case 3:
            return chance.choice(("x", "0", "é", "[")) * chance.randrange(5000)
        case _:
            return chance.choice(EDGES)


def mangled(chance: random.Random, frame: bytes) -> bytes:
    """Bytes with a few of them changed, lost, repeated or added."""
    data = bytearray(frame)
    for _ in range(1 + chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 | 1 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 2 if place < len(data):
                data[place] = chance.choice((0, 0x7F, 0x80, 0xC1, 0xDC, 0xDD, 0xDF, 0xDB, 0xFF))
            case 3:
                del data[place:]
            case 4:
                del data[place : place + chance.randrange(40)]
            case 5:
                data[place:place] = chance.randbytes(chance.randrange(20))
            case 6:
                end = place + chance.randrange(60)
                data[place:place] = data[place:end] * chance.randrange(1, 8)
    return bytes(data)


def header(chance: random.Random, messages: Sequence[msgspec.Struct]) -> bytes:
    """The header of one of these messages, wrong in some way; most have an honest checksum."""
    message = chance.choice(messages)
    fields: Any = {"kind": message.kind, **msgspec.to_builtins(message)}
    for _ in range(1 + chance.randrange(3)):
        fields = bent(chance, fields)
    try:
        packed: bytes = msgpack.packb(fields)
    except (ValueError, OverflowError, UnicodeEncodeError, TypeError):
        packed = codec.pack(message)[codec.CHECK_BYTES :]
    match chance.randrange(10):
        case 0:
            return mangled(chance, codec.seal(packed))
        case 1 | 2:
            return codec.seal(mangled(chance, packed))
        case 3:
            return codec.seal(chance.randbytes(chance.randrange(200)))
    return codec.seal(packed)
