"""What to download: by vehicle, days, camera and stage, by a prefix of the source, or a list of URIs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from video_assets.downloads.errors import InvalidDownload, NothingSelected
from video_assets.keys import Partition
from video_assets.path_template import KeyFields, PathTemplate, Unmatched
from video_assets.settings import Settings
from video_assets.storage.object_store import ObjectInfo, ObjectStore
from video_assets.storage.registry import open_store, split_uri
from video_assets.storage.stream_keys import split_stream_key
from video_assets.table_store.registry import open_tables
from video_assets.table_store.table_store import PartitionNotFound, TableStore
from video_assets.tables import CLIPS, FRAMES, OK, VIDEO_MANIFEST, Table

Stage = Literal["raw", "clips", "frames"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of one stage.

    Attributes:
        stage: `raw` source videos, `clips`, or `frames` as images.
        vehicles: only these; empty: all.
        from_date, to_date: only these fleet-local days, both included; None: no bound.
        cameras: only these; empty: all.
        prefix: instead of the tables, whatever the source has under this prefix; of stage `raw` only.
        uris: instead of the tables, these objects; of stage `raw` only.
    """

    stage: Stage = "raw"
    vehicles: tuple[str, ...] = ()
    from_date: Date | None = None
    to_date: Date | None = None
    cameras: tuple[str, ...] = ()
    prefix: str | None = None
    uris: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        listed = self.prefix is not None or bool(self.uris)
        if listed and self.stage != "raw":
            raise InvalidDownload(str(self), f"has no {self.stage}: prefixes and URIs are of source videos")
        if self.prefix is not None and self.uris:
            raise InvalidDownload(str(self), "names a prefix and URIs", "Give two selections.")

    def __str__(self) -> str:
        named: dict[str, Any] = {
            "vehicle": self.vehicles,
            "camera": self.cameras,
            "prefix": self.prefix,
            "uris": self.uris[:3],
        }
        named |= {"from": self.from_date, "to": self.to_date}
        told = (f"{name} {_words(value)}" for name, value in named.items() if value not in (None, ()))
        return ", ".join([f"selection of {self.stage}", *told])

    def has_partition(self, partition: Partition) -> bool:
        """Whether footage of this vehicle and day is selected."""
        first, last = self.from_date or Date.min, self.to_date or Date.max
        if not first.isoformat() <= partition.date <= last.isoformat():
            return False
        return not self.vehicles or partition.vehicle in self.vehicles

    def has_camera(self, camera: str | None) -> bool:
        """Whether footage of this camera is selected."""
        return not self.cameras or camera in self.cameras


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """One file to write, and where its bytes are.

    Attributes:
        uri: the object.
        etag: its version; None: the present one.
        start, size_bytes: the range of it; `size_bytes` None: all of it.
        partition: the vehicle and its day.
        object_bytes: the size of the whole object, as its table says.
        checksum: of the whole object, `sha256:…`; None where its table has none.
        recording: the vehicle's footage of one start time over its cameras.
        camera: None where the path names none.
        name: below recording and camera, with `/`.
    """

    uri: str
    etag: str | None
    recording: str
    camera: str | None
    name: str
    start: int = 0
    size_bytes: int | None = None
    partition: Partition | None = None
    object_bytes: int | None = None
    checksum: str | None = None


def select(selection: Selection, settings: Settings) -> list[SelectedFile]:
    """The files of a selection, by camera and key.

    Raises:
        NothingSelected: there is none.
        InvalidDownload: a listed object belongs to no vehicle.
    """
    if selection.prefix is not None:
        store = open_store(settings.source_uri())
        found = _listed(selection, store, settings, list(store.list(selection.prefix)))
    elif selection.uris:
        found = [file for uri in selection.uris for file in _named(selection, uri, settings)]
    else:
        found = list(_of_tables(selection, settings))
    if not found:
        raise NothingSelected(str(selection), "has no file", "Look at `video-assets status`, or select more.")
    by_key = selection.stage == "raw"
    return sorted(found, key=lambda file: (file.camera or "", file.uri if by_key else file.recording, file.name))


def _listed(
    selection: Selection, store: ObjectStore, settings: Settings, infos: list[ObjectInfo]
) -> list[SelectedFile]:
    template = settings.template()
    wanted = [info for info in infos if not info.key.endswith("/")]
    files = []
    for info in wanted:
        fields = _fields(template, info)
        if selection.has_partition(fields.partition) and selection.has_camera(fields.camera):
            recording = recording_name(fields.partition, fields.start_time)
            name = _below_fields(info.key, template, fields.partition)
            file = SelectedFile(store.uri_of(info.key), info.etag, recording, fields.camera, name)
            files.append(replace(file, partition=fields.partition, object_bytes=info.size_bytes))
    return files


