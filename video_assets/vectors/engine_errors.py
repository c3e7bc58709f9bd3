"""The embedded engine's errors, bare `Exception`s and Rust panics, as typed ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from video_assets.vectors.index_errors import IndexCorruptError, IndexUnwritableError


@contextmanager
def engine_errors(shard: Path) -> Iterator[None]:
    """Raises `IndexUnwritableError` or `IndexCorruptError` for what the engine raises about `shard`.

    `shard` is `<index>/<collection>/shard`; other exceptions pass unchanged.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        message = " ".join(str(error).split())
        if any(sign in message for sign in ("Permission denied", "Read-only file", "No space left")):
            raise unwritable(shard.parent.parent, error) from error
        raise IndexCorruptError(str(shard), f"the engine cannot use it: {message}", rebuild(shard.parent)) from error


def unwritable(index: Path, error: BaseException) -> IndexUnwritableError:
    """The index's directory cannot be made, read or written."""
    return IndexUnwritableError(
        str(index),
        f"cannot be used: {error}",
        "Give the vector index a directory of its own that this user may write to, with room.",
    )


def rebuild(home: Path) -> str:
    """The way out where a collection's files are damaged."""
    return f"Delete {home} and materialize vector_index again; no frame is embedded anew."
