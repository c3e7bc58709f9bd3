"""What this process and a worker say to each other, and its form on their socket: a length, then a pickle.

Both ends are this program, so pickle is no new trust; a value travels as bytes inside its message, so that
one which cannot be unpickled spoils no more than itself.
"""

from __future__ import annotations

import pickle
import struct
from typing import BinaryIO, NamedTuple, TypeAlias

MEMORY_STAGE = "memory"
TIMEOUT_STAGE = "timeout"

_LENGTH = struct.Struct("!Q")


class Load(NamedTuple):
    """To the worker: import this function; the answer is `Ready` or `Unloadable`."""

    function_pickle: bytes


class Item(NamedTuple):
    """To the worker: call the function with this argument; the answer is `Value` or `Failure`."""

    item_pickle: bytes


class Rest(NamedTuple):
    """To the worker: no more items for now; leave unless something comes soon."""


class Ready(NamedTuple):
    """From the worker: the function is loaded."""


class Unloadable(NamedTuple):
    """From the worker: the function cannot be imported."""

    text: str


class Value(NamedTuple):
    """From the worker: what the function returned."""

    value_pickle: bytes
    seconds: float


class Failure(NamedTuple):
    """From the worker: what the function raised."""

    stage: str
    text: str
    retryable: bool
    seconds: float
    traceback: str


Order: TypeAlias = Load | Item | Rest
Message: TypeAlias = Ready | Unloadable | Value | Failure


def frame(message: Message | Order) -> bytes:
    """`message` as it goes over the socket."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Inbox:
    """Puts a worker's answers together from the pieces that the socket delivers."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def add(self, piece: bytes) -> Message | None:
        """The message that `piece` completes, if it does. One order, one answer: nothing follows it."""
        self._pieces += piece
        if len(self._pieces) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._pieces)
        if len(self._pieces) < _LENGTH.size + length:
            return None
        body = memoryview(self._pieces)[_LENGTH.size :]
        message: Message = pickle.loads(body)  # noqa: S301 - from our own worker
        self._pieces = bytearray()
        return message


def read_order(stream: BinaryIO) -> Order:
    """The next order from the parent, waiting for it.

    Raises:
        EOFError: the parent has closed the socket.
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    order: Order = pickle.loads(stream.read(*_LENGTH.unpack(header)))  # noqa: S301 - from our own parent
    return order
