"""A list of videos in place of a listing: URIs of any bucket or disk, one a line, or a table with `video_path`.

What a line does not say is asked of the object, by HEAD. A line that is no video's, or whose object is not there, is a
row of the table `unmatched` that says where it stands; the second line of one video is counted as a duplicate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from urllib.parse import unquote, urlsplit

from video_assets.errors import VideoAssetsError
from video_assets.keys import InvalidId, Partition
from video_assets.path_template import KeyFields, PathTemplate, Unmatched
from video_assets.sources.list_rows import VIDEO_PATH, Line, ListError, lines_of, read_line
from video_assets.sources.parallel_listing import PIECE_KEYS, Report
from video_assets.sources.source_objects import Fault, ListedVideo, Remarks
from video_assets.sources.spool import Spool
from video_assets.sources.uri_store import UriStore
from video_assets.storage.object_store import ObjectInfo, ObjectNotFound, ObjectStore, StoreUnavailable
from video_assets.storage.registry import normal_uri, open_store, shown_uri, split_uri
from video_assets.storage.stream_keys import split_stream_key

HEADS = 16
"""How many objects are asked at a time."""

_AHEAD = 1000
_SHOWN = 200


@dataclass
class VideoList:
    """The videos that a list names.

    Args:
        uri: of the list, or with a slash at its end of a folder of lists.
        source: where keys begin that the path template is to read; others are read from their bucket's or disk's root.
        kind: the manifest's column `source`.
        entry: what one is called in messages.
    """

    uri: str
    source: ObjectStore | None = None
    kind: str = "list"
    entry: str = "line of the list"

    @property
    def store(self) -> UriStore:
        """Keys are URIs."""
        return UriStore(self.uri, self.source)

    def state(self) -> str:
        """The versions of the list's files."""
        root, infos = self._files()
        return json.dumps([(root.uri_of(info.key), info.etag) for info in infos])

    def everything(self, remarks: Remarks, report: Report | None = None) -> Iterator[ObjectInfo]:
        count = 0
        with Spool() as spool:
            for line in self._lines():
                try:
                    if "" in line.row:
                        raise ListError(line.where, line.row[""])
                    uri = normal_uri(str(line.row[VIDEO_PATH] or "").strip())
                except VideoAssetsError as error:
                    remarks.faults.append(self._fault(line, error.cause))
                    continue
                spool.add(uri.encode(), json.dumps([line.where, line.row], default=str).encode())
            with ThreadPoolExecutor(HEADS) as pool:
                lines = _firsts(spool, remarks)
                while part := list(islice(lines, _AHEAD)):
                    for found in pool.map(lambda line: self.video(*line), part):
                        if isinstance(found, Fault):
                            remarks.faults.append(found)
                            continue
                        count += 1
                        yield found
                        if report is not None and count % PIECE_KEYS == 0:
                            report(count, found.key)
        entries = self.entry.partition(" ")[0] + "s"
        told = f"{self.kind} {self.uri}: {count} videos, {len(remarks.faults)} {entries} that cannot be used"
        remarks.told.append(told)

    def fields(self, info: ObjectInfo, template: PathTemplate) -> KeyFields:
        given = info if isinstance(info, ListedVideo) else None
        try:
            read = template.match(self._path(info.key), info.last_modified)
        except Unmatched:
            if given is None or given.vehicle is None or not (given.date or given.start_time):
                raise
            return KeyFields(Partition(_day(given, template), given.vehicle), given.camera, given.start_time)
        if given is None:
            return read
        day = _day(given, template) if given.date or given.start_time else read.partition.date
        partition = Partition(day, given.vehicle or read.partition.vehicle)
        return KeyFields(partition, given.camera or read.camera, given.start_time or read.start_time)

    def video(self, uri: str, where: str, row: dict[str, str]) -> ListedVideo | Fault:
        """The video of a line, with what the line does not say asked of the object."""
        line = Line(where, row)
        try:
            said = read_line(row)
            size, etag, modified = said.size_bytes, said.etag, said.last_modified
            if size is None or etag is None or modified is None:
                now = self.store.head(uri)
                size, etag, modified = now.size_bytes, now.etag, now.last_modified
        except StoreUnavailable as error:
            if self._is_everyones(uri):
                raise
            return self._fault(line, error.cause)
        except ObjectNotFound:
            return self._fault(line, "is not there")
        except VideoAssetsError as error:
            return self._fault(line, f"{error.item} {error.cause}" if isinstance(error, InvalidId) else error.cause)
        except (ValueError, TypeError) as error:
            return self._fault(line, str(error))
        return ListedVideo(uri, size, etag, modified, said.vehicle, said.date, said.camera, said.start_time)

    def _is_everyones(self, uri: str) -> bool:
        """Whether a store that cannot be read is no fault of the line: lines name disks that are not there."""
        return not uri.startswith("file:")

    def _fault(self, line: Line, reason: str) -> Fault:
        text = shown_uri(str(line.row.get(VIDEO_PATH) or ""))[:_SHOWN]
        return Fault(text or line.where, f"is no usable {self.entry}: {line.where} {reason}")

    def _path(self, uri: str) -> str:
        """What the template reads: the key in the source, or else the path in the bucket or on the disk; of a video in
        chunks its name.
        """
        if split_stream_key(uri) is not None:
            return split_uri(uri)[1]
        key = self.source.key_of(uri) if self.source is not None else None
        if key is not None:
            return key
        root, key = split_uri(uri)
        return f"{unquote(urlsplit(root).path)}/{key}".lstrip("/") if root.startswith("file:") else key

    def _files(self) -> tuple[ObjectStore, list[ObjectInfo]]:
        if not self.uri.endswith("/"):
            root, key = split_uri(self.uri)
            store = open_store(root)
            try:
                return store, [store.head(key)]
            except ObjectNotFound:
                raise ListError(self.uri, "does not exist", "Set VIDEO_ASSETS_VIDEO_LIST to a list.") from None
        store = open_store(self.uri)
        return store, list(store.list())

    def _lines(self) -> Iterator[Line]:
        store, infos = self._files()
        for info in infos:
            with store.open(info.key, etag=info.etag) as file:
                yield from lines_of(file, store.uri_of(info.key))


def _firsts(spool: Spool, remarks: Remarks) -> Iterator[tuple[str, str, dict[str, str]]]:
    """URI, place and row of the first line of each video; the others are counted."""
    for key, lines in groupby(spool.sorted(), key=itemgetter(0)):
        (_, first), *others = lines
        if others:
            remarks.skipped["duplicate"] = remarks.skipped.get("duplicate", 0) + len(others)
        yield (key.decode(), *json.loads(first))


def _day(given: ListedVideo, template: PathTemplate) -> str:
    """The day that a line names, or the fleet's day of the start that it names."""
    if given.date is not None:
        return given.date
    assert given.start_time is not None
    return given.start_time.astimezone(template.fleet_zone).date().isoformat()
