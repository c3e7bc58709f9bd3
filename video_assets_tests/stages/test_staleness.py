"""What is stale or missing, and why: by what each table was made of, without reading a row."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.settings import Settings
from video_assets.sources.partition_scan import scan_partitions
from video_assets.sources.registry import open_source
from video_assets.stages.clips import build_clips
from video_assets.stages.fleet_daily import Versions, data_versions, roll_up
from video_assets.stages.manifest import build_manifest
from video_assets.stages.staleness import NEVER_MADE, UNKNOWN, PartitionState, examine, examine_day, recipes
from video_assets.stages.status import chain_status, outdated_lines
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, FRAMES, VIDEO_MANIFEST
from video_assets_tests.stages.test_chain_stages import DAY, Chain
from video_assets_tests.video.make_video import make_video


def upload(chain: Chain, key: str, **options: Any) -> Path:
    path = chain.root / "uploads" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    make_video(path, **options)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A vehicle's day through the whole chain; tests only look at it."""
    chain = Chain(tmp_path_factory.mktemp("made"))
    upload(chain, "veh-7/2026-01-03/front/083000.mp4", frames=10)
    chain.run()
    return chain


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def look(chain: Chain, uploads: str | None = None, **changes: Any) -> PartitionState:
    return examine(DAY, chain.tables, recipes(chain.settings(**changes)), uploads)


def why(state: PartitionState) -> dict[str, str]:
    return {one.stage: f"{one.state}: {'; '.join(one.reasons)}" for one in state.outdated}


def test_what_was_just_made_is_up_to_date(made: Chain) -> None:
    assert why(look(made)) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clips_mode": "reference"}, {"clips": "stale: mode was copy, is reference"}),
        ({"clip_seconds": 30}, {"clips": "stale: clip_seconds was unset, is 30; cut was unset, is fast"}),
        ({"frames_quality": 80}, {"frames": "stale: quality was 90, is 80"}),
        ({"frames_sampling": "fps=1"}, {}),
        ({"frames_sampling": "fps=2"}, {"frames": "stale: sampling was every_s=1, is every_s=1/2"}),
        ({"frames_min_sharpness": 5}, {"frames": "stale: min_sharpness was unset, is 5.0"}),
        (
            {"video_extensions": (".bag",)},
            {
                "video_manifest": "stale: video_extensions was .mp4,.mov,.mkv,.avi, is .bag",
                "clips": "stale: bag_camera was unset, is /{camera}/{rest}; bag_crf was unset, is 16; "
                "bag_version was unset, is 1",
            },
        ),
        ({"workers": 7, "max_attempts": 9, "settle_s": 1}, {}),
        ({"path_timezone": "Asia/Tokyo"}, {"video_manifest": "stale: path_timezone was UTC, is Asia/Tokyo"}),
    ],
)
def test_a_changed_parameter_makes_its_own_stage_stale(
    made: Chain, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    assert why(look(made, **changes)) == expected


def test_a_changed_code_version_says_so(made: Chain) -> None:
    now = recipes(made.settings())
    now["frames"] = replace(now["frames"], code_version="99")
    found = why(examine(DAY, made.tables, now))
    assert list(found) == ["frames"]
    assert found["frames"].endswith(", is 99")
    assert found["frames"].startswith("stale: code version was ")


def test_the_manifest_is_compared_with_the_uploads_that_were_seen(made: Chain) -> None:
    settings = made.settings()
    seen = scan_partitions(open_source(settings).everything())[DAY].fingerprint
    assert why(look(made, uploads=seen)) == {}
    assert why(look(made, uploads="other")) == {"video_manifest": "stale: the uploads changed since"}


def test_seen_uploads_that_nobody_listed_are_missing_everywhere(chain: Chain) -> None:
    assert why(look(chain)) == {}
    assert set(why(look(chain, uploads="some")).values()) == {f"missing: {NEVER_MADE}"}


def test_an_update_upstream_makes_stale_what_follows_and_the_same_again_does_not(chain: Chain) -> None:
    upload(chain, "veh-7/2026-01-03/front/083000.mp4", frames=10)
    tables, settings = chain.tables, chain.settings()

    def manifest() -> None:
        tables.commit(build_manifest(DAY, tables=tables, settings=settings).fold)

    manifest()
    assert list(why(look(chain))) == ["clips", "frames", "embeddings", "vector_index"]
    clips = build_clips(
        DAY, partial(tables.read, VIDEO_MANIFEST, DAY), tables=tables, settings=settings, report=lambda line: None
    )
    tables.commit(clips)
    assert clips.seconds > 0
    manifest()
    assert "clips" not in why(look(chain)), "the same manifest again"
    before = look(chain).fingerprint
    upload(chain, "veh-7/2026-01-03/rear/083000.mp4", frames=12)
    manifest()
    assert why(look(chain))["clips"] == "stale: video_manifest changed since"
    assert look(chain).fingerprint != before


def test_a_table_of_unknown_origin_is_stale(chain: Chain) -> None:
    tables = chain.tables
    for table in (VIDEO_MANIFEST, CLIPS):
        tables.commit(Fold(table, DAY, table.schema.empty_table(), None))
    found = why(look(chain))
    assert found["video_manifest"] == found["clips"] == f"stale: {UNKNOWN}"
    assert found["frames"] == f"missing: {NEVER_MADE}"


def test_the_fleets_day_follows_its_vehicles(made: Chain) -> None:
    tables, settings = made.tables, made.settings()
    now, day = recipes(settings), Partition(DAY.date)
    state = look(made)
    versions: Versions = data_versions(DAY, state.known)
    found = examine_day(day, versions, tables, now)
    assert found is not None
    assert found.state == "missing"
    fold = roll_up(day, tables=tables, settings=settings)
    (row,) = fold.rows.to_pylist()
    assert 0 < row["seconds_spent"] == round(sum(one.seconds for one in state.known.values() if one), 3)
    assert (row["failed_clips"], row["failed_frames"], row["failed_embeddings"]) == (0, 0, 0)
    tables.commit(fold)
    assert examine_day(day, versions, tables, now) is None
    another = {**versions, ("veh-8", "clips"): "x"}
    assert "a vehicle's day changed since" in str(examine_day(day, another, tables, now))


def test_status_counts_and_lists_it(made: Chain) -> None:
    stages, failures = chain_status(made.tables, made.settings(frames_quality=80))
    frames = next(stage for stage in stages if stage.stage == FRAMES.name)
    assert (frames.partitions, frames.up_to_date, len(frames.stale), len(frames.missing)) == (1, 0, 1, 0)
    assert f"frames stale: {DAY.key}: quality was 90, is 80" in outdated_lines(stages)
    assert not failures


def test_every_setting_of_frames_is_in_their_recipe() -> None:
    """A new one cannot be forgotten."""
    changes: dict[str, Any] = {
        "frames_sampling": "keyframes",
        "frames_format": "png",
        "frames_quality": 50,
        "frames_longest_side": 64,
        "frames_crop": "auto",
        "frames_min_sharpness": 1,
        "frames_min_brightness": 1,
        "frames_min_phash_distance": 1,
        "frames_damaged": "filter",
        "frames_packing": "files",
    }
    assert changes.keys() == {name for name in Settings.model_fields if name.startswith("frames_")}
    plain = recipes(Settings())["frames"]
    for name, value in changes.items():
        assert recipes(Settings(**{name: value}))["frames"] != plain, name
