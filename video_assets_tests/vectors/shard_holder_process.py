"""Run as a process of its own: `python -m … SHARD`, opens a shard past the index and its locks."""

from __future__ import annotations

import sys

from qdrant_edge import EdgeShard

if __name__ == "__main__":
    shard = EdgeShard.load(sys.argv[1])
    print("open", flush=True)
    sys.stdin.read()
