"""The command line: what it prints, for people and for scripts, and how it ends."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from video_assets.cli import app
from video_assets.defs.garbage import garbage_job
from video_assets.defs.history import make_history
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.shard_lock import hold_collection
from video_assets_tests.vectors.fleet_points import COLLECTION, DIM, frame_point
from video_assets_tests.video.make_video import RGB, make_video, moving_picture

COLUMNS = [
    "frame_idx",
    "pts",
    "time_base_num",
    "time_base_den",
    "pts_s",
    "width",
    "height",
    "status",
    "error_stage",
    "error_msg",
    "image_url",
]


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDEO_ASSETS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VIDEO_ASSETS_INDEX", str(tmp_path / "index"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "a video.mp4", frames=75, bframes=2)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("sampling", [["--fps", "2"], ["--every", "0.5"], ["--every", "1/2"], ["--count", "5"]])
def test_extract_writes_images_and_their_table(video: Path, sampling: list[str]) -> None:
    result = call("frames", "extract", video.name, *sampling, "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    table = pq.read_table("out/frames.parquet")
    assert set(COLUMNS) <= set(table.column_names)
    assert told["frames"] == table.num_rows == 5
    assert told["bytes_read"] == told["bytes_total"] == video.stat().st_size, "too small to leave anything out"
    rows = table.to_pylist()
    assert [row["frame_idx"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["pts_s"] for row in rows] == pytest.approx([0, 0.5, 1, 1.5, 2], abs=1e-9)
    images = [Path(row["image_url"].removeprefix("file://")) for row in rows]
    assert all(image.read_bytes()[:2] == b"\xff\xd8" for image in images)
    assert {row["status"] for row in rows} == {"ok"}


def test_extract_cuts_a_box_out_and_tells_the_figures_of_what_is_left(video: Path) -> None:
    result = call("frames", "extract", video.name, "--fps", "1", "--crop", "10,8,60,40", "--out", "out")
    assert result.exit_code == 0, result.output
    for row in pq.read_table("out/frames.parquet").to_pylist():
        assert (row["width"], row["height"]) == (60, 40)
        assert [row[f"crop_{side}"] for side in ("x", "y", "width", "height")] == [10, 8, 60, 40]
        assert row["sharpness"] > 0
        assert 0 < row["brightness"] < 255
        assert len(row["phash"]) == 16
    outside = call("frames", "extract", video.name, "--fps", "1", "--crop", "0,0,97,64", "--out", "out")
    assert outside.exit_code == 1
    assert "96 × 64" in outside.output


def test_extract_the_first_frame_of_each_scene(tmp_path: Path) -> None:
    def day_then_night(number: int, width: int, height: int) -> RGB:
        return moving_picture(number, width, height) // (1 if number < 30 else 4)

    make_video(tmp_path / "v.mp4", frames=60, picture=day_then_night)
    result = call("frames", "extract", "v.mp4", "--scenes", "--out", "out", "--json")
    assert (result.exit_code, json.loads(result.stdout)["mode"]) == (0, "sequential")
    assert pq.read_table("out/frames.parquet")["pts_s"].to_pylist() == [0, 1]


def test_scenes_without_their_extra_say_what_to_install(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    result = call("frames", "extract", video.name, "--scenes", "--out", "out")
    assert result.exit_code == 1
    assert "pip install 'video-assets[scene]'" in result.output
    monkeypatch.setenv("VIDEO_ASSETS_FRAMES_SAMPLING", "scene")
    found = {finding["component"]: finding for finding in json.loads(call("doctor", "--json").stdout)}
    assert found["sampling"]["verdict"] == "failed"
    assert found["sampling"]["remedy"] == "Run: pip install 'video-assets[scene]'"


def test_extract_to_a_shard_by_uri(video: Path) -> None:
    result = call("frames", "extract", video.as_uri(), "--keyframes", "--shard", "--format", "png", "--out", "out")
    assert result.exit_code == 0, result.output
    with tarfile.open("out/frames.tar") as tar:
        names = tar.getnames()
    assert len(names) == pq.read_table("out/frames.parquet").num_rows
    assert all(name.endswith(".png") for name in names)


def test_a_second_extraction_leaves_no_frame_of_the_first(video: Path) -> None:
    call("frames", "extract", video.name, "--fps", "10", "--out", "out")
    Path("out/notes.txt").write_text("mine")
    call("frames", "extract", video.name, "--fps", "1", "--out", "out")
    images = {path.name for path in Path("out").glob("*.jpg")}
    assert images == {Path(u).name for u in pq.read_table("out/frames.parquet")["image_url"].to_pylist()}
    assert Path("out/notes.txt").exists()


def test_what_is_no_video_is_a_failed_row_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("no video")
    result = call("frames", "extract", "x.mp4", "--fps", "1", "--out", "out")
    assert result.exit_code == 1
    assert "x.mp4" in result.output
    assert "0 frames" not in result.output
    (row,) = pq.read_table("out/frames.parquet").to_pylist()
    assert (row["status"], row["error_stage"]) == ("failed", "probe")


def test_a_missing_file_and_a_bucket_say_what_to_do() -> None:
    missing = call("frames", "extract", "nothing.mp4", "--fps", "1", "--out", "out")
    assert missing.exit_code == 1
    assert "nothing.mp4: no such file" in missing.output
    folder = call("frames", "extract", ".", "--fps", "1", "--out", "out")
    assert ".: is a folder, not a video" in folder.output
    assert not Path("out").exists()
    Path("file").write_text("x")
    assert "is a file, not a folder" in call("frames", "extract", "file", "--fps", "1", "--out", "file").output
    bucket = call("frames", "extract", "gs://fleet/a.mp4", "--fps", "1", "--out", "out")
    assert bucket.exit_code == 1
    assert "file://" in bucket.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["frames", "extract", "x.mp4", "--out", "out"],
        ["frames", "extract", "x.mp4", "--out", "out", "--fps", "1", "--keyframes"],
        ["frames", "extract", "x.mp4", "--out", "out", "--fps", "0"],
        ["frames", "extract", "x.mp4", "--out", "out", "--fps", "nan"],
        ["frames", "extract", "x.mp4", "--out", "out", "--every", "-1"],
        ["frames", "extract", "x.mp4", "--out", "out", "--count", "0"],
        ["frames", "extract", "x.mp4", "--out", "out", "--count", "2.5"],
        ["frames", "extract", "x.mp4", "--out", "out", "--count", "2", "--scenes"],
        ["frames", "extract", "x.mp4", "--out", "out", "--fps", "1", "--format", "gif"],
        ["frames", "extract", "x.mp4", "--out", "out", "--fps", "1", "--crop", "0,0,5"],
        ["search"],
        ["search", "rabbit", "--image", "x.jpg"],
        ["search", "rabbit", "--limit", "0"],
        ["search", "rabbit", "--date", "yesterday"],
        ["demo", "--videos", "nope"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert not isinstance(result.exception, (ValueError, TypeError))


def test_search_before_anything_is_indexed_says_so() -> None:
    result = call("search", "rabbit")
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert "Traceback" not in result.output


def test_a_picture_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("no picture")
    for image, says in {"x.jpg": "", "nothing.jpg": "no such file", ".": "is a folder"}.items():
        result = call("search", "--image", image)
        assert result.exit_code == 1, result.output
        assert "Traceback" not in result.output
        assert says in result.output


def test_doctor_says_what_is_missing_and_how_to_mend_it() -> None:
    result = call("doctor", "--json")
    found = {finding["component"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert found["source"]["verdict"] == "failed"
    assert "VIDEO_ASSETS_SOURCE" in found["source"]["text"]
    assert found["source"]["remedy"]
    assert found["store"]["verdict"] == found["index"]["verdict"] == found["sampling"]["verdict"] == "ok"


def findings() -> dict[str, dict[str, str]]:
    """What doctor says of each component."""
    return {finding["component"]: finding for finding in json.loads(call("doctor", "--json").stdout)}


def test_doctor_on_the_first_day_makes_nothing(tmp_path: Path) -> None:
    found = findings()
    assert list(tmp_path.iterdir()) == []
    assert found["store"]["text"].endswith("store: nothing made yet; it is made by the first run")
    assert found["dagster home"]["verdict"] == "ok"
    assert "not made yet; `video-assets up` makes it" in found["dagster home"]["text"]


def test_doctor_leaves_nothing_in_a_store_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert findings()["store"]["verdict"] == "ok"
    assert [path.name for path in tmp_path.rglob("*")] == ["store"]


def test_doctor_says_that_a_store_is_gone_whose_index_or_history_remains(tmp_path: Path) -> None:
    home = tmp_path / ".dagster_home"
    home.mkdir()
    make_history(home)
    assert findings()["store"]["verdict"] == "ok", "the first `up` has made its databases, and nothing has run"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.create_run_for_job(garbage_job)
    store = findings()["store"]
    assert (store["verdict"], "has a history of runs" in store["text"]) == ("warning", True)
    index = open_vector_index(str(tmp_path / "index"))
    index.ensure(COLLECTION, DIM)
    index.upsert(COLLECTION, [frame_point("veh-1", frame) for frame in range(3)])
    index.close()
    store = findings()["store"]
    assert (store["verdict"], "the index holds 3 points" in store["text"]) == ("failed", True)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("places", [("/proc/nowhere", "/proc/neither"), ("/proc/version", "/proc/cmdline")])
def test_doctor_tries_to_write_where_all_is_to_be(monkeypatch: pytest.MonkeyPatch, places: tuple[str, str]) -> None:
    for name, place in zip(
        ("VIDEO_ASSETS_STORE", "VIDEO_ASSETS_INDEX", "DAGSTER_HOME"), (*places, places[0]), strict=True
    ):
        monkeypatch.setenv(name, place)
    found = findings()
    for component in ("store", "index", "dagster home"):
        assert found[component]["verdict"] == "failed"
        assert re.search("cannot be made|is a file, not a folder", found[component]["text"])
        assert found[component]["remedy"]


def test_status_of_nothing_is_a_table_of_zeros(tmp_path: Path) -> None:
    fresh = call("status")
    assert (fresh.exit_code, fresh.stdout) == (0, "Nothing made yet. Run `video-assets up`.\n")
    assert "VIDEO_ASSETS_SOURCE is not set" in fresh.stderr
    assert json.loads(call("status", "--json").stdout)["stages"] == []
    assert not (tmp_path / "store").exists()
    (tmp_path / "store").mkdir()
    stages = json.loads(call("status", "--json").stdout)["stages"]
    assert [stage["partitions"] for stage in stages] == [0] * 6


def test_a_wrong_setting_is_one_line_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_WORKERS", "many")
    result = call("status")
    assert result.exit_code == 1
    assert result.output.startswith("Error: VIDEO_ASSETS_WORKERS: ")


def test_an_error_is_json_where_json_was_asked_for() -> None:
    result = call("search", "rabbit", "--model", "clip-vit-b-32", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["item"] == "model clip-vit-b-32"
    assert "is not in VIDEO_ASSETS_EMBED_MODELS (mobilenet_v2)" in result.stderr


def test_a_distance_of_nothing_names_its_option(video: Path) -> None:
    result = call("frames", "extract", video.name, "--every", "0", "--out", "out")
    assert "--every 0: give seconds above 0" in " ".join(result.output.split())


def test_the_version_is_told() -> None:
    assert call("--version").output.startswith("video-assets ")


def source_finding(monkeypatch: pytest.MonkeyPatch, root: Path, **settings: str) -> dict[str, str]:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", str(root))
    for name, value in settings.items():
        monkeypatch.setenv(f"VIDEO_ASSETS_{name.upper()}", value)
    finding: dict[str, str] = next(f for f in json.loads(call("doctor", "--json").stdout) if f["component"] == "source")
    return finding


def uploaded(root: Path, key: str) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")


def test_doctor_tells_uploads_that_are_too_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded(tmp_path / "my uploads", "veh-1/2026-01-05/front/083000.mp4")
    uploaded(tmp_path / "my uploads", "veh-1/2026-01-05/rear/083000.mp4")
    finding = source_finding(monkeypatch, tmp_path / "my uploads")
    assert "my uploads: 2 uploads are younger than 60 s (VIDEO_ASSETS_SETTLE_S)" in finding["text"]
    assert finding["verdict"] == "warning"
    one = source_finding(monkeypatch, tmp_path / "my uploads", settle_s="0")
    assert one["text"].endswith("holds 2 videos of 1 vehicle")


def test_doctor_says_where_a_template_stops_fitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded(tmp_path / "u", "veh-1/front/083000.mp4")
    uploaded(tmp_path / "u", "veh-1/rear/083000.mp4")
    finding = source_finding(monkeypatch, tmp_path / "u", settle_s="0")
    assert finding["verdict"] == "failed"
    assert "2 unmatched, e.g. veh-1/front/083000.mp4 does not fit: where the template has {" in finding["text"]
    assert "VIDEO_ASSETS_PATH_TEMPLATE" in finding["remedy"]
    uploaded(tmp_path / "v", "veh-1/2025-12-31/front/083000.mp4")
    early = source_finding(monkeypatch, tmp_path / "v")
    assert early["remedy"] == "Set VIDEO_ASSETS_START_DATE to the first day of your footage."


def test_doctor_names_a_source_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").write_text("x")
    finding = source_finding(monkeypatch, tmp_path / "a file")
    assert finding["text"] == f"VIDEO_ASSETS_SOURCE={tmp_path}/a file is a file, not a folder"


def test_doctor_says_once_why_a_source_holds_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded(tmp_path / "u", "notes.txt")
    finding = source_finding(monkeypatch, tmp_path / "u")
    assert finding["text"].endswith("/u holds no video that counts; skipped 1 extension: notes.txt")
    assert finding["remedy"] == "Look at VIDEO_ASSETS_SOURCE and VIDEO_EXTENSIONS."
    uploaded(tmp_path / "v", "trip 1.mp4")
    finding = source_finding(monkeypatch, tmp_path / "v", settle_s="0")
    assert "/v holds no video that counts; 1 unmatched, e.g. trip 1.mp4 does not fit" in finding["text"]


def test_doctor_takes_an_index_at_work_for_no_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_vector_index(str(tmp_path / "index"))
    index.ensure(COLLECTION, DIM)
    index.close()
    locks = next((tmp_path / "index").rglob(f"{COLLECTION}.turn")).parent
    monkeypatch.setattr("video_assets.vectors.embedded_index.READ_WAIT_S", 0.2)
    with hold_collection(locks, COLLECTION, wait_s=5):
        found = findings()["index"]
    assert found["verdict"] == "warning"
    assert "another process held it for" in found["text"]
    assert found["remedy"].startswith("Try again")