def _named(selection: Selection, uri: str, settings: Settings) -> list[SelectedFile]:
    source = open_store(settings.source) if settings.source is not None else None
    key = source.key_of(uri) if source is not None else None
    if source is None or key is None or split_stream_key(key) is not None:
        root, key = split_uri(uri)
        source = open_store(root)
    return _listed(selection, source, settings, [source.head(key)])


def _fields(template: PathTemplate, info: ObjectInfo) -> KeyFields:
    try:
        return template.match(info.key, info.last_modified)
    except Unmatched as error:
        raise InvalidDownload(error.item, f"belongs to no recording: it {error.cause}", error.remedy) from None


def _of_tables(selection: Selection, settings: Settings) -> Iterator[SelectedFile]:
    tables, template = open_tables(settings), settings.template()
    for partition in tables.partitions(VIDEO_MANIFEST):
        if selection.has_partition(partition):
            yield from _of_partition(selection, partition, tables, template, settings)


def _of_partition(
    selection: Selection, partition: Partition, tables: TableStore, template: PathTemplate, settings: Settings
) -> Iterator[SelectedFile]:
    # A list of videos needs no source of its own.
    source = open_store(settings.source) if settings.source is not None else None
    videos = {row["video_path"]: row for row in _rows(tables, VIDEO_MANIFEST, partition)}
    names = {}
    for path in videos:
        key = source.key_of(path) if source is not None else None
        names[path] = _below_fields(key, template, partition) if key is not None else PurePosixPath(path).name
    table = {"raw": VIDEO_MANIFEST, "clips": CLIPS, "frames": FRAMES}[selection.stage]
    for row in _rows(tables, table, partition):
        video = videos.get(row["video_path"])
        if row["status"] != OK or video is None or not selection.has_camera(row["camera"]):
            continue
        if selection.stage == "raw" and row["source_deleted_at"] is not None:
            continue
        recording = recording_name(partition, video["start_time"])
        yield replace(_MAKERS[selection.stage](row, recording, names[row["video_path"]]), partition=partition)


def _rows(tables: TableStore, table: Table, partition: Partition) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = tables.read(table, partition).to_pylist()
    except PartitionNotFound:
        return []
    return rows


def _raw(row: Mapping[str, Any], recording: str, name: str) -> SelectedFile:
    return SelectedFile(row["video_path"], row["etag"], recording, row["camera"], name, object_bytes=row["size_bytes"])


def _clip(row: Mapping[str, Any], recording: str, name: str) -> SelectedFile:
    """Named for its video; the windows and topics of one are told apart by the end of their clip ids.

    A clip in the store has its version in its URI; one left where it is has that of its source.
    """
    part = row["clip_id"].partition("_")[2]
    path = PurePosixPath(name)
    stem = f"{path.stem}_{part}" if part else path.stem
    suffix = PurePosixPath(row["clip_uri"]).suffix
    return SelectedFile(
        row["clip_uri"],
        row["source_etag"] if row["clip_uri"] == row["video_path"] else None,
        recording,
        row["camera"],
        str(path.with_name(stem + suffix)),
        object_bytes=row["size_bytes"],
        checksum=row["checksum"],
    )


def _frame(row: Mapping[str, Any], recording: str, name: str) -> SelectedFile:
    """In a folder for its clip, by its number."""
    part = row["clip_id"].partition("_")[2]
    path = PurePosixPath(name)
    folder = path.with_name(f"{path.stem}_{part}" if part else path.stem)
    image = f"{row['frame_idx']:06d}.{'jpg' if row['image_format'] == 'jpeg' else 'png'}"
    return SelectedFile(
        row["image_url"],
        None,
        recording,
        row["camera"],
        str(folder / image),
        row["image_offset"] or 0,
        row["image_size_bytes"],
    )


_MAKERS = {"raw": _raw, "clips": _clip, "frames": _frame}


def recording_name(partition: Partition, start: datetime | None) -> str:
    """`veh-7_20260103T083000Z`; of videos whose start is not known, the vehicle and its day."""
    when = partition.date if start is None else f"{start:%Y%m%dT%H%M%S}" + (f".{start:%f}" if start.microsecond else "")
    return f"{partition.vehicle}_{when}" + ("" if start is None else "Z")


def _below_fields(key: str, template: PathTemplate, partition: Partition) -> str:
    """The key without the folders that the template reads; of a video in chunks, its name without them."""
    if (stream := split_stream_key(key)) is not None:
        key = stream[1]
    depth = len(template.walks(partition)[0])
    return "/".join(key.split("/")[depth:])


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
