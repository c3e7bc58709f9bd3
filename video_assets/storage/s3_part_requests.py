"""How botocore sends the parts of an object, with what would cost CPU for nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from video_assets.storage.s3_part_checksums import CRC_HEADER

PIECE_BYTES = 64 * 1024
"""So much is written at a time. It must go within the timeout of a connection, however slow the line."""


class Pieces:
    """The bytes of a part, by `PIECE_BYTES`, from the beginning each time."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self._data), PIECE_BYTES):
            yield self._data[start : start + PIECE_BYTES]

    def seek(self, position: int) -> None:
        """For botocore, which goes back to 0 before it sends a part again."""


def spare_parts(client: Any) -> None:
    """Has a client of boto3 send parts with the one checksum that is given, and in few writes."""
    events = client.meta.events
    events.register("provide-client-params.s3.UploadPart", _one_checksum)
    events.register("before-call.s3.UploadPart", _known_checksum)
    events.register("before-sign.s3.UploadPart", _whole_body)
    events.register("before-send.s3.UploadPart", _in_pieces)


def _one_checksum(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """A part that comes with its MD5 is sent with no other checksum, which botocore would take by itself."""
    from botocore.config import Config

    if "ContentMD5" in params:
        context["client_config"] = context["client_config"].merge(Config(request_checksum_calculation="when_required"))


def _known_checksum(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Under TLS, botocore signs no SHA-256 of a body whose checksum it has taken by itself: here it is given."""
    if CRC_HEADER in params["headers"]:
        context["checksum"] = {"request_algorithm": {"algorithm": "crc64nvme", "in": "header", "name": CRC_HEADER}}


def _whole_body(request: Any, **_: Any) -> None:
    """The part as it is, to be signed: botocore has made it a file, which would be copied."""
    if isinstance(request.data, BytesIO):
        request.data = request.data.getvalue()


def _in_pieces(request: Any, **_: Any) -> None:
    """Of a file, urllib3 sends 16 KiB at a time; of bytes, all within the one timeout."""
    if isinstance(request.body, bytes):
        request.body = Pieces(request.body)
