"""Pixels and containers: packets, sampling, decoding, images, shards, contact sheets.

Takes a path or a seekable binary file; knows nothing of stores, sources or Dagster.
"""
