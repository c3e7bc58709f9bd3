"""A server of listings alone, for S3 and OSS: a bucket of keys that were rendered before the first request.

    python -m benchmarks.listing_server KEYS PREFIXES

Prints its port. `/fleet-s3/?list-type=2…` answers as S3 does, `/fleet-oss/?list-type=2…` as OSS. A page is one slice of
bytes between two constant pieces, so the server is never what is waited for. Signatures are not looked at.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from bisect import bisect_right
from urllib.parse import parse_qs, quote

PAGE_KEYS = 1000
_TIME = "2026-01-03T08:30:00.000Z"


class Bucket:
    """Keys `veh-00/2026-01-03/front/0000000.mp4`, as many in each of so many prefixes, rendered as one dialect."""

    def __init__(self, keys: int, prefixes: int, *, is_oss: bool) -> None:
        each = -(-keys // prefixes)
        self.keys = [f"veh-{n // each:02d}/2026-01-03/front/{n % each:07d}.mp4" for n in range(keys)]
        self._is_oss = is_oss
        rows = [self._row(number, key).encode() for number, key in enumerate(self.keys)]
        self._blob = b"".join(rows)
        self._ends = array("Q", [0])
        for row in rows:
            self._ends.append(self._ends[-1] + len(row))
        xmlns = "" if is_oss else ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        self._head = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{xmlns}><Name>{self.name}</Name>'.encode()
        )

    @property
    def name(self) -> str:
        """What it is called in a URL."""
        return "fleet-oss" if self._is_oss else "fleet-s3"

    def page(self, prefix: str, delimiter: str, after: str) -> bytes:
        """The XML of the first page after a key."""
        begin = bisect_right(self.keys, max(after, prefix[:-1] if prefix else ""))
        while begin < len(self.keys) and self.keys[begin] < prefix:
            begin += 1
        end = bisect_right(self.keys, prefix + "\U0010ffff") if prefix else len(self.keys)
        if delimiter:
            return self._level(prefix, delimiter, after, begin, end)
        last = min(end, begin + PAGE_KEYS)
        body = self._blob[self._ends[begin] : self._ends[last]]
        return self._whole(body, last - begin, self.keys[last - 1] if last < end else "")

    def _level(self, prefix: str, delimiter: str, after: str, begin: int, end: int) -> bytes:
        found = []
        while begin < end and len(found) < PAGE_KEYS:
            name, slash, _ = self.keys[begin][len(prefix) :].partition(delimiter)
            if not slash:
                return self._whole(self._blob[self._ends[begin] : self._ends[min(end, begin + PAGE_KEYS)]], 1, "")
            common = prefix + name + slash
            if common > after:
                found.append(f"<CommonPrefixes><Prefix>{self._text(common)}</Prefix></CommonPrefixes>")
            begin = bisect_right(self.keys, common + "\U0010ffff")
        return self._whole("".join(found).encode(), len(found), "")

    def _whole(self, body: bytes, count: int, token: str) -> bytes:
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        tail = (
            f"<EncodingType>url</EncodingType><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}</ListBucketResult>"
        )
        return self._head + body + tail.encode()

    def _row(self, number: int, key: str) -> str:
        etag, size = f"{number * 2654435761:032X}"[:32], 1000 + number
        if not self._is_oss:
            return (
                f"<Contents><Key>{self._text(key)}</Key><LastModified>{_TIME}</LastModified>"
                f"<ETag>&quot;{etag.lower()}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        return (
            f'<Contents><Key>{self._text(key)}</Key><LastModified>{_TIME}</LastModified><ETag>"{etag}"</ETag>'
            f"<Type>Normal</Type><Size>{size}</Size><StorageClass>Standard</StorageClass></Contents>"
        )

    def _text(self, key: str) -> str:
        return quote(key, safe="" if self._is_oss else "/")


class _Connection(asyncio.Protocol):
    def __init__(self, buckets: dict[str, Bucket]) -> None:
        self._buckets = buckets
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while b"\r\n\r\n" in self._held:
            request, _, self._held = self._held.partition(b"\r\n\r\n")
            self._transport.write(self._answer(request.split(b" ", 2)[1].decode()))

    def _answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        bucket = self._buckets[path.strip("/")]
        after = asked.get("continuation-token") or asked.get("start-after", "")
        body = bucket.page(asked.get("prefix", ""), asked.get("delimiter", ""), after)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def _serve(keys: int, prefixes: int) -> None:
    buckets = {bucket.name: bucket for bucket in (Bucket(keys, prefixes, is_oss=is_oss) for is_oss in (False, True))}
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(buckets), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
