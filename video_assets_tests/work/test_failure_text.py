from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.errors import VideoAssetsError
from video_assets.work.failure_text import describe


@given(st.text(st.characters()))
def test_any_text_becomes_one_short_valid_line(text: str) -> None:
    described = describe(ValueError(text))
    assert len(described) <= 500
    assert described.isprintable()
    assert described.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("https://h/k?X-Amz-Signature=s3cret&y=1 gave 403", "https://h/k?… gave 403"),
        ("'s3://b/k?token=s3cret'", "'s3://b/k?…'"),
        ("redis://:s3cret@host:6379/0 refused", "redis://host:6379/0 refused"),
        ("postgresql://me:s3cret@db/x", "postgresql://db/x"),
        ("is it 3 > 2? yes@home", "is it 3 > 2? yes@home"),
        ("file:///data/a b.mp4", "file:///data/a b.mp4"),
    ],
)
def test_secrets_of_urls_are_cut_out(text: str, described: str) -> None:
    assert describe(VideoAssetsError("clip", text)) == f"clip: {described}"


def test_an_error_without_text_is_its_name() -> None:
    assert describe(MemoryError()) == "MemoryError"


def test_an_error_whose_text_fails_is_still_told() -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(BadError()) == "BadError: (its text cannot be read)"
