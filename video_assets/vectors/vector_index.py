"""The vector index: one protocol, embedded or on a server.

A collection holds the points of one model, one point per frame. It can always be rebuilt from the
embeddings table, so the index is never the only copy of anything.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from video_assets.vectors.index_errors import InvalidInputError

PayloadValue = str | int | float | bool | None | Sequence[str]

_POINT_NAMESPACE = uuid.UUID("6f0c2d3e-6b0e-5d52-9c0b-1f6f2f6f8a01")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Point:
    """One vector to index.

    Args:
        id: canonical lower-case UUID, see `point_id`.
        vector: float32, shape (dim,), finite, not all zero; the index normalizes it.
        payload: JSON scalars and lists of strings. `captured_at`, where known, is an integer: epoch
            microseconds, see `epoch_us`.
    """

    id: str
    vector: NDArray[np.float32]
    payload: Mapping[str, PayloadValue]


@dataclass(frozen=True)
class Hit:
    """One search result; `score` is the cosine similarity, -1..1, in float32 precision."""

    id: str
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True)
class PointFilter:
    """Which points: every field that is set must match.

    Args:
        vehicle, camera, date (`YYYY-MM-DD`), clip_id, model_version: equal to the payload's field.
        start, end: `start <= captured_at < end`, datetimes with a time zone. A point without
            `captured_at` matches no filter by time.

    Raises:
        InvalidInputError: a date or time that could never match what it seems to ask for.
    """

    vehicle: str | None = None
    camera: str | None = None
    date: str | None = None
    clip_id: str | None = None
    model_version: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.date is not None:
            _check_date(self.date)
        for field, value in self.equals().items():
            _check_text(field, value)
        for name, at in (("start", self.start), ("end", self.end)):
            if at is not None and at.utcoffset() is None:
                raise InvalidInputError(f"filter {name}", f"{at} has no time zone", "Give an aware datetime.")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InvalidInputError("filter", f"start {self.start} is not before end {self.end}")

    def equals(self) -> dict[str, str]:
        """Payload field → the value it must have."""
        fields = {
            "vehicle": self.vehicle,
            "camera": self.camera,
            "date": self.date,
            "clip_id": self.clip_id,
            "model_version": self.model_version,
        }
        return {field: value for field, value in fields.items() if value is not None}

    def captured_bounds(self) -> tuple[int | None, int | None]:
        """`captured_at` from (inclusive) and to (exclusive), epoch microseconds, None where open."""
        start = None if self.start is None else epoch_us(self.start)
        end = None if self.end is None else epoch_us(self.end)
        return start, end


EVERYTHING = PointFilter()


class VectorIndex(Protocol):
    """Points in collections. Every method raises a `VectorIndexError` that names the way out.

    Methods may be called from several threads and processes at once. A collection that does not
    exist raises `CollectionMissingError` everywhere but in `ensure` and `collections`. Collection
    names match `[a-z0-9][a-z0-9_-]{0,62}`.
    """

    def ensure(self, collection: str, dim: int) -> None:
        """Create the collection and its payload indexes where they are missing.

        Raises `CollectionMismatchError` if it exists with another dimension or distance.
        """

    def partition_points(self, collection: str, date: str, vehicle: str) -> dict[str, str]:
        """Id → payload field `row_hash` (empty where absent) of every point of a partition."""

    def upsert(self, collection: str, points: Iterable[Point]) -> int:
        """Write points, replacing those of the same id; returns how many. Durable on return.

        Written in batches: a kill leaves whole points only, and doing it again is harmless.
        """

    def delete(self, collection: str, ids: Iterable[str], *, where: PointFilter = EVERYTHING) -> int:
        """Remove those of `ids` that match `where`; returns how many went."""

    def query(
        self,
        collection: str,
        vector: NDArray[np.float32],
        *,
        limit: int,
        where: PointFilter = EVERYTHING,
    ) -> list[Hit]:
        """The `limit` points of highest cosine similarity, best first, ties by id."""

    def count(self, collection: str, *, where: PointFilter = EVERYTHING) -> int:
        """The exact number of points that match."""

    def collections(self) -> list[str]:
        """The names of the collections, sorted."""

    def session(self, collection: str) -> AbstractContextManager[None]:
        """Within the block, this thread's calls on the collection may share what is costly to open.

        Others that ask for the collection meanwhile still get their turn between two calls.
        """

    def close(self) -> None:
        """Release connections. An index is not used after this."""


def point_id(model: str, model_version: str, image_id: str) -> str:
    """The id of a frame's point: a UUID derived from the model, its version and the frame."""
    # Lengths first, so that no two triples read alike whatever characters they hold.
    name = f"{len(model)}:{model}{len(model_version)}:{model_version}{len(image_id)}:{image_id}"
    return str(uuid.uuid5(_POINT_NAMESPACE, name))


def epoch_us(at: datetime) -> int:
    """Microseconds since 1970 UTC, exactly: how payloads hold `captured_at`."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _check_date(value: str) -> None:
    try:
        valid = date.fromisoformat(value).isoformat() == value
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInputError("filter date", f"{value!r} is not a date", "Write it YYYY-MM-DD.")


def _check_text(field: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"filter {field}", f"{value!r} is not Unicode text") from error
