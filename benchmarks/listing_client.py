"""One client lists the server's bucket; prints keys, CPU seconds of the listing, seconds and the process's peak memory.

python -m benchmarks.listing_client CLIENT PORT
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

ACCESS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


def boto3_paginator(port: int) -> Iterator[str]:
    """boto3's paginator of ListObjectsV2."""
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **ACCESS)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="fleet-s3"):
        for entry in page["Contents"]:
            yield entry["Key"]


def obstore_alone(port: int) -> Iterator[str]:
    """obstore's own listing."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "fleet-s3",
        config={"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", **ACCESS},
        client_options={"allow_http": True},
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=60)},
    )
    for page in obstore.list(store, chunk_size=1000):
        for entry in page:
            yield entry["path"]


def oss_paginator(port: int) -> Iterator[str]:
    """alibabacloud-oss-v2's paginator of ListObjectsV2."""
    import alibabacloud_oss_v2 as oss

    options = oss.config.load_default()
    options.region, options.endpoint = "cn-test", f"127.0.0.1:{port}"
    options.disable_ssl = options.use_path_style = True
    options.credentials_provider = oss.credentials.StaticCredentialsProvider("key", "secret")
    paginator = oss.Client(options).list_objects_v2_paginator()
    for page in paginator.iter_page(oss.ListObjectsV2Request("fleet-oss", max_keys=1000)):
        for entry in page.contents:
            yield entry.key


def ours_s3(port: int) -> Iterator[str]:
    """This project on S3."""
    return _ours("s3://fleet-s3")


def ours_oss(port: int) -> Iterator[str]:
    """This project on OSS."""
    return _ours(f"oss://127.0.0.1:{port}/fleet-oss")


def _ours(uri: str) -> Iterator[str]:
    from video_assets.sources.parallel_listing import list_in_parallel
    from video_assets.storage.registry import open_store

    return (info.key for info in list_in_parallel(open_store(uri)))


CLIENTS: dict[str, Callable[[int], Iterator[str]]] = {
    function.__name__: function for function in (boto3_paginator, obstore_alone, oss_paginator, ours_s3, ours_oss)
}


def main() -> None:
    """Lists once. What is imported and connected for the first key is not counted."""
    name, port = sys.argv[1], int(sys.argv[2])
    keys = CLIENTS[name](port)
    next(keys)
    cpu, wall = time.process_time(), time.monotonic()
    count = 1 + sum(1 for _ in keys)
    result = {"keys": count, "cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result, "peak_mb": peak_kb * 1024 / 1000**2}))


if __name__ == "__main__":
    main()
