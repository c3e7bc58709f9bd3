"""Whether the vectors that a partition's rows name are numbers, of length 1, and of the model's dimension."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from video_assets.storage.object_store import StoreError
from video_assets.storage.registry import open_store, split_uri
from video_assets.tables import OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LENGTH_TOLERANCE = 1e-3
"""Far above the rounding of 32-bit numbers in 4,096 dimensions, far below what changes a ranking."""

_COLUMNS = ("vectors_uri", "vector_row", "dim")


def vector_faults(rows: pa.Table) -> list[str]:
    """A sentence for each file whose vectors are not what its ok rows say; each file is read once, one at a time."""
    ok = rows.filter(pc.field("status") == OK).select(list(_COLUMNS)).to_pylist()
    ok.sort(key=lambda row: (row["vectors_uri"], row["vector_row"]))
    return [
        f"{uri} {fault}"
        for uri, group in groupby(ok, key=lambda row: str(row["vectors_uri"]))
        if (fault := next(_faults(uri, list(group)), ""))
    ]


def _faults(uri: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    import numpy as np

    try:
        vectors = _read(uri)
    except (StoreError, pa.ArrowException, KeyError, ValueError) as error:
        yield f"cannot be read: {error}"
        return
    numbers = np.array([row["vector_row"] for row in rows])
    if numbers.max() >= len(vectors):
        yield f"has {len(vectors)} vectors, and a row names number {numbers.max()}"
        return
    dim = rows[0]["dim"]
    if vectors.shape[1] != dim:
        yield f"has vectors of {vectors.shape[1]} dimensions, not {dim}"
        return
    lengths = np.linalg.norm(vectors[numbers].astype(np.float64), axis=1)
    finite = np.isfinite(lengths)
    if not finite.all():
        yield f"has {int((~finite).sum())} vectors that are not numbers, number {numbers[~finite][0]} for one"
    off = finite & (np.abs(np.where(finite, lengths, 1) - 1) > LENGTH_TOLERANCE)
    if off.any():
        first = int(np.flatnonzero(off)[0])
        yield f"has {int(off.sum())} vectors not of length 1: number {numbers[first]} has {lengths[first]:.6g}"


def _read(uri: str) -> NDArray[np.float32]:
    """All vectors of a file, (n, dim).

    Raises:
        StoreError, ArrowException, KeyError, ValueError: there is no such file, or none of vectors.
    """
    import pyarrow.parquet as pq

    root, key = split_uri(uri)
    with open_store(root).open(key) as stream:
        column = pq.read_table(stream, columns=["vector"])["vector"].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.null_count:
        raise ValueError(f"its column `vector` is of type {column.type}, with {column.null_count} nulls")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    vectors: NDArray[np.float32] = flat.reshape(len(column), column.type.list_size)
    return vectors
