"""Where templates put a day: places that do not overlap, and listings that read no other day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.path_template import PathTemplate
from video_assets.sources.upload_scan.layout import UploadLayout, layout_of
from video_assets.sources.upload_scan.scan import BEYOND, key_bytes
from video_assets.storage.registry import open_store
from video_assets_tests.sources.test_listing import put

UTC = ZoneInfo("UTC")
TEMPLATES = [
    ("{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}", "v/{d:%Y-%m-%d}/c/083000.mp4", 2, 0, True),
    ("{camera}/{date:%Y/%m/%d}/{vehicle}_{start:%H%M%S}{ext}", "c/{d:%Y/%m/%d}/v_083000.mp4", 4, 0, True),
    ("{date:%Y%m%d}/{vehicle}/{rest}", "{d:%Y%m%d}/v/x/y.mp4", 2, 0, True),
    ("{date:%d-%m-%Y}/{vehicle}/{rest}", "{d:%d-%m-%Y}/v/x.mp4", 2, 0, True),
    ("{vehicle}/{start:%Y%m%d%H%M%S}{ext}", "v/{d:%Y%m%d}083000.mp4", 1, 8, True),
    ("{vehicle}/{start:%Y/%m/%d_%H%M%S}{ext}", "v/{d:%Y/%m/%d}_083000.mp4", 3, 3, True),
    ("{date:%Y-%m-%d}/{vehicle}/{start:%Y%m%d%H%M%S}{ext}", "{d:%Y-%m-%d}/v/{d:%Y%m%d}083000.mp4", 2, 0, True),
    ("{date:%Y%j}-{vehicle}-{rest}", "{d:%Y%j}-v-x.mp4", 0, 8, True),
    ("{vehicle}/{rest}", "v/x.mp4", 1, 0, False),
    ("{vehicle}/{camera}_{start:%Y%m%d%H%M%S}{ext}", "v/c_{d:%Y%m%d}083000.mp4", 1, 0, False),
    ("{camera}_{vehicle}_{start:%Y%m%d%H%M%S}{ext}", "c_v_{d:%Y%m%d}083000.mp4", 0, 0, False),
]


def layout(template: str) -> UploadLayout:
    return layout_of(PathTemplate(template, (".mp4",), UTC, UTC))


@pytest.mark.parametrize(("template", "key", "depth", "head", "dated"), TEMPLATES)
def test_what_a_template_says_of_places(template: str, key: str, depth: int, head: int, dated: bool) -> None:
    found = layout(template)
    assert (found.depth, found.head, found.has_day_prefixes) == (depth, head, dated)
    days = [date(2026, 2, 27) + timedelta(days=n) for n in range(4)]
    keys = [key.format(d=day) for day in days]
    fields = [found.template.match(one, datetime.now(UTC)).partition.date for one in keys if dated]
    assert fields == [day.isoformat() for day in days][: len(fields)]
    assert len({found.place_of(one) for one in keys}) == (4 if dated else 1)


@pytest.mark.parametrize(("template", "key", "depth", "head", "dated"), [row for row in TEMPLATES if row[4]])
def test_days_are_listed_without_the_others(
    tmp_path: Path, template: str, key: str, depth: int, head: int, dated: bool
) -> None:
    days = [date(2025, 12, 1) + timedelta(days=n) for n in range(60)]
    for day in days:
        put(tmp_path, key.format(d=day))
    put(tmp_path, "stray.mp4")
    store, first, last = open_store(str(tmp_path)), date(2025, 12, 30), date(2026, 1, 2)
    stretches = list(layout(template).day_stretches(store, first, last))
    listed = [
        info.key
        for one in stretches
        for info in store.list(one.prefix, start_after=one.after)
        if key_bytes(info.key) < key_bytes((one.last or one.prefix) + BEYOND)
    ]
    wanted = [key.format(d=day) for day in days if first <= day <= last]
    assert sorted(listed) == sorted(wanted)


@settings(deadline=None)
@given(
    st.sampled_from([row[0] for row in TEMPLATES]), st.lists(st.text("ab2/-_.", min_size=1, max_size=12), max_size=30)
)
def test_a_place_is_one_stretch_of_the_sorted_keys(template: str, keys: list[str]) -> None:
    found = layout(template)
    places = [found.place_of(key) for key in sorted(keys, key=key_bytes)]
    named = [place for n, place in enumerate(places) if place is not None and (n == 0 or places[n - 1] != place)]
    assert len(named) == len(set(named))
