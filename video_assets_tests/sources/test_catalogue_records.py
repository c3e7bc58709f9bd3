"""What the templates make of records: keys, vehicles and days, and nothing outside of where videos lie."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings
from video_assets.sources.catalogue.records import Places, Record, UnusableRecord


def record(**changes: Any) -> Record:
    given = {"id": 7, "platform": "veh-1", "code": "BV1", "publish_date": date(2026, 1, 3)}
    return Record(**{**given, "is_downloaded": False, "is_extracted": False, "is_embedded": False, **changes})


def places(root: Path, **changes: Any) -> Places:
    (root / "videos").mkdir(exist_ok=True)
    return Places(Settings(source=str(root / "videos"), store=str(root / "s"), index=str(root / "i"), **changes))


def test_a_key_in_the_source_and_a_uri_of_its_own(tmp_path: Path) -> None:
    home = (tmp_path / "videos").as_uri()
    assert places(tmp_path).video(record()) == f"{home}/veh-1/BV1.mp4"
    assert places(tmp_path).video(record(code="a b/c%d")) == f"{home}/veh-1/a%20b/c%25d.mp4"
    (tmp_path / "videos/in").mkdir()
    found = places(tmp_path, catalogue_video=f"{home}/in/{{publish_date:%Y/%m}}/{{id}}.mp4").video(record())
    assert found == f"{home}/in/2026/01/7.mp4"


def test_the_day_is_the_fleets(tmp_path: Path) -> None:
    late = record(publish_date=datetime(2026, 1, 3, 20, tzinfo=UTC))
    assert places(tmp_path).partition(late).key == "2026-01-03|veh-1"
    assert places(tmp_path, timezone="Asia/Shanghai").partition(late).key == "2026-01-04|veh-1"
    with pytest.raises(UnusableRecord, match="has no publish_date"):
        places(tmp_path).partition(record(publish_date=None))


@checks(deadline=None, max_examples=50)
@given(code=st.text(max_size=20), platform=st.sampled_from(["veh-1", "..", "", "/", "a/.."]))
def test_no_record_names_anything_outside(tmp_path_factory: pytest.TempPathFactory, code: str, platform: str) -> None:
    found = places(tmp_path_factory.getbasetemp())
    try:
        uri = found.video(record(code=code, platform=platform))
    except VideoAssetsError:
        return
    key = found.root.key_of(uri)
    assert key is not None
    assert (tmp_path_factory.getbasetemp() / "videos").resolve() in (
        tmp_path_factory.getbasetemp() / "videos" / key
    ).resolve().parents
