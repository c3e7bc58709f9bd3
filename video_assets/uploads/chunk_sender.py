"""A file as numbered chunks with their metadata (docs/uploads.md, format `video-assets/chunks/1`)."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any

from video_assets.storage.object_store import ObjectNotFound
from video_assets.storage.part_uploads import Part, kind_of
from video_assets.uploads.connections import in_parallel
from video_assets.uploads.probe import NOTHING, Probe
from video_assets.uploads.record import SentPart, Stream, as_json, iso, iso_of_ns, parsed
from video_assets.uploads.source_file import SourceFile
from video_assets.uploads.tools import Cut, Tools

METADATA = "metadata.json"
FORMAT = "video-assets/chunks/1"
UPDATE_S = 10.0
"""The metadata of a stream under way is written about this often."""

MOST_CHUNK_BYTES = 16 * 1024 * 1024
"""What every store puts in one request, so that it can vouch for the chunk's checksum."""

_CHUNK = re.compile(r"chunk_(\d{6})\.bin")


def chunk_name(index: int) -> str:
    """The name of a chunk in its stream's folder; indexes begin at 0."""
    return f"chunk_{index:06}.bin"


@dataclass
class _Sending:
    """A stream on its way: which chunks are known to be in the store as the file has them, by number from 1."""

    source: SourceFile
    stream: Stream
    prefix: str
    started_at: str
    parts: dict[int, SentPart] = field(default_factory=dict)
    is_confirmed: bool = True
    updated: float = field(default_factory=time.monotonic)
    guard: threading.Lock = field(default_factory=threading.Lock)


