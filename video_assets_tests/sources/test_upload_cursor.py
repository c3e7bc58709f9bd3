"""The sensor's cursor: what is written is read back, and what is not ours says what to do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.sources.upload_scan.cursor import Change, CursorError, UploadCursor

VERSION_1 = '{"version": 1, "generation": 7, "seen": {"2026-01-05|veh-1": "aa"}, "unmatched": "bb"}'


def test_what_was_written_is_read_back_in_ascii() -> None:
    cursor = UploadCursor(memory="0" * 32, sweep_inside="vé\udcff/2026/x.mp4", unfinished=["vé/", "vé/x", 3])
    text = cursor.dump()
    assert text.isascii()
    assert UploadCursor.parse(text) == cursor


def test_no_run_key_of_version_1_comes_again() -> None:
    cursor = UploadCursor.parse(VERSION_1)
    assert (cursor.generation, cursor.memory, cursor.is_rebuilt) == (7, "", False)
    assert str(cursor.take_unmatched("bb", "aa", "", 0)).startswith("unmatched:8:")
    assert cursor.take_unmatched("bb", "aa", "", 0) is None


def test_earlier_bytes_that_come_back_have_a_run_key_of_their_own() -> None:
    keys = {Change("a", fingerprint, n).run_key for n, fingerprint in enumerate(("1", "2", "1", "2"))}
    assert len(keys) == 4


def test_the_unmatched_are_asked_for_once_until_the_table_is_another_or_an_hour_has_gone() -> None:
    cursor = UploadCursor()
    assert cursor.take_unmatched("", "", "", 5000) is None
    keys = [cursor.take_unmatched("bb", made, table, 5000 + s) for made, table, s in (("", "", 0), ("", "", 3599))]
    assert [key is not None for key in keys] == [True, False]
    keys += [cursor.take_unmatched("bb", "cc", "1", 9000), cursor.take_unmatched("bb", "cc", "1", 12600)]
    assert None not in keys[2:]
    assert len(set(keys)) == 4
    assert cursor.take_unmatched("bb", "bb", "2", 20000) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": None},
        {"memory": "../../etc/passwd"},
        {"memory": 5},
        {"source": "x"},
        {"generation": "1"},
        {"generation": True},
        {"served": ["a"]},
        {"served": [1, 2]},
        {"sweep_unmatched": [1, 2]},
        {"unfinished": ["a"]},
        {"is_rebuilt": 1},
        {"no_such": 1},
    ],
)
def test_a_cursor_with_a_wrong_field_says_what_to_do(change: dict[str, object]) -> None:
    stored = {**json.loads(UploadCursor().dump()), **change}
    with pytest.raises(CursorError, match="Clear the sensor's cursor"):
        UploadCursor.parse(json.dumps(stored))


@pytest.mark.parametrize(
    "text",
    [
        *("x", "{}", "[]", "null", "1", '{"version": 1}', '{"version": 1, "generation": 1, "seen": 5}'),
        '{"version": 1, "generation": Infinity, "seen": {}}',
    ],
)
def test_a_cursor_that_is_not_ours_says_what_to_do(text: str) -> None:
    with pytest.raises(CursorError, match="Clear the sensor's cursor"):
        UploadCursor.parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*json.loads(UploadCursor().dump()), "seen"]), json_values))
def test_a_hostile_cursor_is_refused_or_can_be_written_again(stored: dict[str, object]) -> None:
    try:
        cursor = UploadCursor.parse(json.dumps({"version": 2, **stored}))
    except CursorError:
        return
    assert UploadCursor.parse(cursor.dump()) == cursor
