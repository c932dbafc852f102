"""What an actor and the worker that holds its game say to each other, as frames on a socket pair.

A frame is its length, four bytes little-endian, and one msgpack map whose `type` names the message.
Both ends are ours, yet every length is bounded and every wait of the actor has a deadline.
"""

import select
import socket
import struct
import time
from collections.abc import Callable

import msgspec

_LENGTH = struct.Struct("<I")
_LONGEST = 2**24
_SLICE_SECONDS = 0.2


class Launch(msgspec.Struct, frozen=True, kw_only=True, tag="launch"):
    """Start a game and its first battle; said once, first."""

    map_name: str
    version: str
    seed: int
    port: int
    start_seconds: float
    answer_seconds: float


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Start the next battle."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Play one environment step; one action per agent."""

    actions: tuple[int, ...]


class Close(msgspec.Struct, frozen=True, tag="close"):
    """End the game and yourself."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag="frame"):
    """What the battle looks like now.

    observation: float32 [K, O], state: float32 [S], available: uint8 [K, A], alive: uint8 [K], each
    as its bytes.
    reward: of the step that led here, 0 after a reset.
    """

    observation: bytes
    state: bytes
    available: bytes
    alive: bytes
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    won: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The game is lost, or cannot be had; the worker ends.

    hopeless: another game would fail in the same way.
    """

    reason: str
    hopeless: bool = False


Request = Launch | Reset | Step | Close
Reply = Frame | Failed

_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_REPLIES: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


class Closed(Exception):
    """The other end has gone."""


class Late(Exception):
    """No answer came before the deadline."""


class Channel:
    """One end of the conversation."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._kept = bytearray()

    def send(self, message: Request | Reply) -> None:
        """Say something.

        Raises:
            Closed: nobody hears it any more.
        """
        payload = _ENCODER.encode(message)
        try:
            self._socket.sendall(_LENGTH.pack(len(payload)) + payload)
        except OSError as error:
            raise Closed(str(error)) from error

    def request(self) -> Request:
        """Wait for the next request, as long as the actor lives.

        Raises:
            Closed: it lives no more.
        """
        while (payload := self._whole()) is None:
            self._read()
        return _REQUESTS.decode(payload)

    def reply(self, deadline: float, on_wait: Callable[[], None]) -> Reply:
        """Wait for the answer to a request.

        Args:
            deadline: monotonic seconds.
            on_wait: called a few times a second; may raise to give up.

        Raises:
            Closed: the worker has gone.
            Late: no answer in time.
        """
        while (payload := self._whole()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late
            ready, _, _ = select.select([self._socket], [], [], min(left, _SLICE_SECONDS))
            if ready:
                self._read()
            else:
                on_wait()
        try:
            return _REPLIES.decode(payload)
        except msgspec.DecodeError as error:
            raise Closed(f"it answered with garbage ({error})") from error

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(2**18)
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("the other end has gone")
        self._kept += data

    def _whole(self) -> bytes | None:
        """The first frame, if all of it is here."""
        if len(self._kept) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._kept)
        if length > _LONGEST:
            raise Closed(f"it announced {length} bytes")
        end = _LENGTH.size + length
        if len(self._kept) < end:
            return None
        payload = bytes(self._kept[_LENGTH.size : end])
        del self._kept[:end]
        return payload