class ChunkSender:
    """Sends files as chunks. The stream itself is the checkpoint: what of it is in the store is found again there."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._followed: dict[str, _Sending] = {}

    def record(self, source: SourceFile, root: str) -> dict[str, Any] | None:
        """The metadata of the file's stream, if it is complete."""
        _, said = self._stream(source, root)
        return said if said is not None and said.get("complete") else None

    def progress(self, source: SourceFile, root: str) -> tuple[str, dict[str, Any] | None, int]:
        """What the file's keys begin with, its metadata, and the bytes of it that the store has."""
        stream, said = self._stream(source, root)
        prefix = f"{root}{stream.stream_id}/"
        return prefix, said, sum(self._there(prefix).values())

    def is_there(self, record: dict[str, Any], root: str) -> bool:
        """Whether the chunks of a stream, which its store confirmed, are there still."""
        wanted = {chunk["index"]: chunk["size"] for chunk in record["chunks"]}
        return bool(record.get("confirmed")) and self._there(f"{root}{record['stream_id']}/") == wanted

    def follow(self, source: SourceFile, root: str) -> None:
        """Sends the whole chunks of a growing file that were not sent yet."""
        sending = self._followed.get(source.name)
        if sending is None:
            stream, said = self._stream(source, root)
            if said is not None and said.get("complete"):
                return
            sending = self._followed[source.name] = _sending(source, stream, root, said)
        sending.source = source
        cut = self._cut(source)
        numbers = [n for n in range(1, source.size // cut.part_bytes + 1) if n not in sending.parts]
        if numbers:
            self._send_chunks(sending, cut, numbers)
            self._write(sending, cut)

    def send(self, source: SourceFile, root: str, fault: str | None = None) -> dict[str, Any]:
        """Sends a file that is still; returns its metadata.

        Args:
            source: the file.
            root: what keys begin with: nothing, or `incomplete/`.
            fault: why the stream is not complete though the file has ended.

        Raises:
            FileChanged, UploadError, SourceAway: as for reads of the file.
            StoreError: the store refuses a chunk.
            Stopped: the end was asked for.
        """
        stream, said = self._stream(source, root)
        if said is not None and said.get("complete"):
            return said
        followed, cut = self._followed.pop(source.name, None), self._cut(source)
        sending = _sending(source, stream, root, said)
        known = followed.parts if followed else {}
        with Probe(source.path) as probe:
            self._send_chunks(sending, cut, list(range(1, cut.count + 1)), known)
            source.check_unchanged()
            for index in self._there(sending.prefix):
                if index >= cut.count:
                    self._delete(sending.prefix + chunk_name(index))
            record = self._write(sending, cut, is_over=True, fault=fault, capture=probe.result())
        self._tools.tally.files_done += 1
        return record

    def _send_chunks(
        self, sending: _Sending, cut: Cut, numbers: list[int], known: dict[int, SentPart] | None = None
    ) -> None:
        """Sends what the store does not have as the file has it. `known` are chunks sent by this process."""
        tools, there = self._tools, self._there(sending.prefix)

        def send(number: int) -> None:
            data = cut.read(sending.source, number)
            part = tools.measured(number, data, has_sha256=True)
            key = sending.prefix + chunk_name(number - 1)

            def with_checksum(kind: str) -> list[Part]:
                is_known = kind_of(part.checksum) == kind
                return [Part(part.size, part.checksum if is_known else tools.store.uploads.checksum(data, kind))]

            def confirmed() -> bool:
                return tools.store.uploads.confirm(key, part.size, with_checksum) is not None

            is_there = part == (known or {}).get(number)
            if not is_there and there.get(number - 1) == part.size:
                is_there = tools.in_store(confirmed)
            if not is_there:
                tools.bandwidth.take(len(data))
                tools.patience.check()
                tools.in_store(lambda: tools.store.put(key, data))
                tools.tally.sent(len(data))
                if not tools.in_store(confirmed):
                    sending.is_confirmed = False
            sending.parts[number] = part
            self._update(sending, cut)

        in_parallel(numbers, tools.options.connections, send, tools.stop)

    def _update(self, sending: _Sending, cut: Cut) -> None:
        with sending.guard:
            if time.monotonic() - sending.updated < UPDATE_S:
                return
            sending.updated = time.monotonic()
        self._write(sending, cut)

    def _write(
        self,
        sending: _Sending,
        cut: Cut,
        *,
        is_over: bool = False,
        fault: str | None = None,
        capture: dict[str, Any] = NOTHING,
    ) -> dict[str, Any]:
        """Publishes the metadata, with the chunks up to the first that is missing."""
        source, tools = sending.source, self._tools
        listed = [sending.parts[n] for n in takewhile(sending.parts.__contains__, count(1))]
        metadata = {
            "format": FORMAT,
            "stream_id": sending.stream.stream_id,
            "generation": sending.stream.generation,
            "name": source.name,
            "host": sending.stream.host,
            "size": sum(part.size for part in listed),
            "chunk_bytes": cut.part_bytes,
            "chunks": [{"index": part.number - 1, "size": part.size, "sha256": part.sha256} for part in listed],
            "complete": is_over and fault is None,
            "fault": fault,
            "confirmed": is_over and sending.is_confirmed,
            "mtime_ns": source.mtime_ns if is_over else None,
            "modified_at": iso_of_ns(source.mtime_ns) if is_over else None,
            "started_at": sending.started_at,
            "updated_at": iso(),
            "capture": capture,
        }
        tools.in_store(lambda: tools.store.put(sending.prefix + METADATA, as_json(metadata)))
        return metadata

    def _stream(self, source: SourceFile, root: str) -> tuple[Stream, dict[str, Any] | None]:
        """The file's stream, and its metadata: the first that is not complete, or is complete with this very file."""
        for generation in count():
            stream = Stream(self._tools.host, str(source.path), generation)
            said = self._metadata(root + stream.stream_id + "/" + METADATA)
            is_this = said is not None and (said.get("size"), said.get("mtime_ns")) == (source.size, source.mtime_ns)
            if said is None or not said.get("complete") or is_this:
                return stream, said
        raise AssertionError("numbers have no end")

    def _metadata(self, key: str) -> dict[str, Any] | None:
        try:
            return parsed(self._tools.in_store(lambda: self._tools.store.get(key)))
        except ObjectNotFound:
            return None

    def _there(self, prefix: str) -> dict[int, int]:
        """The sizes of the chunks that the store has, by index."""

        def listed() -> dict[int, int]:
            found = self._tools.store.list(prefix + "chunk_")
            names = ((_CHUNK.fullmatch(info.key[len(prefix) :]), info.size_bytes) for info in found)
            return {int(match[1]): size for match, size in names if match}

        return self._tools.in_store(listed)

    def _delete(self, key: str) -> None:
        self._tools.in_store(lambda: self._tools.store.delete(key))

    def _cut(self, source: SourceFile) -> Cut:
        return Cut(source.size, self._tools.options.part_bytes)


def _sending(source: SourceFile, stream: Stream, root: str, said: dict[str, Any] | None) -> _Sending:
    started_at = said.get("started_at") if said else None
    return _Sending(source, stream, f"{root}{stream.stream_id}/", started_at if isinstance(started_at, str) else iso())
