"""A server that answers S3's ListObjectsV2 from memory, each time after a set delay: a bucket of any size, at once.

    python -m benchmarks.list_server --vehicles 1000 --days 100 --keys 10 --last-day 2026-01-31 --delay-ms 30

Prints its URL. Keys read `veh-0001/2026-01-03/front/083000.mp4`. A PUT adds an object. Signatures are not looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import date, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 1000


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.list_server")
    for name in ("vehicles", "days", "keys", "delay-ms"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--last-day", type=date.fromisoformat, required=True)
    options = parser.parse_args()
    days = [options.last_day - timedelta(days=n) for n in reversed(range(options.days))]
    bucket = Bucket(list(_keys(options.vehicles, days, options.keys)))
    asyncio.run(_serve(bucket, options.delay_ms / 1000))


def _keys(vehicles: int, days: list[date], keys: int) -> Iterator[str]:
    for vehicle in range(vehicles):
        for day in days:
            for number in range(keys):
                yield f"veh-{vehicle:04}/{day}/front/{8 + number // 60:02}{number % 60:02}00.mp4"


class Bucket:
    """Keys in order."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys

    def put(self, key: str) -> None:
        insort(self._keys, key)

    def page(self, prefix: str, delimiter: str, after: str, limit: int) -> bytes:
        """The XML of one page."""
        parts, last, count = [], "", 0
        at = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        while count < limit and at < len(self._keys) and self._keys[at].startswith(prefix):
            last = key = self._keys[at]
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            at += 1
            if cut >= 0:
                folder = key[: cut + 1]
                at = bisect_left(self._keys, folder + "\uffff")
                last = folder + "\uffff"
                if folder <= after:
                    continue
                parts.append(f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>")
            else:
                etag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
                parts.append(
                    f"<Contents><Key>{quote(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>&quot;{etag}&quot;</ETag><Size>20000000</Size><StorageClass>STANDARD</StorageClass></Contents>"
                )
            count += 1
        is_truncated = at < len(self._keys) and self._keys[at].startswith(prefix)
        token = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if is_truncated else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>'
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{''.join(parts)}{token}</ListBucketResult>"
        ).encode()


async def _serve(bucket: Bucket, delay_s: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                if headers.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if length := int(headers.get("content-length", 0)):
                    await reader.readexactly(length)
                await asyncio.sleep(delay_s)
                body = _body(bucket, *request.split(" ")[:2])
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
                    f'ETag: "{"0" * 32}"\r\n\r\n'.encode()
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _body(bucket: Bucket, method: str, target: str) -> bytes:
    url = urlsplit(target)
    if method == "PUT":
        bucket.put(unquote(url.path.lstrip("/").partition("/")[2]))
        return b""
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    after = unquote(asked.get("continuation-token", "")) or asked.get("start-after", "")
    limit = min(int(asked.get("max-keys", PAGE)), PAGE)
    return bucket.page(asked.get("prefix", ""), asked.get("delimiter", ""), after, limit)


if __name__ == "__main__":
    sys.exit(main())
