"""Stores that tell how they were read."""

from __future__ import annotations

from pathlib import Path

from video_assets.storage.local_store import LocalStore


class CountingStore(LocalStore):
    """Notes the ranges that readers asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.requests: list[tuple[int, int | None]] = []
        self._lengths: list[int] = []

    @property
    def bytes_read(self) -> int:
        return sum(self._lengths)

    def get(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        assert etag is not None, "a read that is not conditional"
        data = super().get(key, start=start, length=length, etag=etag)
        self.requests.append((start, length))
        self._lengths.append(len(data))
        return data


class DistantStore(CountingStore):
    """As a bucket in that its objects are no files of this machine."""

    def local_path(self, key: str) -> None:  # type: ignore[override]
        return None
