"""How far videos are by what is durable: committed rows, the objects that they name, and points in the index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.catalogue.claims import Ending
from video_assets.stages.blob_faults import blob_faults
from video_assets.stages.items import Row
from video_assets.storage.registry import open_store
from video_assets.table_store.items import ItemRecords
from video_assets.table_store.table_store import PartitionNotFound, TableStore, fingerprint
from video_assets.tables import CLIPS, EMBEDDINGS, FAILED, FRAMES, ITEM, OK, VECTOR_INDEX, VIDEO_MANIFEST, Table

NOT_YET = "is not made yet"


@dataclass(frozen=True, slots=True)
class Output:
    """What is there of a video, and why the rest is not.

    Attributes:
        downloaded, extracted, embedded: whether that stage's whole output is there; each needs the one before.
        stage, message: what keeps it from the next; None where all is there.
        retryable: whether another attempt at the same bytes may go well.
    """

    downloaded: bool
    extracted: bool
    embedded: bool
    stage: str | None = None
    message: str | None = None
    retryable: bool = True

    def ending(self, record_id: int) -> Ending:
        """What that means for the record of the video."""
        flags = (self.downloaded, self.extracted, self.embedded)
        if self.embedded:
            return Ending(record_id, flags, "done")
        return Ending(record_id, flags, "failed", self.stage, self.message, self.retryable)


def outputs(partition: Partition, paths: Iterable[str], tables: TableStore, settings: Settings) -> dict[str, Output]:
    """What is there of each of these videos of a partition, read back from tables, store and index.

    A failed row of a video is not all of it: it counts as not there, though what is good of it is in the tables.
    """
    look = _Look(partition, tables, settings, pa.array(sorted({*paths}), pa.string()))
    return {path: look.output(path) for path in look.paths.to_pylist()}


class _Look:
    """The committed rows of some videos of a partition."""

    def __init__(self, partition: Partition, tables: TableStore, settings: Settings, paths: pa.Array) -> None:
        self.paths = paths
        self._partition, self._tables, self._settings = partition, tables, settings
        self._store = open_store(settings.store)
        # By table: whether any object is missing, which is seldom; whose it is, is looked at only then.
        self._faulty: dict[str, bool] = {}
        manifest = self._read(VIDEO_MANIFEST)
        self._etags = {row["video_path"]: row["etag"] for row in manifest.to_pylist()} if manifest else {}
        self._rows_of = {table.name: self._grouped(table) for table in (CLIPS, FRAMES, EMBEDDINGS)}
        self._is_indexed = self._index_is_whole()

    def output(self, path: str) -> Output:
        """How far a video is."""
        downloaded = self._fault(CLIPS, path) or self._other_version(path)
        if downloaded is not None:
            return Output(False, False, False, *downloaded)
        extracted = self._fault(FRAMES, path) or self._lacking(FRAMES, path, CLIPS, "clip_id")
        if extracted is not None:
            return Output(True, False, False, *extracted)
        embedded = self._fault(EMBEDDINGS, path, needed=False) or self._without_vector(path)
        if embedded is None and not self._is_indexed:
            embedded = (VECTOR_INDEX.name, f"{VECTOR_INDEX.name} {NOT_YET} of these vectors", True)
        return Output(True, True, True) if embedded is None else Output(True, True, False, *embedded)

    def _fault(self, table: Table, path: str, *, needed: bool = True) -> tuple[str, str, bool] | None:
        """What is wrong with a video's rows of a table and their objects: stage, words, whether to try again."""
        found = self._rows_of[table.name].get(path)
        if found is None:
            return (table.name, f"{table.name} {NOT_YET} of it", True) if needed else None
        row = next((row for row in found if row["status"] == FAILED), None)
        if row is not None:
            return row["error_stage"], row["error_msg"].removeprefix(f"{path}: "), self._is_due(table, row)
        if self._faulty[table.name]:
            faults = blob_faults(table, self._partition, table.rows(found), self._store).faults
            if faults:
                return table.name, faults[0], True
        return None

    def _other_version(self, path: str) -> tuple[str, str, bool] | None:
        etag = self._etags.get(path)
        if all(row["source_etag"] == etag for row in self._rows_of[CLIPS.name][path]):
            return None
        return CLIPS.name, f"{CLIPS.name} are of an earlier version of it", True

    def _lacking(self, table: Table, path: str, of: Table, column: str) -> tuple[str, str, bool] | None:
        """An ok row of the table before that has no row here."""
        has = {row[column] for row in self._rows_of[table.name][path]}
        wanted = {row[column] for row in self._rows_of[of.name][path] if row["status"] == OK}
        return None if wanted <= has else (table.name, f"{table.name} {NOT_YET} of all its clips", True)

    def _without_vector(self, path: str) -> tuple[str, str, bool] | None:
        images = {row["image_id"] for row in self._rows_of[FRAMES.name][path] if row["status"] == OK}
        found = self._rows_of[EMBEDDINGS.name].get(path, [])
        has = {(row["model"], row["image_id"]) for row in found if row["status"] == OK}
        wanted = {(model, image) for model in self._settings.embed_models for image in images}
        return None if wanted <= has else (EMBEDDINGS.name, f"{EMBEDDINGS.name} {NOT_YET} of all its frames", True)

    def _is_due(self, table: Table, row: Row) -> bool:
        try:
            record = ItemRecords(self._store, table, self._partition).read(row[ITEM.name])
        except Exception:
            # Whatever is wrong with the record, another attempt will make it anew.
            return True
        return record.due(self._settings.max_attempts)

    def _index_is_whole(self) -> bool:
        """Whether the index was made of the embeddings as they are, and holds a point for each vector of each model."""
        try:
            rows = self._tables.read(VECTOR_INDEX, self._partition).to_pylist()
            embedded = self._tables.read(EMBEDDINGS, self._partition)
        except PartitionNotFound:
            return False
        made_of = self._tables.provenance(VECTOR_INDEX, self._partition)
        if made_of is None or made_of.upstream_version != fingerprint(EMBEDDINGS, embedded):
            return False
        whole = {row["model"] for row in rows if row["points"] == row["vectors"]}
        return {*self._settings.embed_models} <= whole

    def _read(self, table: Table) -> pa.Table | None:
        try:
            rows = self._tables.read(table, self._partition)
        except PartitionNotFound:
            return None
        return rows.filter(pc.is_in(rows["video_path"], value_set=self.paths))

    def _grouped(self, table: Table) -> dict[str, list[Row]]:
        rows = self._read(table)
        if rows is None:
            return {}
        self._faulty[table.name] = bool(blob_faults(table, self._partition, rows, self._store).faults)
        found: dict[str, list[Row]] = {}
        for row in rows.to_pylist():
            found.setdefault(row["video_path"], []).append(row)
        return found
