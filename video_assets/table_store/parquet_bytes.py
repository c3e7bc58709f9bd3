"""Rows as the bytes of a Parquet file."""

from __future__ import annotations

import io

import pyarrow as pa


def parquet_bytes(rows: pa.Table) -> bytes:
    """Rows as a Parquet file: the same bytes for the same rows."""
    import pyarrow.parquet as pq  # 10 MB, which a worker can do without while it decodes.

    sink = io.BytesIO()
    # Numbers of vectors hardly repeat: a dictionary takes them half again the room, zstd makes them 7 % smaller and
    # reading half as fast, and nobody filters by their extremes.
    plain = [_leaf(field) for field in rows.schema if not pa.types.is_fixed_size_list(field.type)]
    vectors = [_leaf(field) for field in rows.schema if pa.types.is_fixed_size_list(field.type)]
    pq.write_table(
        rows.combine_chunks(),
        sink,
        compression=dict.fromkeys(plain, "zstd") | dict.fromkeys(vectors, "none"),
        use_dictionary=plain,
        write_statistics=plain,
    )
    return sink.getvalue()


def _leaf(field: pa.Field) -> str:
    """The name of a field's column in a file, which for a list is that of its elements."""
    is_list = pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
    return f"{field.name}.list.element" if is_list else str(field.name)
