"""A file on a disk that several threads write at once, each at its own place."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from video_assets.storage.local_files import unavailable_on_os_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


WRITE_BYTES = 64 * 1024
"""Written at a time. For more, Linux takes large pages for its cache, which a virtual machine may have to get from its
host first: up to four times the CPU, measured on Linux 6.18."""


class PositionedFile:
    """An open file that a caller owns.

    Args:
        descriptor: open for reading and writing; not closed here.
        item: what it will become, for errors.

    Raises:
        StoreUnavailable: from every method.
    """

    def __init__(self, descriptor: int, item: str) -> None:
        self._descriptor = descriptor
        self._item = item

    def write_at(self, position: int, data: ReadableBuffer) -> None:
        """Writes all of `data`, whose buffer may be used again afterwards."""
        rest = memoryview(data).cast("B")
        with unavailable_on_os_error(self._item):
            while rest:
                written = os.pwrite(self._descriptor, rest[:WRITE_BYTES], position)
                rest, position = rest[written:], position + written

    def read_at(self, position: int, buffer: memoryview) -> None:
        """Fills `buffer` with bytes written before."""
        with unavailable_on_os_error(self._item):
            while buffer:
                count = os.preadv(self._descriptor, [buffer], position)
                if not count:
                    raise OSError(errno.EIO, "another program cut it short")
                buffer, position = buffer[count:], position + count

    def begin_write_out(self, position: int, length: int) -> None:
        """Has the system put bytes written before on the disk from now on, so that a later fsync has less to wait for.

        Done where it can be; there is nothing to wait for, and nothing is promised.
        """
        start = _sync_file_range()
        if start is not None:
            start(self._descriptor, position, length, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's call of this name, for which Python has none."""
    if not sys.platform.startswith("linux"):
        return None
    call: Any = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return cast("Callable[[int, int, int, int], int] | None", call)
