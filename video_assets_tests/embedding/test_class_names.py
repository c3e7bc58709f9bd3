from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video_assets.embedding.class_names import LONGEST_QUERY, ClassNames, words_of
from video_assets.embedding.errors import TextNotUnderstood

NAMES = [
    ["minivan"],
    ["wood rabbit", "cottontail", "cottontail rabbit"],
    ["Angora", "Angora rabbit"],
    ["traffic light", "stoplight"],
    ["school bus"],
    ["sunglasses"],
    ["crane bird", "crane"],
    ["crane"],
    ["mountain bike"],
    ["jack-o'-lantern"],
]


@pytest.fixture(scope="module")
def names() -> ClassNames:
    return ClassNames(NAMES)


@pytest.mark.parametrize(
    ("query", "classes"),
    [
        ("minivan", [[0]]),
        ("MINIVANS!", [[0]]),
        ("a photo of a minivan", [[0]]),
        ("rabbit", [[1, 2]]),
        ("cottontail", [[1]]),
        ("stoplights and school buses", [[3], [4]]),
        ("bus", [[4]]),
        ("traffic light minivan", [[3], [0]]),
        ("sunglasses", [[5]]),
        ("crane", [[6, 7]]),
        ("crane bird", [[6]]),
        ("mountain bike", [[8]]),
        ("jack o' lantern", [[9]]),
    ],
)
def test_a_query_is_read_as_classes(names: ClassNames, query: str, classes: list[list[int]]) -> None:
    assert names.classes_in(query) == classes


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("red minivan", "no class is called 'red'. Understood alone: minivan"),
        ("mountain", "no class is called 'mountain'. Near names: mountain bike"),
        ("minvan", "Near names: minivan"),
        ("rabit", "Near names: rabbit"),
        ("truck or person", "no class is called 'truck' or 'person'"),
        ("", "names nothing to look for"),
        ("in the", "names nothing to look for"),
        ("兔子", "no class is called '兔子'"),
        ("minivan " * LONGEST_QUERY, "longer than"),
    ],
)
def test_a_query_with_a_rest_is_refused_and_told_why(names: ClassNames, query: str, told: str) -> None:
    with pytest.raises(TextNotUnderstood) as caught:
        names.classes_in(query)
    assert told in str(caught.value)


def test_every_name_finds_its_class(names: ClassNames) -> None:
    for index, synonyms in enumerate(NAMES):
        for name in synonyms:
            assert index in names.classes_in(name)[0]
            assert index in names.classes_in(name.upper())[0]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    names = ClassNames(NAMES)
    try:
        things = names.classes_in(text)
    except TextNotUnderstood:
        return
    assert things
    assert all(thing and set(thing) <= set(range(len(NAMES))) for thing in things)
    # Reading does not depend on case: both sides are compared as the same words.
    if words_of(text.upper()) == words_of(text):
        assert names.classes_in(text.upper()) == things
