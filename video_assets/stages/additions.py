"""Rows of some videos put into a partition's table beside those that stay: no record of another video is read.

It costs what the partition's table costs to read and write; a fold of all records costs a request for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from video_assets.keys import Partition, without_endpoint
from video_assets.stages.items import BLOB_COLUMN
from video_assets.storage.object_store import ObjectStore
from video_assets.table_store.provenance import Recipe
from video_assets.table_store.table_store import Fold, PartitionNotFound, TableStore
from video_assets.tables import Table


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit made of a partition's table.

    Attributes:
        before: the data version of the table that it replaced; None where there was none.
        fold: what was committed.
        is_addition: nothing changed but the rows of the videos that are added.
    """

    before: str | None
    fold: Fold
    is_addition: bool


def added(
    table: Table,
    rows: pa.Table,
    above: Change,
    paths: frozenset[str],
    *,
    recipe: Recipe,
    tables: TableStore,
    store: ObjectStore,
) -> Fold | None:
    """The partition's table with these rows in place of those of the same videos.

    Args:
        rows: what the stage makes of the videos, the fold of their records.
        above: the commit of the table that this one is made of.
        paths: the videos, without the endpoints in their URIs.

    Returns:
        None where the table is not the fold of what `above` replaced: it is to be made as a whole.
    """
    partition = above.fold.partition
    assert partition is not None
    base = tables.version(table, partition)
    known = tables.provenance(table, partition)
    is_first = base is None and above.fold.base is None
    is_next = known is not None and (known.upstream_version, known.recipe) == (above.before, recipe)
    if not above.is_addition or not (is_first or is_next):
        return None
    others = None if is_first else _others(table, partition, paths, tables, store)
    if others is None and not is_first:
        return None
    return Fold(
        table,
        partition,
        rows if others is None else pa.concat_tables([others, rows]),
        base,
        made=len(paths),
        upstream=above.fold.ordered,
        upstream_version=above.fold.data_version,
        recipe=recipe,
        seconds=known.seconds if known is not None else 0.0,
    )


def _others(
    table: Table, partition: Partition, paths: frozenset[str], tables: TableStore, store: ObjectStore
) -> pa.Table | None:
    """The committed rows of other videos; None where they name blobs by another URI of the store than rows do now."""
    try:
        rows = tables.read(table, partition)
    except PartitionNotFound:
        return None
    is_other = [without_endpoint(path) not in paths for path in rows["video_path"].to_pylist()]
    rows = rows.filter(pa.array(is_other, pa.bool_()))
    if column := BLOB_COLUMN.get(table.name):
        here = pc.or_(pc.starts_with(rows[column], f"{store.uri}/"), pc.equal(rows[column], rows["video_path"]))
        if not pc.all(here.drop_null(), min_count=0).as_py():
            return None
    return rows
