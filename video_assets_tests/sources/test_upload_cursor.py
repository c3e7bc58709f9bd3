"""The sensor's memory: every change once, A → B → A too, a cap that loses nothing, cursors that are not ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.sources.upload_cursor import GONE, CursorError, UploadCursor

fingerprints = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"), max_size=6)


def take(cursor: UploadCursor, found: dict[str, str], limit: int = 100) -> list[tuple[str, str]]:
    changes, _ = cursor.take_changes(found, limit, already=lambda key: None)
    return [(change.partition_key, change.fingerprint) for change in changes]


def test_each_change_is_taken_once() -> None:
    cursor = UploadCursor()
    assert take(cursor, {"a": "1", "b": "1"}) == [("a", "1"), ("b", "1")]
    assert take(cursor, {"a": "1", "b": "1"}) == []
    assert take(cursor, {"a": "2", "b": "1"}) == [("a", "2")]


def test_earlier_bytes_that_come_back_have_a_run_key_of_their_own() -> None:
    cursor = UploadCursor()
    keys = []
    for fingerprint in ("1", "2", "1", "2"):
        changes, _ = cursor.take_changes({"a": fingerprint}, 9, already=lambda key: None)
        keys += [change.run_key for change in changes]
    assert len(set(keys)) == 4


def test_a_partition_whose_uploads_are_all_gone_is_a_change_once() -> None:
    cursor = UploadCursor()
    take(cursor, {"a": "1"})
    assert take(cursor, {}) == [("a", GONE)]
    assert take(cursor, {}) == []
    assert take(cursor, {"a": "1"}) == [("a", "1")]


def test_what_a_manifest_has_already_is_not_run_again() -> None:
    cursor = UploadCursor()
    changes, _ = cursor.take_changes({"a": "1", "b": "2"}, 9, already={"a": "1", "b": "1"}.get)
    assert [change.partition_key for change in changes] == ["b"]
    assert take(cursor, {"a": "1", "b": "2"}) == []


@given(st.lists(fingerprints, max_size=6), st.integers(1, 3))
def test_a_cap_delays_and_loses_nothing(states: list[dict[str, str]], limit: int) -> None:
    cursor = UploadCursor()
    handled: dict[str, str] = {}
    keys: list[str] = []
    final = states[-1] if states else {}
    for found in [*states, *[final] * 12]:
        changes, left = cursor.take_changes(found, limit, already=lambda key: None)
        assert len(changes) <= limit
        assert left == 0 or len(changes) == limit
        handled.update({change.partition_key: change.fingerprint for change in changes})
        keys += [change.run_key for change in changes]
        cursor = UploadCursor.parse(cursor.dump())
    assert {key: fp for key, fp in handled.items() if fp != GONE} == final
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("text", ["x", "{}", "[]", '{"version": 2, "generation": 1, "seen": {}}', "null", "1"])
def test_a_cursor_that_is_not_ours_says_what_to_do(text: str) -> None:
    with pytest.raises(CursorError, match="Clear the sensor's cursor"):
        UploadCursor.parse(text)
