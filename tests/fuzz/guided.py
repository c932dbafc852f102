"""Bytes that coverage chooses, at the decoders; needs atheris, which is no dependency of ours.

    python tests/fuzz/guided.py header|body|parameters [libFuzzer's flags, -max_total_time=60]

It found what it found when a stack trace ends the program; `run.py` is the engine of everyday.
"""

import contextlib
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["dm2_dist.comms", "dm2_dist.trajectory"]):
    from targets import ACTOR, EXPECTATION, trajectory

    from dm2_dist.comms import codec, slice_body
    from dm2_dist.comms.messages import CONTROL_KINDS, TRAJECTORY_KINDS
    from dm2_dist.comms.refusal import Refused

HEADER, _ = trajectory(ACTOR, 1)


def header(data: bytes) -> None:
    """The map of a header, with an honest checksum."""
    for kinds in (TRAJECTORY_KINDS, CONTROL_KINDS):
        with contextlib.suppress(Refused):
            codec.unpack(codec.seal(data), kinds)


def body(data: bytes) -> None:
    """A header of its own, then a body with an honest digest."""
    size = int.from_bytes(data[:2], "little")
    with contextlib.suppress(Refused):
        announced = codec.unpack(codec.seal(data[2 : 2 + size]), TRAJECTORY_KINDS[1:2])
        rest = data[2 + size :]
        for said in (announced, HEADER):
            honest = type(said)(
                **{
                    name: getattr(said, name) for name in said.__struct_fields__ if name != "digest"
                },
                digest=codec.digest_of(rest),
            )
            slice_body.decode_slice(honest, rest, EXPECTATION)


def parameters(data: bytes) -> None:
    """A snapshot with an honest digest."""
    with contextlib.suppress(Refused):
        codec.decode_parameters(data, codec.digest_of(data))


if __name__ == "__main__":
    chosen = {"header": header, "body": body, "parameters": parameters}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, chosen)
    atheris.Fuzz()
