"""A record of the catalogue, and what the deployment's templates make of it: its video, its vehicle and its day."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.storage.object_store import ObjectStore
from video_assets.storage.registry import open_store


class UnusableRecord(VideoAssetsError):
    """A record that names no video, vehicle or day; `cause` says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table, as far as it is read."""

    id: int
    platform: str
    code: str
    publish_date: Date | None
    is_downloaded: bool
    is_extracted: bool
    is_embedded: bool

    @property
    def flags(self) -> tuple[bool, bool, bool]:
        """Downloaded, extracted, embedded."""
        return self.is_downloaded, self.is_extracted, self.is_embedded

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Record:
        """A row as `SELECTED` gives it."""
        return cls(
            int(row["id"]),
            str(row["platform"] or ""),
            str(row["code"] or ""),
            row["publish_date"],
            bool(row["is_downloaded"]),
            bool(row["is_extracted"]),
            bool(row["is_embedded"]),
        )


SELECTED = (
    "c.{id} AS id, c.{platform} AS platform, c.{code} AS code, c.{publish_date} AS publish_date, "
    "c.{is_downloaded} AS is_downloaded, c.{is_extracted} AS is_extracted, c.{is_embedded} AS is_embedded"
)
"""What is read of a row of `{content} AS c`."""


@dataclass(frozen=True)
class Places:
    """What the templates make of records."""

    settings: Settings

    @cached_property
    def root(self) -> ObjectStore:
        """Where every video lies: the source, or what stands before the first field of a URI."""
        if not self._is_uri:
            return open_store(self.settings.source_uri())
        return open_store(self._split[0])

    def video(self, record: Record) -> str:
        """The URI of a record's video; raises UnusableRecord. It never lies outside of `root`."""
        key = self._fill(self._split[1], record)
        if any(part in ("", ".", "..") for part in key.split("/")) or not key.isprintable():
            raise UnusableRecord(f"record {record.code!r}", f"{key!r} is no key of a video")
        return self.root.uri_of(key)

    def partition(self, record: Record) -> Partition:
        """The vehicle and day that a record belongs to.

        Raises:
            UnusableRecord: it has no publish_date.
            InvalidId: what stands for its vehicle can be none.
        """
        day = record.publish_date
        if day is None:
            raise UnusableRecord(f"record {record.code!r}", "has no publish_date")
        if isinstance(day, datetime):
            aware = day if day.tzinfo else day.replace(tzinfo=UTC)
            day = aware.astimezone(ZoneInfo(self.settings.timezone)).date()
        return Partition(day.isoformat(), self._fill(self.settings.catalogue_vehicle, record))

    @property
    def _is_uri(self) -> bool:
        return "://" in self.settings.catalogue_video

    @cached_property
    def _split(self) -> tuple[str, str]:
        """The URI of the store, empty for the source, and the template of the key in it."""
        template = self.settings.catalogue_video
        if not self._is_uri:
            return "", template
        head = next(iter(string.Formatter().parse(template)))[0]
        root, slash, _ = head.rpartition("/")
        return root, template[len(root + slash) :]

    @staticmethod
    def _fill(template: str, record: Record) -> str:
        if "{publish_date" in template and record.publish_date is None:
            raise UnusableRecord(f"record {record.code!r}", "has no publish_date")
        return template.format(
            platform=record.platform, code=record.code, id=record.id, publish_date=record.publish_date
        )
