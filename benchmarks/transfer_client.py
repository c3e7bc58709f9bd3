"""One client of the transfer benchmark, in a process of its own.

    python -m benchmarks.transfer_client ours|ours+sha256|boto3 TARGET KEY…

Prints the seconds of wall and of CPU that the downloads take once imports are done, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUCKET = "bucket"


def main() -> None:
    """Downloads the keys, several at a time."""
    who, target, *keys = sys.argv[1:]
    download = {"ours": _ours, "ours+sha256": _ours_with_checksum, "boto3": _boto3}[who](Path(target), keys[0])
    before, begun = _cpu_s(), time.perf_counter()
    # As many as the stage `clips` has workers.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(download, keys))
    print(json.dumps({"wall_s": time.perf_counter() - begun, "cpu_s": _cpu_s() - before}))


def _ours(target: Path, first: str) -> Callable[[str], None]:
    """An object copied from store to store, as the stage `clips` does."""
    from video_assets.storage.registry import open_store

    source, store = open_store(f"s3://{BUCKET}"), open_store(str(target), create=True)
    source.head(first)  # imports and clients are made by the first use

    def download(key: str) -> None:
        store.put_from(key, source, key)

    return download


def _ours_with_checksum(target: Path, first: str) -> Callable[[str], None]:
    """The same, with the checksum that becomes a column of `clips`."""
    from video_assets.storage.registry import open_store

    source, store = open_store(f"s3://{BUCKET}"), open_store(str(target), create=True)
    source.head(first)  # imports and clients are made by the first use

    def download(key: str) -> None:
        store.put_from(key, source, key, digests=[hashlib.sha256()])

    return download


def _boto3(target: Path, first: str) -> Callable[[str], None]:
    """boto3's transfer manager, as it comes."""
    import boto3

    client = boto3.client("s3")
    client.head_object(Bucket=BUCKET, Key=first)

    def download(key: str) -> None:
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        client.download_file(BUCKET, key, str(target / key))

    return download


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
