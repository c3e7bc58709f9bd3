"""What travels through the tunnel: Arrow streams in checked chunks, and records in tags, each with CRC32C.

An Arrow stream is the size of its chunks (4 bytes, big-endian), then chunks, each followed by its CRC32C, the last by
that of everything; what it carries are IPC record batches without the schema's message. A record is a list of
protobuf fields (number: the column's, from 1), closed by END_RECORD with the CRC32C of what its values are; a stream of
records is closed by their number and the CRC32C of their checksums.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import crcmod.predefined
import pyarrow as pa

from video_assets_tests.servers.odps_server_errors import OdpsServerError
from video_assets_tests.servers.odps_server_types import OdpsColumn, OdpsSchema

CHUNK_BYTES = 65_536

_END_RECORD, _META_COUNT, _META_CHECKSUM = 33_553_408, 33_554_430, 33_554_431
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIRE_TYPES = {"bigint": _VARINT, "int": _VARINT, "boolean": _VARINT, "double": _FIXED64, "float": _FIXED32}

crc32c = crcmod.predefined.mkPredefinedCrcFun("crc-32c")


def decode_arrow(body: bytes, schema: pa.Schema) -> pa.Table:
    """The rows of an Arrow stream.

    Raises:
        OdpsServerError: a checksum does not fit, or it is no such stream.
    """
    (size,) = struct.unpack_from("!I", body)
    payload, position = io.BytesIO(), 4
    while len(body) - position >= size + 4:
        _check(body[position : position + size], body[position + size : position + size + 4])
        payload.write(body[position : position + size])
        position += size + 4
    payload.write(body[position:-4])
    data = payload.getvalue()
    _check(data, body[-4:])
    try:
        return pa.ipc.open_stream(schema.serialize().to_pybytes() + data).read_all()
    except pa.ArrowException as error:
        raise OdpsServerError(400, "InvalidArgument", f"no Arrow stream of this schema: {error}") from None


def encode_arrow(rows: pa.Table) -> bytes:
    """An Arrow stream of rows."""
    data = b"".join(batch.serialize().to_pybytes() for batch in rows.combine_chunks().to_batches())
    out = [struct.pack("!I", CHUNK_BYTES)]
    whole = len(data) // CHUNK_BYTES * CHUNK_BYTES
    for position in range(0, whole, CHUNK_BYTES):
        chunk = data[position : position + CHUNK_BYTES]
        out += [chunk, struct.pack("!I", crc32c(chunk))]
    return b"".join([*out, data[whole:], struct.pack("!I", crc32c(data))])


def _check(data: bytes, checksum: bytes) -> None:
    if struct.pack("!I", crc32c(data)) != checksum:
        raise OdpsServerError(400, "ChecksumError", "the checksum of a chunk does not fit")


def with_split_times(rows: pa.Table) -> pa.Table:
    """Times as seconds and nanoseconds, as results of instances carry them."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            column = rows[field.name].cast(pa.timestamp("ns")).cast(pa.int64()).combine_chunks()
            seconds, nanos = divmod(column.fill_null(0).to_numpy(), 1_000_000_000)
            nulls = column.is_null().to_numpy(zero_copy_only=False)
            parts = [pa.array(seconds, pa.int64(), mask=nulls), pa.array(nanos, pa.int32(), mask=nulls)]
            split = pa.StructArray.from_arrays(parts, ["sec", "nano"])
            rows = rows.set_column(index, field.name, split)
    return rows


def encode_records(rows: pa.Table, columns: Iterable[OdpsColumn]) -> bytes:
    """A stream of records."""
    out, columns, checksums = bytearray(), list(columns), []
    for row in rows.to_pylist():
        covered = bytearray()
        for number, column in enumerate(columns, 1):
            value = row[column.name]
            if value is not None:
                covered += struct.pack("<i", number)
                out += _varint(number << 3 | _WIRE_TYPES.get(column.type, _LENGTH))
                out += _encode(value, column.type, covered)
        checksums.append(crc32c(bytes(covered)))
        out += _varint(_END_RECORD << 3) + _varint(checksums[-1])
    out += _varint(_META_COUNT << 3) + _varint(_zigzag(len(checksums)))
    total = crc32c(b"".join(struct.pack("<I", checksum) for checksum in checksums))
    return bytes(out + _varint(_META_CHECKSUM << 3) + _varint(total))


