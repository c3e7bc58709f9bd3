"""Tar shards: readable by tarfile and by offset, the same bytes each time."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.video.shard import ShardWriter


def shard(images: dict[str, bytes]) -> tuple[bytes, ShardWriter]:
    writer = ShardWriter()
    pieces = [writer.add(name, data) for name, data in images.items()]
    return b"".join([*pieces, writer.end()]), writer


NAMES = st.text("abcdef0123456789-_", min_size=1, max_size=120).map(lambda stem: stem + ".jpg")


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8))
def test_members_are_found_by_tarfile_and_by_offset(images: dict[str, bytes]) -> None:
    data, writer = shard(images)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        assert {(i.mtime, i.uid, i.gid, i.mode, i.uname, i.gname) for i in tar} <= {(0, 0, 0, 0o644, "", "")}
    assert read == images
    assert {m.name: data[m.offset : m.offset + m.size_bytes] for m in writer.members} == images
    assert len(data) % tarfile.RECORDSIZE == 0
    assert shard(images)[0] == data


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a.jpg", "a/../b.jpg", ".hidden", "a\0.jpg"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        ShardWriter().add(name, b"")


def test_a_name_is_used_once() -> None:
    writer = ShardWriter()
    writer.add("a.jpg", b"1")
    with pytest.raises(ValueError):
        writer.add("a.jpg", b"2")
