"""What a file that is no video is told to be."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.video.errors import NotAVideo
from video_assets.video.index import index_video
from video_assets.video.signs import telltale
from video_assets_tests.video.make_video import make_video


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (bytes(100_000), "begins with zeros only"),
        (b"no video at all\n" * 20, "begins like text"),
        ("ein Löffel\n".encode() * 1000, "begins like text"),
        (b"\n<!DOCTYPE html><html>", "begins like HTML"),
        (b"PK\x03\x04rest", "begins like a ZIP archive"),
        (bytes(range(1, 256)) * 20, ""),
    ],
)
def test_bytes_tell_what_they_are(data: bytes, says: str) -> None:
    assert telltale(io.BytesIO(data)).startswith(says)
    assert bool(telltale(io.BytesIO(data))) == bool(says)


def test_a_video_cut_off_before_its_index_says_so(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.mp4", frames=50).read_bytes()
    assert telltale(io.BytesIO(data)) == ""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.index(b"moov") - 8])
    with pytest.raises(NotAVideo, match=r"ends before its index \(moov\): the upload was cut off"):
        index_video(cut)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\0\x10ftyp", b"\0\0\0\x01mdat", b"\0\0\0\0free"]))
def test_any_bytes_are_looked_at_without_an_error(rest: bytes, start: bytes) -> None:
    telltale(io.BytesIO(start + rest))
