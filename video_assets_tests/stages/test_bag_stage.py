"""A bag among the uploads: a clip for each camera, frames at the messages' stamps, and a damaged one that says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from video_assets.stages.counts import lost_items
from video_assets_tests.stages.uploads import Uploads
from video_assets_tests.video.bags import START_NS, Message, picture, picture_file, write_bag

SETTINGS = {"video_extensions": (".bag",), "frames_sampling": "every_s=0.1", "workers": 1}
NO_CAMERA = {**SETTINGS, "path_template": "{vehicle}/{date:%Y-%m-%d}/{any}/{start:%H%M%S}{ext}"}


def put_bag(uploads: Uploads, folder: Path) -> Path:
    messages = []
    for number in range(10):
        stamp = START_NS + number * 50_000_000
        messages.append(Message("/front/image/compressed", stamp, "jpeg", picture_file(number, "jpeg")))
        messages.append(Message("/left/image_raw", stamp, "bgr8", picture(number)))
        messages.append(Message("/thumbnail", stamp, "bgr8", picture(number)))
    data = write_bag(folder / "a.bag", messages, "lz4").read_bytes()
    return uploads.put("bags", data, ".bag")


def moment(stamp_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(stamp_ns / 1000))


def test_each_image_topic_is_a_clip_of_its_camera(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    bag = put_bag(uploads, tmp_path)
    uploads.manifest(**NO_CAMERA)
    fold = uploads.clips(**NO_CAMERA)
    assert lost_items(fold) == (set(), set())
    rows = fold.rows.to_pylist()
    told = [(row["topic"], row["camera"], row["status"], row["codec"], row["frame_count"]) for row in rows]
    assert told == [
        ("/front/image/compressed", "front", "ok", "mjpeg", 10),
        ("/left/image_raw", "left", "ok", "h264", 10),
        ("/thumbnail", None, "filtered", None, None),
    ]
    assert {row["video_path"] for row in rows} == {bag.as_uri()}
    assert [row["start_time"] for row in rows[:2]] == [moment(START_NS)] * 2
    assert "names no camera by VIDEO_ASSETS_BAG_CAMERA=/{camera}/{rest}" in rows[2]["error_msg"]
    frames = uploads.frames(**NO_CAMERA)
    assert lost_items(frames) == (set(), set())
    found = [(row["camera"], row["captured_at"]) for row in frames.rows.to_pylist()]
    taken = [moment(START_NS + number * 100_000_000) for number in range(5)]
    assert sorted(found) == [(camera, time) for camera in ("front", "left") for time in taken]


def test_a_rerun_makes_no_bag_again_and_a_camera_of_the_path_goes_first(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    put_bag(uploads, tmp_path)
    uploads.manifest(**NO_CAMERA)
    assert uploads.clips(**NO_CAMERA).made == 1
    assert uploads.clips(**NO_CAMERA).made == 0
    uploads.manifest(**SETTINGS)
    named = uploads.clips(**SETTINGS)
    assert named.made == 0
    assert {row["camera"] for row in named.rows.to_pylist()} == {"bags"}
    assert uploads.clips(**SETTINGS, bag_camera="/{camera}/image_raw").made == 1, "other topics are other clips"
    assert uploads.clips(**SETTINGS, bag_crf=40).made == 1, "another quality is another clip"


def test_a_bag_that_was_cut_off_is_a_failed_row(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    bag = put_bag(uploads, tmp_path)
    uploads.put("bags", bag.read_bytes()[:-900], ".bag")
    uploads.manifest(**NO_CAMERA)
    (row,) = uploads.clips(**NO_CAMERA).rows.to_pylist()
    assert (row["status"], row["error_stage"]) == ("failed", "probe")
    assert "is a bag that was cut off or damaged" in row["error_msg"]


def test_a_template_without_a_camera_stops_the_load(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must have the field .camera. once"):
        Uploads(tmp_path).settings(bag_camera="/image")
