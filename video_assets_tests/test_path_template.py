"""Object key ↔ vehicle, date, camera, start: by template, in zones, and never by a guess."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from video_assets.keys import Partition
from video_assets.path_template import PathTemplate, TemplateError, Unmatched
from video_assets_tests.test_keys import ids

DEFAULT = "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}"
TEMPLATES = [
    DEFAULT,
    "raw/{date:%Y/%m/%d}/{vehicle}/{camera}_{start:%H-%M-%S}{ext}",
    "{start:%Y%m%dT%H%M%S}__{vehicle}__{camera}{ext}",
    "{camera}/{start:%Y/%j/%H%M%S}/{vehicle}{ext}",
    "{date:%Y%m%d}{start:%H%M%S}-{vehicle}/{camera}{ext}",
]
ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata"]
EXTENSIONS = (".mp4", ".mov")
UPLOADED = datetime(2026, 3, 4, 20, 0, tzinfo=UTC)
times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))


def template(text: str = DEFAULT, path_zone: str = "UTC", fleet_zone: str = "UTC") -> PathTemplate:
    return PathTemplate(text, EXTENSIONS, ZoneInfo(path_zone), ZoneInfo(fleet_zone))


@given(st.sampled_from(TEMPLATES), st.sampled_from(ZONES), st.sampled_from(ZONES), ids, ids, times)
def test_key_round_trip(text: str, path_zone: str, fleet_zone: str, vehicle: str, camera: str, start: datetime) -> None:
    parsed = template(text, path_zone, fleet_zone)
    local = start.astimezone(ZoneInfo(path_zone))
    assume(local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset())  # not the hour that comes twice
    try:
        key = parsed.format(vehicle, camera, start)
    except Unmatched:
        return  # it can be read in two ways, which has a test of its own
    fields = parsed.match(key, UPLOADED)
    assert (fields.partition.vehicle, fields.camera, fields.start_time) == (vehicle, camera, start)
    assert fields.partition.date == start.astimezone(ZoneInfo(fleet_zone)).date().isoformat()


@given(st.sampled_from(TEMPLATES), st.sampled_from(ZONES), st.sampled_from(ZONES), ids, ids, times)
def test_a_walk_reaches_every_key_of_its_partition(
    text: str, path_zone: str, fleet_zone: str, vehicle: str, camera: str, start: datetime
) -> None:
    parsed = template(text, path_zone, fleet_zone)
    try:
        key = parsed.format(vehicle, camera, start)
    except Unmatched:
        return
    partition = parsed.match(key, UPLOADED).partition
    folders = key.split("/")[:-1]

    def fits(walk: list[str | re.Pattern[str]]) -> bool:
        return len(walk) <= len(folders) and all(
            level == folder if isinstance(level, str) else level.fullmatch(folder)
            for level, folder in zip(walk, folders, strict=False)
        )

    assert any(fits(walk) for walk in parsed.walks(partition))


def test_a_walk_names_what_the_partition_names() -> None:
    assert template().walks(Partition("2026-01-03", "veh-7"))[0][:2] == ["veh-7", "2026-01-03"]
    two = template(path_zone="UTC", fleet_zone="Asia/Shanghai").walks(Partition("2026-01-03", "veh-7"))
    assert [walk[1] for walk in two] == ["2026-01-02", "2026-01-03"]


def test_without_a_date_the_day_is_that_of_the_upload_in_the_fleets_zone() -> None:
    fields = template("{vehicle}/{rest}", fleet_zone="Asia/Shanghai").match("veh-1/a/b.mp4", UPLOADED)
    assert fields.partition == Partition("2026-03-05", "veh-1")
    assert fields.start_time is None


def test_a_date_without_a_time_is_the_partition_as_it_stands() -> None:
    fields = template("{vehicle}/{date:%Y%m%d}/{any}{ext}", "UTC", "Asia/Shanghai").match("v/20260103/x.MP4", UPLOADED)
    assert fields.partition.date == "2026-01-03"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (
            "veh-1/2026-01-03/front/0830.mp4",
            r"does not fit: where the template has {start:%H%M%S}, the key has '0830.mp4'",
        ),
        ("veh-1/2026-02-30/front/083000.mp4", "2026-02-30 is no date by %Y-%m-%d"),
        ("veh-1/2026-01-03/front/250000.mp4", "250000 is no time of day by %H%M%S"),
        ("ve..h/2026-01-03/front/083000.mp4", "vehicle id"),
        ("a|b/2026-01-03/front/083000.mp4", "vehicle id"),
        ("veh-1/2026-01-03/fr ont/083000.mp4", "camera id"),
        ("veh-1/2026-01-03/front/083000.mkv", r"where the template has {ext}, the key has '.mkv'"),
        ("veh-1/front/083000.mp4", r"where the template has {date:%Y-%m-%d}, the key has 'front'"),
        ("083000.mp4", r"the template has '/' after '083000.mp4'"),
        ("veh-1/2026-01-03/front/083000.mp4.mp4x", "the template ends before '.mp4x'"),
        ("2026-01-03/front/083000.mp4", "does not fit"),
        ("\udcff/2026-01-03/front/083000.mp4", "vehicle id"),
        ("veh-1/２０２６-01-03/front/083000.mp4", "does not fit"),
    ],
)
def test_a_key_that_does_not_match_says_why(key: str, reason: str) -> None:
    with pytest.raises(Unmatched, match=reason):
        template().match(key, UPLOADED)


def test_a_key_that_can_be_read_in_two_ways_is_not_guessed_at() -> None:
    dashed = template("{vehicle}-{camera}/{start:%Y%m%d%H%M%S}{ext}")
    with pytest.raises(Unmatched, match="two ways"):
        dashed.match("veh-7-front/20260103083000.mp4", UPLOADED)
    assert dashed.match("veh7-front/20260103083000.mp4", UPLOADED).camera == "front"


def test_two_days_in_one_key_are_refused() -> None:
    both = template("{vehicle}/{date:%Y-%m-%d}/{start:%Y%m%d%H%M%S}{ext}")
    with pytest.raises(Unmatched, match="two days"):
        both.match("v/2026-01-03/20260104000000.mp4", UPLOADED)


@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
def test_days_of_23_and_25_hours_hold_all_their_keys(day: str) -> None:
    zone = ZoneInfo("America/New_York")
    parsed = template(DEFAULT, "UTC", "America/New_York")
    begin = datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    hours = {"2026-03-08": 23, "2026-11-01": 25}[day]
    found = [
        parsed.match(parsed.format("v", "c", begin + timedelta(minutes=30 * n)), UPLOADED).partition.date
        for n in range(-1, 2 * hours + 1)
    ]
    assert found[0] != day
    assert set(found[1:-1]) == {day}
    assert found[-1] != day


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{vehicle}{camera}/x", "nothing between"),
        ("{foo}/{vehicle}", "unknown field {foo}"),
        ("{vehicle}/{date}", "without year"),
        ("{date:%Y-%m-%d}", r"no field {vehicle}"),
        ("{vehicle}/{start:%M}", "without an hour"),
        ("{vehicle}/{start:%Q}", "uses %Q"),
        ("{vehicle}/{vehicle}", "more than once"),
        ("{vehicle", "'{vehicle' is not closed"),
        ("{vehicle/{date:%Y-%m-%d}", "'{vehicle' is not closed"),
        ("{vehicle}}/x", "closes nothing"),
        ("{vehicle}/{start:%H%H%S}", r"a {start} that names %H twice"),
        ("{vehicle:x}", "format"),
        ("{vehicle!r}", "unknown field"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(text: str, cause: str) -> None:
    with pytest.raises(TemplateError, match=cause):
        template(text)
