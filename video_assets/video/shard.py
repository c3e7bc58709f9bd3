"""Tar shards as WebDataset reads them, byte for byte the same for the same members."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class ShardMember:
    """Where a member's data lies in the tar: `size_bytes` from `offset` are the file itself."""

    name: str
    offset: int
    size_bytes: int


class ShardWriter:
    """Builds a tar piece by piece; whoever gets the pieces writes them one after the other.

    writer = ShardWriter()
    for name, data in images:
        sink.write(writer.add(name, data))
    sink.write(writer.end())
    writer.members
    """

    def __init__(self) -> None:
        self.members: list[ShardMember] = []
        self._at = 0
        self._names: set[str] = set()

    def add(self, name: str, data: bytes) -> bytes:
        """The next piece of the tar.

        Raises:
            ValueError: the name is taken, or no plain relative file name. WebDataset takes all members that
                share the part before the first dot as one sample.
        """
        if name in self._names or not name or name.startswith(("/", ".")) or "\0" in name or ".." in name.split("/"):
            raise ValueError(f"not a new plain file name for a shard: {name!r}")
        self._names.add(name)
        header = _header(name, len(data))
        piece = header + data + bytes(-len(data) % _BLOCK)
        self.members.append(ShardMember(name, self._at + len(header), len(data)))
        self._at += len(piece)
        return piece

    def end(self) -> bytes:
        """The last piece: the end mark, filled up to a whole record."""
        return bytes(2 * _BLOCK + -(self._at + 2 * _BLOCK) % tarfile.RECORDSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT if len(name.encode()) <= 100 else tarfile.PAX_FORMAT)
