"""The lines of a list of videos: a text, CSV or Parquet file, or Arrow batches of a table.

| form | a line is |
|---|---|
| text | one URI; empty lines, and those that begin with `#`, are none |
| CSV | a row; its first line names the columns, `video_path` among them |
| Parquet, Arrow | a row with a column `video_path` |

Other columns are used where they are there and filled: `size_bytes` (or `size`), `etag`, `last_modified`, `vehicle`,
`date`, `camera`, `start_time`. Times are ISO 8601, in UTC where they name no offset.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date
from typing import IO, Any, cast

import pyarrow as pa

from video_assets.keys import check_date, check_id
from video_assets.storage.object_store import StoreUnavailable

VIDEO_PATH = "video_path"
_BATCH_ROWS = 10_000
Row = dict[str, Any]


class ListError(StoreUnavailable):
    """A list of videos that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and where it stands: `line 7`, `row 12`."""

    where: str
    row: Row


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says of its video; None where it does not."""

    size_bytes: int | None
    etag: str | None
    last_modified: datetime | None
    vehicle: str | None
    date: str | None
    camera: str | None
    start_time: datetime | None


def lines_of(file: IO[bytes], name: str) -> Iterator[Line]:
    """The lines of a file, by its name's ending: `.parquet`, else text or CSV; `.gz` is unpacked.

    Raises:
        ListError: it is no text or no Parquet file, or has no column `video_path`.
    """
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        try:
            yield from lines_of_batches(pq.ParquetFile(file).iter_batches(_BATCH_ROWS), name)
        except pa.ArrowException as error:
            raise ListError(name, f"is no Parquet file: {error}", "Write the list anew.") from None
        return
    unpacked = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if name.endswith(".gz") else file
    try:
        yield from _text_lines(io.TextIOWrapper(unpacked, "utf-8-sig", newline=""), name)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ListError(name, f"is no text in UTF-8: {error}", "Save it as UTF-8.") from None


def lines_of_batches(batches: Iterable[pa.RecordBatch], name: str) -> Iterator[Line]:
    """The rows of a table that comes in Arrow batches."""
    number = 0
    for batch in batches:
        if VIDEO_PATH not in batch.schema.names:
            raise _without_column(name)
        for row in batch.to_pylist():
            number += 1
            yield Line(f"row {number}", row)


def read_line(row: Row) -> Said:
    """What a row says; raises ValueError or VideoAssetsError for what cannot be used."""
    size = _filled(row, "size_bytes", "size")
    vehicle, date, camera = (_filled(row, name) for name in ("vehicle", "date", "camera"))
    if size is not None and int(size) < 0:
        raise ValueError(f"size {size} is below 0")
    return Said(
        None if size is None else int(size),
        _text(_filled(row, "etag")),
        _time(_filled(row, "last_modified")),
        None if vehicle is None else check_id("vehicle", str(vehicle)),
        None if date is None else check_date(date.isoformat()[:10] if isinstance(date, Date) else str(date)),
        None if camera is None else check_id("camera", str(camera)),
        _time(_filled(row, "start_time")),
    )


def _text_lines(text: io.TextIOWrapper, name: str) -> Iterator[Line]:
    numbered = ((number, line) for number, line in enumerate(text, start=1) if line.strip() and line.lstrip()[0] != "#")
    first = next(numbered, None)
    if first is None:
        return
    columns = [column.strip() for column in next(csv.reader([first[1]]))]
    if VIDEO_PATH not in columns:
        if name.removesuffix(".gz").endswith(".csv") and len(columns) > 1:
            raise _without_column(name)
        for number, line in itertools.chain([first], numbered):
            yield Line(f"line {number}", {VIDEO_PATH: line.strip()})
        return
    for number, line in numbered:
        values = next(csv.reader([line]))
        more = {} if len(values) == len(columns) else {"": f"has {len(values)} fields of {len(columns)}"}
        yield Line(f"line {number}", dict(zip(columns, values, strict=False)) | more)


def _filled(row: Row, *names: str) -> Any:
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return value
    return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip('"')


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _without_column(name: str) -> ListError:
    return ListError(name, f"has no column {VIDEO_PATH}", f"Name the column of URIs {VIDEO_PATH}.")
