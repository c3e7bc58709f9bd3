"""Item records: an item's record is its commit.

A record `items/<item_id>.parquet` holds the item's rows; it appears when the item's blobs are all published, and is
what a rerun goes by. A marker `items/<item_id>.attempt` goes before the work and away after the record, so that an
attempt that died with its run counts too. An ok record never changes; a failed one is replaced by the next attempt's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from video_assets.keys import Partition, blobs_prefix, items_prefix
from video_assets.storage.object_store import ObjectInfo, ObjectNotFound, ObjectStore
from video_assets.table_store.parquet import to_current_schema
from video_assets.table_store.parquet_bytes import parquet_bytes
from video_assets.table_store.table_store import TableError
from video_assets.tables import FAILED, OK, Table

_logger = logging.getLogger(__name__)

_META = b"video_assets.item"

_FEW = 4
"""So many items are looked for each by its name: their partition may hold thousands of others."""


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What became of an item. `rows` has the table's columns, and may have more that only the record keeps.

    `seconds` is what all its attempts took together.
    """

    item_id: str
    rows: pa.Table
    status: str
    attempts: int
    retryable: bool = False
    seconds: float = 0.0

    def without_extra_columns(self, table: Table) -> ItemRecord:
        """The record as `ItemRecords.read` gives it."""
        return replace(self, rows=self.rows.select(table.schema.names))

    def due(self, max_attempts: int) -> bool:
        """Whether another run should try again."""
        return self.status == FAILED and self.retryable and self.attempts < max_attempts


@dataclass(frozen=True)
class ItemRecords:
    """The records and attempt markers of one table's partition."""

    store: ObjectStore
    table: Table
    partition: Partition

    def uri(self, item_id: str) -> str:
        """Where an item's record lies."""
        return self.store.uri_of(self._key(item_id, "parquet"))

    def blobs(self, item_ids: Collection[str]) -> Iterator[str]:
        """The keys of the blobs of these items, perhaps among others of the partition."""
        return (info.key for info in self._list(self._blobs_prefix, item_ids))

    def blob_key(self, uri: str) -> str | None:
        """The key of a blob of this partition; None for what lies elsewhere."""
        key = self.store.key_of(uri)
        return key if key is not None and key.startswith(self._blobs_prefix) else None

    @property
    def _blobs_prefix(self) -> str:
        return blobs_prefix(self.table.name, self.partition)

    def load(self, item_ids: Iterable[str]) -> tuple[dict[str, ItemRecord], dict[str, int]]:
        """The records of these items that exist, and the attempts that markers without a record count.

        A marker left beside a finished record (a kill between the two) is taken away.
        """
        wanted = set(item_ids)
        found: dict[str, set[str]] = {}
        prefix = items_prefix(self.table.name, self.partition)
        for info in self._list(prefix, wanted):
            item_id, _, kind = info.key.removeprefix(prefix).partition(".")
            if item_id in wanted:
                found.setdefault(item_id, set()).add(kind)
        records = {}
        for item_id in [i for i, kinds in found.items() if "parquet" in kinds]:
            record = self._read_if_whole(item_id)
            if record is not None:
                records[item_id] = record
        begun = {item_id: self._begun(item_id) for item_id, kinds in found.items() if "attempt" in kinds}
        for item_id in [i for i in begun if i in records and records[i].attempts >= begun[i]]:
            self.store.delete(self._key(item_id, "attempt"))
            del begun[item_id]
        return records, begun

    def read(self, item_id: str) -> ItemRecord:
        """A record's rows in the table's columns; what only the record keeps is not read."""
        import pyarrow.parquet as pq

        with self.store.open(self._key(item_id, "parquet")) as stream:
            file = pq.ParquetFile(stream)
            # Each look at it makes it anew, which takes longer than to read the rows.
            stored = file.schema_arrow
            names = {*stored.names}
            rows = file.read(columns=[name for name in self.table.schema.names if name in names], use_threads=False)
            return ItemRecord(item_id, to_current_schema(self.table, rows), **json.loads(stored.metadata[_META]))

    def _read_if_whole(self, item_id: str) -> ItemRecord | None:
        """A record that something outside has damaged counts as missing: the item is made again."""
        try:
            return self.read(item_id)
        except (pa.ArrowException, TableError, KeyError, ValueError, TypeError) as error:
            _logger.warning("%s is damaged and will be made again: %s", self.uri(item_id), error)
            return None

    def begin(self, item_id: str, attempts: int) -> None:
        """Marks that the attempt of this number is under way."""
        self.store.put(self._key(item_id, "attempt"), json.dumps({"attempts": attempts}).encode())

    def publish(self, record: ItemRecord) -> None:
        """Commits the item: its record appears whole, then its marker goes."""
        self.store.put(self._key(record.item_id, "parquet"), parquet_bytes(_with_metadata(record)))
        self.store.delete(self._key(record.item_id, "attempt"))

    def withdraw(self, attempts: Mapping[str, int]) -> None:
        """Sets items back to the attempts they had before `begin`."""
        for item_id, before in attempts.items():
            if before:
                self.begin(item_id, before)
            else:
                self.store.delete(self._key(item_id, "attempt"))

    def _list(self, prefix: str, item_ids: Collection[str]) -> Iterator[ObjectInfo]:
        """What lies under a prefix of these items, perhaps among what is others'. Its names begin with an item's id."""
        if len(item_ids) > _FEW:
            yield from self.store.list(prefix)
            return
        for item_id in sorted(item_ids):
            yield from self.store.list(prefix + item_id)

    def _begun(self, item_id: str) -> int:
        try:
            return int(json.loads(self.store.get(self._key(item_id, "attempt")))["attempts"])
        except (ObjectNotFound, KeyError, ValueError, TypeError):
            return 0

    def _key(self, item_id: str, kind: str) -> str:
        return f"{items_prefix(self.table.name, self.partition)}{item_id}.{kind}"


def _with_metadata(record: ItemRecord) -> pa.Table:
    """The record's rows, and what is known of the item as a whole."""
    item: Mapping[str, object] = {
        "status": record.status,
        "attempts": record.attempts,
        "retryable": record.retryable and record.status != OK,
        "seconds": round(record.seconds, 3),
    }
    return record.rows.replace_schema_metadata({_META: json.dumps(item).encode()})
