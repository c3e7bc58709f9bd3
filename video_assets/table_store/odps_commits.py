"""What a deployment's object store keeps of each commit to MaxCompute, beside the item records.

MaxCompute tells when a partition last changed to the second, and makes an empty partition before its first rows come.
So a small record `commit.json` says whether a partition was ever committed, and under which version. It is replaced
before the rows are and again after: a version that someone read in between is of neither.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from video_assets.keys import Partition, partition_root
from video_assets.storage.object_store import ObjectNotFound, ObjectStore
from video_assets.table_store.provenance import Provenance
from video_assets.tables import Table


@dataclass(frozen=True)
class CommitRecord:
    """The last commit of a partition.

    Attributes:
        place: project and table that it was made to; one of another place says nothing of this one.
        version: another for each step of each commit.
        committed: whether the partition was committed once; a first commit that was begun is not.
        modified: when MaxCompute says that the rows of this commit came; None while they are on their way.
        provenance: as `Provenance.dump` gave it.
    """

    place: str
    version: str
    committed: bool
    modified: int | None = None
    provenance: str | None = None


@dataclass(frozen=True)
class CommitRecords:
    """The commit records of one deployment."""

    store: ObjectStore

    def read(self, table: Table, partition: Partition | None, place: str) -> CommitRecord | None:
        """The record; None where there is none, or it is of another place, or damaged."""
        try:
            stored = json.loads(self.store.get(_key(table, partition)))
            record = CommitRecord(
                str(stored["place"]),
                str(stored["version"]),
                stored["committed"] is True,
                None if stored["modified"] is None else int(stored["modified"]),
                None if stored["provenance"] is None else str(stored["provenance"]),
            )
        except (ObjectNotFound, ValueError, KeyError, TypeError):
            return None
        return record if record.place == place else None

    def begin(self, table: Table, partition: Partition | None, place: str, *, committed: bool) -> None:
        """Before the rows are replaced: no version and no provenance of before is valid any more."""
        self._write(table, partition, CommitRecord(place, uuid.uuid4().hex, committed))

    def finish(
        self, table: Table, partition: Partition | None, place: str, modified: int, provenance: Provenance | None
    ) -> None:
        """After the rows are there."""
        dumped = None if provenance is None else provenance.dump()
        self._write(table, partition, CommitRecord(place, uuid.uuid4().hex, True, modified, dumped))

    def _write(self, table: Table, partition: Partition | None, record: CommitRecord) -> None:
        said = {name: getattr(record, name) for name in CommitRecord.__dataclass_fields__}
        self.store.put(_key(table, partition), json.dumps(said).encode())


def _key(table: Table, partition: Partition | None) -> str:
    return partition_root(table.name, partition) + "commit.json"