def _encode(value: Any, kind: str, covered: bytearray) -> bytes:
    """A value's bytes; what the checksum covers of it is added to `covered`."""
    if kind.startswith("array<"):
        parts = [_varint(len(value))]
        for element in value:
            parts.append(b"\1" if element is None else b"\0" + _encode(element, kind[6:-1], covered))
        return b"".join(parts)
    if kind in ("bigint", "int"):
        covered += struct.pack("<q", value)
        return _varint(_zigzag(value))
    if kind == "boolean":
        covered.append(value)
        return bytes([value])
    if kind in ("double", "float"):
        data = struct.pack("<d" if kind == "double" else "<f", value)
        covered += data
        return data
    if kind.startswith("timestamp"):
        moment = value if isinstance(value, datetime) else value.to_pydatetime()
        seconds = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
        covered += struct.pack("<q", seconds) + struct.pack("<i", moment.microsecond * 1000)
        return _varint(_zigzag(seconds)) + _varint(_zigzag(moment.microsecond * 1000))
    data = value.encode()
    covered += data
    return _varint(len(data)) + data


def decode_records(body: bytes, schema: OdpsSchema) -> pa.Table:
    """The rows of a stream of records.

    Raises:
        OdpsServerError: a checksum or the number of records does not fit.
    """
    rows: list[dict[str, Any]] = []
    row: dict[str, Any] = {}
    reader, covered, checksums = _Reader(body), bytearray(), bytearray()
    while True:
        number = reader.varint() >> 3
        if number == _META_COUNT:
            if _unzigzag(reader.varint()) != len(rows) or reader.varint() >> 3 != _META_CHECKSUM:
                raise OdpsServerError(400, "InvalidArgument", "the number of records does not fit")
            if reader.checksum() != crc32c(bytes(checksums)):
                raise OdpsServerError(400, "ChecksumError", "the checksum of a block does not fit")
            return pa.Table.from_pylist(rows, schema.arrow)
        if number == _END_RECORD:
            checksum = reader.checksum()
            if checksum != crc32c(bytes(covered)):
                raise OdpsServerError(400, "ChecksumError", "the checksum of a record does not fit")
            checksums += struct.pack("<I", checksum)
            rows.append(row)
            row, covered = {}, bytearray()
            continue
        column = schema.columns[number - 1]
        covered += struct.pack("<i", number)
        row[column.name] = reader.value(column.type, covered)


class _Reader:
    """Reads the values of records from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def checksum(self) -> int:
        """32 bits; a client may send them as a negative number of 64."""
        return self.varint() & 0xFFFF_FFFF

    def take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def value(self, kind: str, covered: bytearray) -> Any:
        if kind.startswith("array<"):
            return list(self._elements(kind[6:-1], covered))
        if kind in ("bigint", "int"):
            number = _unzigzag(self.varint())
            covered += struct.pack("<q", number)
            return number
        if kind == "boolean":
            data = self.take(1)
        elif kind in ("double", "float"):
            data = self.take(8 if kind == "double" else 4)
        elif kind.startswith("timestamp"):
            seconds, nano = _unzigzag(self.varint()), _unzigzag(self.varint())
            covered += struct.pack("<q", seconds) + struct.pack("<i", nano)
            return seconds * 1_000_000_000 + nano
        else:
            data = self.take(self.varint())
        covered += data
        if kind == "boolean":
            return bool(data[0])
        if kind in ("double", "float"):
            return struct.unpack("<d" if kind == "double" else "<f", data)[0]
        return data.decode()

    def _elements(self, kind: str, covered: bytearray) -> Iterator[Any]:
        for _ in range(self.varint()):
            yield None if self.take(1)[0] else self.value(kind, covered)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
