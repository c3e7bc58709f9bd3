"""Partition keys, paths and ids: round trips, refusals, and ids that depend on what they should."""

from __future__ import annotations

import re
from datetime import date as Date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets import keys
from video_assets.keys import InvalidId, Partition, SourceIdentity, clip_id, through_endpoint_of, without_endpoint

dates = st.dates(Date(2000, 1, 1), Date(2099, 12, 31)).map(Date.isoformat)
ids = st.from_regex(keys.ID_PATTERN, fullmatch=True).filter(lambda value: ".." not in value)


@given(dates, st.none() | ids)
def test_partition_key_and_path_round_trip(date: str, vehicle: str | None) -> None:
    partition = Partition(date, vehicle)
    assert Partition.from_key(partition.key) == partition
    assert Partition.from_path(partition.path) == partition


@given(st.tuples(dates, ids), st.tuples(dates, ids))
def test_two_partitions_never_share_a_path(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (Partition(*one).path == Partition(*other).path) == (one == other)


@pytest.mark.parametrize(
    "vehicle",
    ["", "a|b", "../x", "a/b", "..", "a..b", "-x", ".x", "a b", "é", "x" * 65, "a\n", "a\0", "x=y", "a%2F"],
)
def test_hostile_vehicle_ids_are_refused(vehicle: str) -> None:
    with pytest.raises(InvalidId, match="vehicle id"):
        Partition("2026-01-03", vehicle)


@given(st.text())
def test_no_text_escapes_a_partition_path(text: str) -> None:
    try:
        path = Partition("2026-01-03", text).path
    except InvalidId:
        return
    assert re.fullmatch(r"date=2026-01-03/vehicle=[A-Za-z0-9_.-]+", path)
    assert ".." not in path


@pytest.mark.parametrize(
    "date", ["2026-02-30", "2026-1-3", "20260103", "2026-01-03 ", "", "2026-01-03|x", "２０２６-01-03"]
)
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(InvalidId):
        Partition(date)


@pytest.mark.parametrize("path", ["date=2026-01-03/vehicle=a/b", "vehicle=a/date=2026-01-03", "date=2026-01-03/", "x"])
def test_what_is_no_partition_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidId):
        Partition.from_path(path)


def test_source_identity_leaves_the_endpoint_out() -> None:
    inner = SourceIdentity.of("oss://oss-cn-shanghai-internal.aliyuncs.com/fleet/veh-1/a.mp4")
    outer = SourceIdentity.of("oss://oss-cn-shanghai.aliyuncs.com/fleet/veh-1/a.mp4")
    assert inner == outer == SourceIdentity("oss", "fleet", "veh-1/a.mp4")
    assert SourceIdentity.of("s3://fleet/veh-1/a%20b.mp4") == SourceIdentity("s3", "fleet", "veh-1/a b.mp4")
    assert SourceIdentity.of("file:///data/a%20b.mp4") == SourceIdentity("file", "", "/data/a b.mp4")


@pytest.mark.parametrize("uri", ["http://x/y", "s3://bucket", "oss://endpoint/bucket", "veh-1/a.mp4", ""])
def test_what_is_no_video_path_is_refused(uri: str) -> None:
    with pytest.raises(InvalidId):
        SourceIdentity.of(uri)


def test_clip_id_depends_on_key_version_parameters_and_code() -> None:
    base = ("s3://fleet/a.mp4", "etag-1", {"mode": "copy"}, "1")
    others = [
        ("s3://fleet/b.mp4", "etag-1", {"mode": "copy"}, "1"),
        ("s3://fleet/a.mp4", "etag-2", {"mode": "copy"}, "1"),
        ("s3://fleet/a.mp4", "etag-1", {"mode": "reference"}, "1"),
        ("s3://fleet/a.mp4", "etag-1", {"mode": "copy"}, "2"),
    ]
    assert clip_id(*base) == clip_id(*base)
    assert len({clip_id(*base), *(clip_id(*other) for other in others)}) == 5


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_content_ids_do_not_collide_by_concatenation(one: list[str], other: list[str]) -> None:
    assert (keys.content_id(*one) == keys.content_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("place", "uri", "through"),
    [
        ("oss://inner.example/fleet/home", "oss://outer.example/fleet/a%20b", "oss://inner.example/fleet/a%20b"),
        ("oss://inner.example/fleet", "oss://outer.example/fleet-2/c.tar", "oss://outer.example/fleet-2/c.tar"),
        ("s3://fleet/home", "oss://outer.example/fleet/c.tar", "oss://outer.example/fleet/c.tar"),
        ("oss://inner.example/fleet", "s3://fleet/c.tar", "s3://fleet/c.tar"),
        ("", "file:///fleet/c.tar", "file:///fleet/c.tar"),
    ],
)
def test_an_endpoint_is_how_to_get_to_a_bucket_not_what_lies_there(place: str, uri: str, through: str) -> None:
    assert through_endpoint_of(place, uri) == through
    assert without_endpoint(uri) == without_endpoint(through)
