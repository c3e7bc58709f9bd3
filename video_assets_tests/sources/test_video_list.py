"""Lists of videos in place of a listing: text, CSV, Parquet; several stores; bad lines named, none dropped."""

from __future__ import annotations

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.keys import Partition
from video_assets.settings import Settings, SettingsError
from video_assets.sources.list_rows import ListError, lines_of_batches
from video_assets.sources.listing import Listing
from video_assets.sources.registry import open_source
from video_assets.stages.clips import build_clips
from video_assets.stages.manifest import Manifest, build_manifest
from video_assets.stages.unmatched import build_unmatched
from video_assets.storage.registry import normal_uri, open_store
from video_assets.table_store.parquet import ParquetTables
from video_assets.tables import VIDEO_MANIFEST
from video_assets_tests.servers.oss_environment import oss_environment

DAY = Partition("2026-01-03", "veh-7")
KEY = "veh-7/2026-01-03/front/083000.mp4"


class Lists:
    """A folder of videos, and lists of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tables = ParquetTables(open_store(str(root / "store"), create=True))
        self.video = self.put(f"videos one/{KEY}")

    def put(self, key: str, data: bytes = b"video") -> Path:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time.time() - 3600,) * 2)
        return path

    def settings(self, data: bytes | str, name: str = "list.txt", **changes: Any) -> Settings:
        path = self.put(name, data.encode() if isinstance(data, str) else data)
        return Settings(
            **{
                "video_list": str(path),
                "source": str(self.root / "videos one"),
                "store": str(self.root / "store"),
                **changes,
            }
        )

    def listing(self, data: bytes | str, name: str = "list.txt", **changes: Any) -> Listing:
        return open_source(self.settings(data, name, **changes))

    def manifest(self, data: bytes | str, name: str = "list.txt", **changes: Any) -> Manifest:
        return build_manifest(DAY, tables=self.tables, settings=self.settings(data, name, **changes))


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(tmp_path)


def test_a_text_of_uris_gives_the_rows_of_a_listing(lists: Lists) -> None:
    text = f"# videos of today\n\n{lists.video.as_uri()}\n{lists.video}\n"
    manifest = lists.manifest(text)
    listed = build_manifest(DAY, tables=lists.tables, settings=Settings(source=str(lists.root / "videos one")))
    (row,), (expected,) = manifest.fold.rows.to_pylist(), listed.fold.rows.to_pylist()
    assert row == {**expected, "source": "list"}
    listing = lists.listing(text)
    assert [upload.info.key for upload in listing.everything()] == [lists.video.as_uri()]
    assert listing.skipped["duplicate"] == 1
    assert lists.manifest(gzip.compress(text.encode()), "list.txt.gz").fold.rows.num_rows == 1


def test_without_a_source_the_template_reads_the_whole_path(lists: Lists) -> None:
    template = "{rest}/{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}"
    (row,) = lists.manifest(lists.video.as_uri(), source=None, path_template=template).fold.rows.to_pylist()
    assert (row["camera"], row["start_time"]) == ("front", datetime(2026, 1, 3, 8, 30, tzinfo=UTC))


def test_columns_of_a_csv_say_what_the_path_does_not(lists: Lists) -> None:
    lists.put("videos one/a, b.mp4", b"12345678")
    other = (lists.root / "videos one/a, b.mp4").as_uri().replace("%2C", ",")
    text = (
        "vehicle,date,camera,start_time,video_path,size_bytes,ignored\n"
        f'veh-7,2026-01-03,left,2026-01-03T23:30:00+08:00,"{other}",,x\n'
        f"veh-7,,,2026-01-03 07:00:00,{lists.video.as_uri()},,x\n"
    )
    rows = {row["camera"]: row for row in lists.manifest(text, "list.csv").fold.rows.to_pylist()}
    assert rows["left"]["start_time"] == datetime(2026, 1, 3, 15, 30, tzinfo=UTC)
    assert rows["left"]["size_bytes"] == 8
    assert rows["front"]["start_time"] == datetime(2026, 1, 3, 7, tzinfo=UTC)


def test_what_a_table_says_is_not_asked_until_its_partition_is_read(lists: Lists) -> None:
    gone = (lists.root / "videos one" / KEY.replace("front", "gone")).as_uri()
    columns = {
        "video_path": [lists.video.as_uri(), gone],
        "size_bytes": [7, 9],
        "etag": ["e1", "e2"],
        "last_modified": ["2026-01-03 09:00:00"] * 2,
    }
    path = lists.root / "list.parquet"
    pq.write_table(pa.table(columns), path)
    listing = lists.listing(path.read_bytes(), "list.parquet")
    assert [(u.info.size_bytes, u.info.etag) for u in listing.everything()] == [(7, "e1"), (9, "e2")]
    manifest = lists.manifest(path.read_bytes(), "list.parquet")
    (row,) = manifest.fold.rows.to_pylist()
    assert (row["size_bytes"], row["video_path"]) == (5, lists.video.as_uri())
    assert manifest.skipped["gone"] == 1


def test_every_bad_line_is_a_row_that_says_where_it_stands(lists: Lists) -> None:
    uri = lists.video.as_uri()
    text = (
        "video_path,vehicle,date,size\n"
        f"{uri},,,\n"
        "relative/x.mp4,,,\n"
        "https://host/x.mp4?X-Amz-Signature=secret,,,\n"
        f"{uri}.none.mp4,,,\n"
        f"{lists.put('videos one/v1.mp4').as_uri()},../x,2026-01-03,\n"
        f"{lists.put('videos one/v2.mp4').as_uri()},veh-7,3 January,\n"
        f"{lists.put('videos one/v3.mp4').as_uri()},veh-7,2026-01-03,many\n"
        f"{lists.put('videos one/v4.mp4').as_uri()},veh-7\n"
        ",,,\n"
    )
    settings = lists.settings(text, "list.csv")
    manifest = build_unmatched(tables=lists.tables, settings=settings)
    reasons = {row["error_msg"].split("list: ")[1]: row["video_path"] for row in manifest.fold.rows.to_pylist()}
    assert sorted(reason.partition(" ")[2].split(" ")[0] for reason in reasons) == sorted(
        str(line) for line in range(3, 11)
    )
    words = " ".join(reasons)
    for part in (
        "line 3 is a relative path",
        "line 5 is not there",
        "vehicle id",
        "is not a calendar date",
        "'many'",
        "2 fields of 4",
    ):
        assert part in words
    assert "secret" not in str(manifest.fold.rows.to_pylist())
    assert len(list(open_source(settings).everything())) == 1


def test_a_list_over_several_stores_is_read_by_clips(
    lists: Lists, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with oss_environment(monkeypatch) as server:
        stores = [open_store(s3_root), open_store(f"oss://{server.endpoint}/fleet/up")]
        uris = [lists.video.as_uri(), *(store.uri_of(store.put(KEY, b"video").key) for store in stores)]
        settings = lists.settings(
            "\n".join(uris),
            path_template="{rest}/" + "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}",
            source=None,
            settle_s=0,
        )
        assert [upload.info.key for upload in open_source(settings).everything()] == sorted(map(normal_uri, uris))
        manifest = build_manifest(DAY, tables=lists.tables, settings=settings)
        assert manifest.fold.rows["video_path"].to_pylist() == sorted(map(normal_uri, uris))
        lists.tables.commit(manifest.fold)
        fold = build_clips(
            DAY, lambda: lists.tables.read(VIDEO_MANIFEST, DAY), tables=lists.tables, settings=settings, report=print
        )
        errors = fold.rows["error_msg"].to_pylist()
    assert len(errors) == 3
    # The bytes came: what they are is no video.
    assert all("cannot be opened as a video" in error for error in errors)


def test_a_list_that_changed_is_read_anew(lists: Lists) -> None:
    assert lists.manifest(lists.video.as_uri()).fold.rows.num_rows == 1
    rear = lists.put(f"videos one/{KEY.replace('front', 'rear')}")
    assert lists.manifest(f"{lists.video.as_uri()}\n{rear.as_uri()}\n").fold.rows.num_rows == 2


def test_a_folder_of_lists_is_one_list(lists: Lists) -> None:
    lists.put("lists/a.txt", lists.video.as_uri().encode())
    lists.put(
        "lists/b.csv", f"video_path\n{lists.put(f'videos one/{KEY}2.mp4'.replace('.mp42', '')).as_uri()}".encode()
    )
    settings = Settings(video_list=str(lists.root / "lists") + "/", source=str(lists.root / "videos one"))
    listing = open_source(settings)
    assert len(list(listing.everything())) == 1
    assert listing.skipped["duplicate"] == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("list.csv", b"uri,size\nfile:///a,1\n", "has no column video_path"),
        ("list.txt", b"\xff\xfe\x00", "is no text in UTF-8"),
        ("list.parquet", b"no", "is no Parquet file"),
        ("list.txt.gz", b"no", "is no text in UTF-8"),
    ],
)
def test_what_is_no_list_says_so(lists: Lists, name: str, data: bytes, words: str) -> None:
    with pytest.raises(ListError, match=words):
        list(lists.listing(data, name).everything())


def test_a_list_that_is_not_there_and_two_kinds_of_source(lists: Lists) -> None:
    with pytest.raises(ListError, match="does not exist"):
        list(open_source(Settings(video_list=str(lists.root / "none.txt"))).everything())
    with pytest.raises(SettingsError, match="VIDEO_ASSETS_VIDEO_LIST"):
        Settings(video_list="/a", inventory="s3://bucket/x")


def test_rows_may_come_in_arrow_batches() -> None:
    batches = pa.table({"video_path": ["a", "b", "c"]}).to_batches(max_chunksize=2)
    assert [(line.where, line.row["video_path"]) for line in lines_of_batches(batches, "table")] == [
        ("row 1", "a"),
        ("row 2", "b"),
        ("row 3", "c"),
    ]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(deadline=None)
@given(st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3))
def test_an_object_has_one_uri_however_it_is_written(names: list[str]) -> None:
    plain = "/".join(["", "videos", *names])
    uri = normal_uri(plain)
    assert normal_uri(uri) == uri
    assert normal_uri(Path(plain).as_uri()) == uri
