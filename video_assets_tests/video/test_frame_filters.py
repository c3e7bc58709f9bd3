"""Which frames go without an image, and why."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from video_assets.video.errors import ConcealedErrors, TruncatedMedia
from video_assets.video.extract import ExtractedFrame, FrameExtraction
from video_assets.video.filters import FrameFilters
from video_assets.video.index import index_video
from video_assets.video.quality import FrameQuality, hamming_distance
from video_assets.video.sampling import EverySeconds
from video_assets_tests.video.make_video import RGB, make_video, moving_picture

GOOD = FrameQuality(sharpness=300, brightness=120, phash=0)
ALL = FrameFilters(min_sharpness=50, min_brightness=40, min_phash_distance=6, damaged="filter")


@pytest.mark.parametrize(
    ("quality", "distance", "damaged", "reason"),
    [
        (GOOD, None, False, None),
        (GOOD, 6, False, None),
        (GOOD, 5, False, "near_duplicate"),
        (GOOD, 0, False, "near_duplicate"),
        (FrameQuality(50, 40, 0), 20, False, None),
        (FrameQuality(49.9, 40, 0), 20, False, "blurred"),
        (FrameQuality(49.9, 39.9, 0), 0, False, "dark"),
        (FrameQuality(0, 0, 0), 0, True, "damaged"),
    ],
)
def test_the_first_reason_is_named(
    quality: FrameQuality, distance: int | None, damaged: bool, reason: str | None
) -> None:
    rejection = ALL.judge(quality, distance, damaged)
    assert (rejection and rejection.reason) == reason
    assert FrameFilters().judge(quality, distance, damaged) is None, "nothing is filtered that nobody asked for"


def test_the_message_has_the_figure_and_the_setting() -> None:
    for quality, distance, figure, setting in (
        (FrameQuality(12.34, 100, 0), 9, "12.34", "VIDEO_ASSETS_FRAMES_MIN_SHARPNESS is 50"),
        (FrameQuality(100, 3.21, 0), 9, "3.21", "VIDEO_ASSETS_FRAMES_MIN_BRIGHTNESS is 40"),
        (GOOD, 2, "2", "VIDEO_ASSETS_FRAMES_MIN_PHASH_DISTANCE is 6"),
    ):
        rejection = ALL.judge(quality, distance, False)
        assert rejection is not None
        assert figure in rejection.message
        assert setting in rejection.message


A, A_AGAIN, DARK, BLURRED, A_ONCE_MORE, B = range(6)


def scenes(index: int, width: int, height: int) -> RGB:
    """Six seconds of five frames each: a scene, the same, dark, blurred, the first again, and another."""
    scene = index // 5
    picture = moving_picture(40 if scene == B else 0, width, height)
    if scene == DARK:
        return moving_picture(90, width, height) // 12
    if scene == BLURRED:
        sharp = Image.fromarray(moving_picture(60, width, height))
        return np.asarray(sharp.filter(ImageFilter.GaussianBlur(12)))
    return picture


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "v.mp4"
    return make_video(path, frames=30, fps=5, gop=5, size=(320, 192), picture=scenes, options={"crf": "18"})


def reasons(frames: list[ExtractedFrame]) -> list[str | None]:
    return [frame.rejection.reason if frame.rejection else None for frame in frames]


def extract(video: Path, **filters: float) -> list[ExtractedFrame]:
    return list(FrameExtraction(video, EverySeconds(Fraction(1)), filters=FrameFilters(**filters)))  # type: ignore[arg-type]


def test_filtered_frames_keep_number_time_and_figures_but_have_no_image(video: Path) -> None:
    plain = extract(video)
    frames = extract(video, min_sharpness=20, min_brightness=30, min_phash_distance=8)
    assert reasons(plain) == [None] * 6
    assert reasons(frames) == [None, "near_duplicate", "dark", "blurred", "near_duplicate", None]
    for frame, whole in zip(frames, plain, strict=True):
        assert (frame.frame_idx, frame.pts, frame.pts_s, frame.quality) == (
            whole.frame_idx,
            whole.pts,
            whole.pts_s,
            whole.quality,
        )
        assert frame.image == (None if frame.rejection else whole.image)


def test_the_distance_is_to_the_frame_kept_before(video: Path) -> None:
    frames = extract(video, min_sharpness=20, min_brightness=30, min_phash_distance=8)
    first = frames[A].quality.phash
    assert [frame.phash_distance for frame in frames] == [
        None,
        *(hamming_distance(frame.quality.phash, first) for frame in frames[1:]),
    ]
    plain = extract(video)
    assert [frame.phash_distance for frame in plain[1:]] == [
        hamming_distance(later.quality.phash, earlier.quality.phash) for earlier, later in itertools.pairwise(plain)
    ]


def test_without_a_kept_frame_there_is_no_distance(video: Path) -> None:
    frames = extract(video, min_brightness=255)
    assert reasons(frames) == ["dark"] * 6
    assert {frame.phash_distance for frame in frames} == {None}


def damaged_video(folder: Path, number: int) -> bytes:
    """A video whose packet of that number has random bytes in its middle."""
    path = make_video(folder / "v.mp4", frames=60, gop=12, size=(320, 192))
    index, data = index_video(path), bytearray(path.read_bytes())
    start, size = int(index.position[number]), int(index.size_bytes[number])
    data[start + size // 2 : start + size] = np.random.default_rng(0).bytes(size - size // 2)
    return bytes(data)


@pytest.mark.parametrize(("damaged", "reason", "has_image"), [("fail", None, True), ("filter", "damaged", False)])
def test_a_frame_with_concealed_errors(damaged: str, reason: str | None, has_image: bool, tmp_path: Path) -> None:
    data = io.BytesIO(damaged_video(tmp_path, 30))
    filters = FrameFilters(min_phash_distance=1, damaged=damaged)  # type: ignore[arg-type]
    extraction = FrameExtraction(data, EverySeconds(Fraction(1, 2)), filters=filters, label="cam/1")
    frames = list(extraction)
    assert [frame.damaged for frame in frames] == [False, False, True, False]
    assert reasons(frames) == [None, None, reason, None]
    assert [frame.image is not None for frame in frames] == [True, True, has_image, True]
    last, before = frames[3].quality.phash, frames[1].quality.phash
    assert frames[3].phash_distance == hamming_distance(last, before), "a damaged frame is not one to compare with"
    assert isinstance(extraction.report.problem, ConcealedErrors)


def test_a_video_that_is_cut_short_has_more_than_concealed_errors(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mkv", frames=90)
    data = io.BytesIO(path.read_bytes()[: path.stat().st_size // 2])
    extraction = FrameExtraction(data, EverySeconds(Fraction(1, 2)), filters=FrameFilters(damaged="filter"))
    assert reasons(list(extraction)).count("damaged") <= 1
    assert isinstance(extraction.report.problem, TruncatedMedia)
