"""What a collection is, whichever engine holds it: its name, its indexed payload fields, its input."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from video_assets.vectors.index_errors import (
    CollectionMismatchError,
    CollectionMissingError,
    InvalidInputError,
)
from video_assets.vectors.vector_index import PayloadValue, Point

# Field → type of its payload index; searches filter by these.
INDEXED_FIELDS = {
    "vehicle": "keyword",
    "camera": "keyword",
    "date": "keyword",
    "clip_id": "keyword",
    "model_version": "keyword",
    "captured_at": "integer",
}

BATCH_BYTES = 5_000_000
SCROLL_PAGE = 5_000
DELETE_BATCH = 5_000

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POINT_OVERHEAD_BYTES = 64
_JSON = json.JSONEncoder(ensure_ascii=False)
_LEAST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**63 - 1
_TEXT_OR_NONE = (str, bool, NoneType)
_LEAST_SQUARE = 1e-30
"""Below it, a float32 sum of squares is no longer exact enough to tell a short vector from none."""


def is_collection_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(collection: str) -> None:
    """Raises `InvalidInputError` unless `collection` is safe as a directory name and in a URL."""
    if not is_collection_name(collection):
        raise InvalidInputError(
            f"collection {collection!r}",
            f"the name does not match {_NAME.pattern}",
            "Name it after the model, in lower case.",
        )


def check_dim(dim: int) -> None:
    """Raises `InvalidInputError` for a dimension that the engines do not take."""
    if not 1 <= dim <= 65_536:
        raise InvalidInputError("collection", f"dimension {dim} is not in 1..65536")


def check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidInputError("query", f"limit {limit} is below 1")


def missing_error(collection: str, location: str) -> CollectionMissingError:
    return CollectionMissingError(
        f"collection {collection}",
        f"not in the index at {location}",
        "Materialize vector_index first; `video-assets up` makes it of what is uploaded.",
    )


def mismatch_error(collection: str, location: str, found: str, wanted: int | str) -> CollectionMismatchError:
    return CollectionMismatchError(
        f"collection {collection}",
        f"at {location} it holds vectors of {found}, not {wanted} (cosine)",
        "Give the model that makes other vectors another name, or delete the collection and rebuild it.",
    )


def check_vector(item: str, vector: NDArray[np.float32], collection: str, dim: int) -> None:
    """Raises unless `vector` is float32 (dim,), finite and has a direction."""
    if vector.dtype != np.float32 or vector.ndim != 1:
        raise InvalidInputError(item, f"the vector is {vector.dtype} {vector.shape}, not float32 ({dim},)")
    if vector.shape[0] != dim:
        raise CollectionMismatchError(
            item,
            f"the vector has {vector.shape[0]} dimensions, collection {collection} has {dim}",
            "Use the model that the collection was made with.",
        )
    square = float(vector.dot(vector))
    if not _LEAST_SQUARE < square < math.inf:
        # Once more in float64: a float32 sum of squares overflows for large finite numbers.
        exact = vector.astype(np.float64)
        norm = math.sqrt(exact.dot(exact))
        if not math.isfinite(norm) or norm < np.finfo(np.float32).tiny:
            raise InvalidInputError(item, f"the vector's length is {norm}")


def batches(points: Iterable[Point], collection: str, dim: int, *, bytes_per_number: int) -> Iterator[list[Point]]:
    """Checked points in lists whose estimated size stays below `BATCH_BYTES` (one point at least).

    Args:
        bytes_per_number: what one component of a vector takes at most in the engine's request.
    """
    batch: list[Point] = []
    size = 0
    for point in points:
        payload_bytes = _check_point(point, collection, dim)
        point_bytes = dim * bytes_per_number + payload_bytes + _POINT_OVERHEAD_BYTES
        if batch and size + point_bytes > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += point_bytes
    if batch:
        yield batch


def check_id(value: str) -> None:
    """Raises unless `value` is a UUID as it comes back from the engines: lower case, with hyphens."""
    if _UUID.fullmatch(value) is None:
        raise InvalidInputError(f"point {value!r}", "the id is not a canonical UUID")


def _check_point(point: Point, collection: str, dim: int) -> int:
    """Raises for a point that an engine would refuse or change; returns the bytes of its payload as JSON."""
    check_id(point.id)
    item = f"point {point.id}"
    check_vector(item, point.vector, collection, dim)
    refused = [field for field, value in point.payload.items() if not _is_plain(value)]
    if refused:
        value = point.payload[refused[0]]
        raise InvalidInputError(item, f"payload field {refused[0]!r} holds {value!r}, which JSON or the index cannot")
    try:
        return len(_JSON.encode(dict(point.payload)).encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(item, f"the payload holds text that is not Unicode: {error.reason}") from error


def _is_plain(value: PayloadValue) -> bool:
    """Whether a payload can hold a value."""
    if isinstance(value, _TEXT_OR_NONE):
        return True
    if isinstance(value, int):
        return _LEAST_INTEGER <= value <= _LARGEST_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (list, tuple)) and all(isinstance(element, str) for element in value)


def plain_payload(payload: Mapping[str, PayloadValue]) -> dict[str, Any]:
    """The payload as the JSON encoders take it: tuples as lists."""
    plain = dict(payload)
    for field, value in payload.items():
        if isinstance(value, tuple):
            plain[field] = list(value)
    return plain
