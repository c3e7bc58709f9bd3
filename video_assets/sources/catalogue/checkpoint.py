"""How far a run is, for people: a row of `extraction_checkpoints`, or a file. Nothing is left out because of it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from video_assets.sources.catalogue.database import Database
from video_assets.sources.catalogue.names import PIPELINE

_ADD = (
    "INSERT INTO {checkpoints} AS k (pipeline_name, last_processed_id, total_processed, total_failed) "
    "VALUES (%(pipeline)s, %(last)s, %(processed)s, %(failed)s) ON CONFLICT (pipeline_name) DO UPDATE SET "
    "last_processed_id = excluded.last_processed_id, total_processed = k.total_processed + excluded.total_processed, "
    "total_failed = k.total_failed + excluded.total_failed, updated_at = now()"
)


class Checkpoint(Protocol):
    """Where progress is told."""

    def add(self, last_id: int, processed: int, failed: int) -> None:
        """Counts records that have ended, failed ones among them; `last_id` is one of them."""


class TableCheckpoint:
    """A row that all processes count in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, last_id: int, processed: int, failed: int) -> None:
        values = {"pipeline": PIPELINE, "last": last_id, "processed": processed, "failed": failed}
        self._database.execute(_ADD, values)


class FileCheckpoint:
    """A JSON file of one process, replaced as a whole. What an earlier run counted is gone on with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, last_id: int, processed: int, failed: int) -> None:
        known = self._read()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        told = {
            "pipeline_name": PIPELINE,
            "last_processed_id": last_id,
            "total_processed": _count(known, "total_processed") + processed,
            "total_failed": _count(known, "total_failed") + failed,
            "created_at": known.get("created_at", now),
            "updated_at": now,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(told, indent=2) + "\n")
        part.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _count(known: dict[str, Any], name: str) -> int:
    value = known.get(name)
    return value if isinstance(value, int) else 0
