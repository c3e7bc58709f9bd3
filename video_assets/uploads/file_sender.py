"""A file as one object: parts, several at a time; taken up where an earlier watcher was killed; a record at the end."""

from __future__ import annotations

import logging
from typing import Any

from video_assets.storage.object_store import InvalidKey, ObjectInfo, ObjectNotFound, ObjectUnreadable, StoreError
from video_assets.storage.part_uploads import Part, PartUpload, UploadedPart, kind_of
from video_assets.uploads.checkpoint import Begun, abort
from video_assets.uploads.connections import in_parallel
from video_assets.uploads.errors import UploadError
from video_assets.uploads.probe import Probe
from video_assets.uploads.record import SUFFIX, SentPart, Stream, as_json, grew_from, is_of, iso, upload_record
from video_assets.uploads.source_file import SourceFile
from video_assets.uploads.tools import Cut, Tools

_logger = logging.getLogger(__name__)

TRIES = 3
"""An upload that the store has lost is begun again so often in a row; then other files go first."""


class _Afresh(Exception):
    """What was sent is not of this file, or the store has lost it."""


class FileSender:
    """Sends files as objects."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._followed: dict[str, tuple[Begun, PartUpload]] = {}

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of what was last published for a key."""
        return self._tools.in_checkpoint(lambda: self._tools.checkpoint.record(key))

    def is_there(self, record: dict[str, Any]) -> bool:
        """Whether the object of a record, which its store confirmed, is there still."""
        try:
            found = self._tools.in_store(lambda: self._tools.store.head(str(record.get("key"))))
        except StoreError:
            return False
        return bool(record.get("confirmed")) and (found.size_bytes, found.etag) == (record["size"], record["etag"])

    def follow(self, source: SourceFile, key: str) -> None:
        """Sends the whole parts of a growing file that were not sent yet."""
        cut = Cut(source.size, self._tools.options.part_bytes)
        if cut.count != Cut.of(source, cut.part_bytes).count:
            return  # too large for parts of this size: it goes up when it is still
        try:
            begun, upload = self._followed.get(key) or self._take_up(key, cut) or self._begin(source, key, cut)
            self._followed[key] = begun, upload
            whole = range(1, source.size // cut.part_bytes + 1)
            self._send_parts(source, key, cut, upload, [n for n in whole if n not in upload.parts], {})
        except ObjectNotFound:
            self._drop(key, cut)

    def send(self, source: SourceFile, key: str) -> dict[str, Any]:
        """Sends a file that is still; returns its record.

        Raises:
            FileChanged, UploadError, SourceAway: as for reads of the file.
            StoreError: the store refuses this object.
            Stopped: the end was asked for.
        """
        record = self.record(key)
        if record is not None and is_of(record, source):
            return record
        generation = 0
        if record is not None:
            known = record.get("generation")
            generation = (known if isinstance(known, int) else 0) + (
                not grew_from(record, source, self._tools.store.uploads.checksum)
            )
        stream = Stream(self._tools.host, str(source.path), generation)
        why = ""
        with Probe(source.path) as probe:
            for _ in range(TRIES):
                try:
                    return self._send(source, key, stream, probe)
                except (ObjectNotFound, _Afresh) as reason:
                    why = str(reason)
                    _logger.info("%s is sent from its beginning: %s", source.name, why)
                    self._drop(key, Cut.of(source, self._tools.options.part_bytes))
        cause = f"was begun {TRIES} times in a row in vain ({why})"
        raise UploadError(self._tools.store.uri_of(key), cause, "Look at the store's rules for unfinished uploads.")

    def _send(self, source: SourceFile, key: str, stream: Stream, probe: Probe) -> dict[str, Any]:
        cut, parts = Cut.of(source, self._tools.options.part_bytes), dict[int, SentPart]()
        begun, upload = self._followed.get(key) or self._take_up(key, cut) or (None, None)
        if upload is None or begun is None:
            published = self._confirmed(source, key, cut, parts)
            if published is not None:
                return self._publish_record(source, key, stream, cut, parts, published.etag, probe, started_at=iso())
            parts.clear()
            begun, upload = self._begin(source, key, cut)
        left = self._verify(source, cut, begun, upload, parts)
        self._send_parts(source, key, cut, upload, left, parts)
        source.check_unchanged()
        info = self._complete(upload)
        self._followed.pop(key, None)
        return self._publish_record(source, key, stream, cut, parts, info.etag, probe, started_at=begun.started_at)

    def _verify(
        self, source: SourceFile, cut: Cut, begun: Begun, upload: PartUpload, parts: dict[int, SentPart]
    ) -> list[int]:
        """The numbers of the parts that are still to be sent; those that were are held against the file.

        Raises:
            _Afresh: the file is another, or was written to since. Of a file that was followed, only the parts that
                differ are sent again: a writer of MP4 goes back to the beginning when it closes the file.
        """
        sent, is_lenient = upload.parts, self._tools.options.is_followed
        if begun.size is not None and (begun.size, begun.mtime_ns) != (source.size, source.mtime_ns):
            raise _Afresh("the file has changed since")
        if sent and (max(sent) > cut.count or begun.part_bytes != cut.part_bytes):
            raise _Afresh("it was cut in another way")
        for number, part in sent.items():
            if not is_lenient and part.size_bytes != cut.length(number):
                raise _Afresh("the file has another length than before, or was cut in another way")

        def verify(number: int) -> None:
            known = sent[number].checksum
            part = self._tools.measured(number, cut.read(source, number), kind_of(known))
            if (sent[number].size_bytes, known) == (part.size, part.checksum):
                parts[number] = part
            elif known and not is_lenient:
                raise _Afresh(f"part {number} was sent with other contents")

        in_parallel(sorted(sent), self._tools.options.connections, verify, self._tools.stop)
        return [number for number in range(1, cut.count + 1) if number not in parts]

    def _send_parts(
        self,
        source: SourceFile,
        key: str,
        cut: Cut,
        upload: PartUpload,
        numbers: list[int],
        parts: dict[int, SentPart],
    ) -> None:
        tools = self._tools

        def send(number: int) -> None:
            data = cut.read(source, number)
            part = tools.measured(number, data, upload.kind)
            tools.bandwidth.take(len(data))
            tools.patience.check()
            uploaded: UploadedPart = tools.in_store(lambda: upload.send(number, data, part.checksum))
            tools.tally.sent(len(data))
            tools.in_checkpoint(lambda: tools.checkpoint.add(key, uploaded))
            parts[number] = SentPart(number, len(data), uploaded.checksum)

        in_parallel(numbers, tools.options.connections, send, tools.stop)

    def _complete(self, upload: PartUpload) -> ObjectInfo:
        try:
            return self._tools.in_store(upload.complete)
        except (ObjectNotFound, ObjectUnreadable, InvalidKey):
            raise
        except StoreError as error:
            raise _Afresh(error) from error

    def _confirmed(self, source: SourceFile, key: str, cut: Cut, parts: dict[int, SentPart]) -> ObjectInfo | None:
        """The object, if its store vouches that it is this file; `parts` then are those of the file, whole, with
        checksums of the kind that the store tells.
        """

        def measured(kind: str) -> list[Part]:
            left = [n for n in range(1, cut.count + 1) if n not in parts or kind_of(parts[n].checksum) != kind]

            def measure(number: int) -> None:
                parts[number] = self._tools.measured(number, cut.read(source, number), kind)

            in_parallel(left, self._tools.options.connections, measure, self._tools.stop)
            return [Part(part.size, part.checksum) for _, part in sorted(parts.items())]

        uploads = self._tools.store.uploads
        return self._tools.in_store(lambda: uploads.confirm(key, source.size, measured))

    def _publish_record(
        self,
        source: SourceFile,
        key: str,
        stream: Stream,
        cut: Cut,
        parts: dict[int, SentPart],
        etag: str,
        probe: Probe,
        *,
        started_at: str,
    ) -> dict[str, Any]:
        tools = self._tools
        found = self._confirmed(source, key, cut, parts)
        if found is None:
            _logger.warning("%s: the store does not confirm its checksum", tools.store.uri_of(key))
        record = upload_record(
            stream,
            source,
            key,
            tools.store.uri_of(key),
            etag,
            cut.part_bytes,
            [part for _, part in sorted(parts.items())],
            started_at=started_at,
            is_confirmed=found is not None,
            capture=probe.result(),
        )
        tools.in_store(lambda: tools.store.put(key + SUFFIX, as_json(record)))
        tools.in_checkpoint(lambda: tools.checkpoint.finish(key, record))
        tools.tally.files_done += 1
        return record

    def _take_up(self, key: str, cut: Cut) -> tuple[Begun, PartUpload] | None:
        return self._tools.in_checkpoint(lambda: self._tools.checkpoint.take_up(key, cut.part_bytes))

    def _begin(self, source: SourceFile, key: str, cut: Cut) -> tuple[Begun, PartUpload]:
        tools = self._tools
        upload = tools.in_store(lambda: tools.store.uploads.begin(key, part_bytes=cut.part_bytes))
        is_still = not tools.options.is_followed
        size, mtime_ns = (source.size, source.mtime_ns) if is_still else (None, None)
        begun = Begun(upload.upload_id, cut.part_bytes, size, mtime_ns, iso(), upload.kind)
        tools.in_checkpoint(lambda: tools.checkpoint.begin(key, begun))
        return begun, upload

    def _drop(self, key: str, cut: Cut) -> None:
        """Aborts the upload under way of a key, and forgets it."""
        tools = self._tools
        taken = self._followed.pop(key, None)
        if taken is None:
            try:
                taken = self._take_up(key, cut)
            except ObjectNotFound:
                taken = None
        if taken is not None:
            begun = taken[0]
            tools.in_store(lambda: abort(tools.store, key, begun.upload_id, begun.part_bytes))
        tools.in_checkpoint(lambda: tools.checkpoint.finish(key, None))
