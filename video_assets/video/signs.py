"""What bytes that are no video are instead, told from how they begin. For messages only: nothing is decided by it."""

from __future__ import annotations

from typing import BinaryIO

from video_assets.video.media_file import MediaFile

_BEGINNINGS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"PAR1", "a Parquet table"),
    (b"\x7fELF", "a program"),
)
_LOOK_BYTES = 4096
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"sidx", b"styp", b"moof", b"mfra", b"meta")
_MAX_BOXES = 1000


def telltale(file: BinaryIO | MediaFile) -> str:
    """Why a seekable file is no video, as far as its bytes say; empty where they say nothing."""
    file.seek(0)
    start = file.read(_LOOK_BYTES)
    if not start:
        return "is empty"
    if not start.strip(b"\0"):
        return "begins with zeros only: it was never written, or its disk lost it"
    for beginning, name in _BEGINNINGS:
        if start.startswith(beginning):
            return f"begins like {name}"
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "begins like HTML: a page was stored instead of the video"
    if start[4:8] in _BOXES:
        return _without_index(file)
    return "begins like text" if _is_text(start) else ""


def _without_index(file: BinaryIO | MediaFile) -> str:
    """For an MP4: whether its boxes end before the one that says where its frames are."""
    position, end = 0, file.seek(0, 2)
    for _ in range(_MAX_BOXES):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return "ends before its index (moov): the upload was cut off; upload it again"
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if name in (b"moov", b"moof"):
            return ""
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size == 0 or position + size > end:
            return "ends before its index (moov): the upload was cut off; upload it again"
        if size < 8 or name not in _BOXES:
            return ""
        position += size
    return ""


def _is_text(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut in two at the end of what was looked at.
        if error.start < len(start) - 4:
            return False
    return not any(byte < 9 or 13 < byte < 32 for byte in start)
