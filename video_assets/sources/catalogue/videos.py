"""The videos of a catalogue as a source: of each record the object that its template names, asked by HEAD."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date as Date
from datetime import timedelta

from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.catalogue.database import Database
from video_assets.sources.catalogue.names import Names
from video_assets.sources.catalogue.records import SELECTED, Places, Record
from video_assets.sources.list_rows import VIDEO_PATH, Line
from video_assets.sources.source_objects import Fault, ListedVideo
from video_assets.sources.video_list import HEADS, VideoList

_PAGE = 10_000
_ALL = f"SELECT {SELECTED} FROM {{content}} AS c WHERE c.{{id}} > %(after)s ORDER BY c.{{id}} LIMIT %(limit)s"  # noqa: S608
# A day of the fleet's zone lies within three of the database's, whatever the column's type.
_OF_DAYS = (
    f"SELECT {SELECTED} FROM {{content}} AS c "  # noqa: S608
    "WHERE c.{publish_date} >= %(first)s AND c.{publish_date} < %(end)s"
)
# The same for the same records in any order; flags and times of change are no part of it.
_STATE = (
    "SELECT count(*) AS records, coalesce(sum(hashtextextended(concat_ws(chr(1), {id}, {platform}, {code}, "
    "{publish_date}), 0)::numeric), 0) AS digest FROM {content}"
)


class CatalogueVideos(VideoList):
    """The videos that the records of a catalogue name.

    Args:
        settings: name the database, the table, and what a record's video, vehicle and day are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.places = Places(settings)
        super().__init__(settings.catalogue_table, self.places.root, "catalogue", "record of the catalogue")

    def state(self) -> str:
        """A digest of what the records say."""
        with self._database() as database:
            row = database.execute(_STATE)[0]
        return json.dumps([row["records"], str(row["digest"])])

    def of_partition(self, partition: Partition) -> Iterator[ListedVideo]:
        """The videos of a vehicle's day. Records that name none are told where all are read."""
        looked = self.look(self.records_of(partition)).values()
        found = {video.key: video for video in looked if isinstance(video, ListedVideo)}
        yield from (found[key] for key in sorted(found, key=str.encode))

    def records_of(self, partition: Partition) -> list[Record]:
        """The records of a vehicle's day."""
        day = Date.fromisoformat(partition.date)
        values = {"first": day - timedelta(days=1), "end": day + timedelta(days=2)}
        with self._database() as database:
            records = [Record.of(row) for row in database.execute(_OF_DAYS, values)]
        return [record for record in records if self._is_of(record, partition)]

    def look(self, records: Sequence[Record]) -> dict[int, ListedVideo | Fault]:
        """The video of each record as it is now, by the record's id.

        Raises:
            StoreUnavailable: where the videos lie cannot be read: nothing is known of any.
        """
        lines = [self._line(record) for record in records]
        with ThreadPoolExecutor(HEADS) as pool:
            found = list(pool.map(self._look, lines))
        return {record.id: video for record, video in zip(records, found, strict=True)}

    def _look(self, line: Line) -> ListedVideo | Fault:
        if "" in line.row:
            return self._fault(line, line.row[""])
        return self.video(line.row[VIDEO_PATH], line.where, line.row)

    def _is_of(self, record: Record, partition: Partition) -> bool:
        try:
            return self.places.partition(record) == partition
        except VideoAssetsError:
            return False

    def _lines(self) -> Iterator[Line]:
        return (self._line(record) for record in self._records())

    def _records(self) -> Iterable[Record]:
        after = -(2**63)
        with self._database() as database:
            while rows := database.execute(_ALL, {"after": after, "limit": _PAGE}):
                yield from map(Record.of, rows)
                after = rows[-1]["id"]

    def _database(self) -> Database:
        """A connection for one question: a source is not asked often, and nobody would close it."""
        assert self._settings.catalogue_url is not None
        return Database(self._settings.catalogue_url, Names.of(self._settings), away_s=0)

    def _line(self, record: Record) -> Line:
        """What a record says, as a line of a list would; one that says nothing of use has the reason instead."""
        where = f"record {record.code}"
        try:
            partition = self.places.partition(record)
            row = {VIDEO_PATH: self.places.video(record), "vehicle": str(partition.vehicle), "date": partition.date}
        except VideoAssetsError as error:
            # `record x: vehicle id 'a|b' is not …` names what it is about.
            cause = error.cause if error.item.startswith("record ") else f"{error.item} {error.cause}"
            return Line(where, {"": cause})
        return Line(where, row)

    def _is_everyones(self, uri: str) -> bool:
        """All lie in one place."""
        return True
