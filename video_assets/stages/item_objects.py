"""The objects of items: of what kind each is, and which of them the committed tables name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from video_assets.keys import InvalidId, Partition, blobs_prefix, data_key, fleet_bag_window, items_prefix
from video_assets.stages.items import BLOB_COLUMN
from video_assets.storage.object_store import ObjectInfo, ObjectStore
from video_assets.table_store.table_store import PartitionNotFound, TableError, TableStore
from video_assets.tables import BY_NAME, CLIPS, EMBEDDINGS, FLEET_WINDOWS, FRAMES, ITEM, Table

ITEM_TABLES = (CLIPS, FRAMES, EMBEDDINGS)
"""The tables that have records and blobs."""

RECORD, MARKER, BLOB = "record", "marker", "blob"

_ID = "[0-9a-f]{32}"
_ITEM_OBJECT = re.compile(rf"({_ID})\.(parquet|attempt)")
_BLOB_OBJECT = re.compile(rf"({_ID})(?:(?:_[0-9]{{6,}})?(?:\.[^/.]+)?|/[^/]+)")
_PLACE = re.compile(r"([a-z_]+)/(date=[^/]+/vehicle=[^/]+)/.+")


@dataclass(frozen=True, slots=True)
class ItemObject:
    """One object of an item."""

    info: ObjectInfo
    item_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class NamedObjects:
    """What the committed tables name of a partition. `whole` is False where some of its rows name another store."""

    version: str | None
    items: set[str]
    keys: set[str]
    whole: bool

    def reason(self, found: ItemObject) -> str | None:
        """Why an object is garbage; None where it is none.

        A marker of an item that is named counts an attempt of the item's next run.
        """
        if found.item_id not in self.items:
            return "replaced"
        is_leftover = found.kind == BLOB and self.whole and found.info.key not in self.keys
        return "leftover" if is_leftover else None


def named_objects(tables: TableStore, store: ObjectStore, table: Table, partition: Partition) -> NamedObjects:
    """What the partition's own table names, and the one downstream that names its images.

    Raises:
        TableError: it is not known. Rows of before tables had `item_id` do not say it either.
    """
    version = tables.version(table, partition)
    rows = tables.read(table, partition)
    items = rows[ITEM.name].to_pylist()
    if None in items:
        raise TableError(
            f"table {table.name}, partition {partition}", "was written by an earlier version", "Materialize it again."
        )
    column = BLOB_COLUMN.get(table.name)
    uris = [uri for uri in rows[column].to_pylist() if uri is not None] if column else []
    found = [store.key_of(uri) for uri in uris]
    if table is FRAMES:
        found += [store.key_of(uri) for uri in _embedded_images(tables, partition)]
    keys = {key for key in found if key is not None}
    seen_through = {match[1] for key in keys if (match := _blob_match(key, table, partition))}
    return NamedObjects(version, {*items, *seen_through}, keys, whole=None not in found)


def _embedded_images(tables: TableStore, partition: Partition) -> list[str]:
    """The images that embeddings name: those of an earlier table of frames until the partition is embedded again."""
    try:
        rows = tables.read(EMBEDDINGS, partition)
    except PartitionNotFound:
        return []
    return [uri for uri in rows["image_url"].to_pylist() if uri is not None]


def partition_of(key: str) -> tuple[Table, Partition] | None:
    """The partition of a table with items that a key lies in."""
    match = _PLACE.fullmatch(key)
    table = BY_NAME.get(match[1]) if match else None
    if match is None or table not in ITEM_TABLES:
        return None
    try:
        return table, Partition.from_path(match[2])
    except InvalidId:
        return None


def item_object(info: ObjectInfo, table: Table, partition: Partition) -> ItemObject | None:
    """The object as one of an item; None where it is of no kind that items have."""
    items = items_prefix(table.name, partition)
    if info.key.startswith(items) and (match := _ITEM_OBJECT.fullmatch(info.key.removeprefix(items))):
        return ItemObject(info, match[1], RECORD if match[2] == "parquet" else MARKER)
    if match := _blob_match(info.key, table, partition):
        return ItemObject(info, match[1], BLOB)
    return None


def _blob_match(key: str, table: Table, partition: Partition) -> re.Match[str] | None:
    prefix = blobs_prefix(table.name, partition)
    return _BLOB_OBJECT.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None


def is_kept(key: str) -> bool:
    """Whether a key is that of a committed table, of one partition or unpartitioned, or of a bag of a fleet's batch API
    or an answer of it: these are a source, and stay.
    """
    name, _, rest = key.partition("/")
    if name not in BY_NAME:
        return False
    if name == FLEET_WINDOWS.name and (match := _PLACE.fullmatch(key)):
        return _is_of_fleet(key, match[2])
    path, _, file = rest.rpartition("/")
    try:
        return key == data_key(name, Partition.from_path(path) if path else None) and bool(file)
    except InvalidId:
        return False


def _is_of_fleet(key: str, path: str) -> bool:
    try:
        partition = Partition.from_path(path)
    except InvalidId:
        return False
    if key == data_key(FLEET_WINDOWS.name, partition):
        return True
    is_answer = re.fullmatch(r"[0-9]+-[0-9a-f]+\.jsonl", key.removeprefix(items_prefix(FLEET_WINDOWS.name, partition)))
    return is_answer is not None or fleet_bag_window(FLEET_WINDOWS.name, partition, key) is not None
