"""Sorting more records than memory is given for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.sources.spool import Spool


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=20))), st.integers(1, 60))
def test_records_come_back_by_key_and_equal_keys_in_their_order(records: list[tuple[bytes, bytes]], run: int) -> None:
    with Spool(run) as spool:
        for key, value in records:
            spool.add(key, value)
        assert list(spool.sorted()) == sorted(records, key=lambda record: record[0])


def test_records_larger_than_a_read_are_whole() -> None:
    records = [(bytes([n % 7]) * n, bytes([n % 251]) * (n * 997)) for n in range(200, 0, -1)]
    with Spool(1_000_000) as spool:
        for key, value in records:
            spool.add(key, value)
        assert list(spool.sorted()) == sorted(records, key=lambda record: record[0])
