"""The names of a classifier's classes, and how a query in words is read as some of them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from video_assets.embedding.errors import TextNotUnderstood

LONGEST_QUERY = 200
"""Characters; a longer text is no list of things to look for."""

_FILLERS = frozenset(
    re.findall(
        r"\w+",
        "a an and at by for from in into is it near next of on or over the there to under with"
        " frame image photo photograph picture scene show some video",
    )
)
"""Words of a query that name nothing; they separate the names around them."""

Words = tuple[str, ...]


class ClassNames:
    """Names of classes: each has one label for display and any number of synonyms."""

    def __init__(self, names: Sequence[Sequence[str]]) -> None:
        """Take the names of every class, in class order; the first of each is its label."""
        self.labels = [synonyms[0] for synonyms in names]
        self._names: dict[Words, str] = {}
        self._whole: dict[Words, set[int]] = {}
        self._ending: dict[Words, set[int]] = {}
        for index, synonyms in enumerate(names):
            for name in synonyms:
                words = words_of(name)
                self._names.setdefault(words, name)
                self._whole.setdefault(words, set()).add(index)
                for start in range(1, len(words)):
                    self._ending.setdefault(words[start:], set()).add(index)

    def classes_in(self, text: str) -> list[list[int]]:
        """Read a query as things to look for.

        The longest name that starts at each word is taken. A word or phrase means the classes that are
        called so, or else those whose name ends with it: `rabbit` means `wood rabbit`. A name's first words
        alone mean nothing: `mountain` is no `mountain bike`.

        Returns:
            For each thing named, the indexes of its classes.

        Raises:
            TextNotUnderstood: nothing is named, or a word is left over, as `red` in `red minivan`.
        """
        if len(text) > LONGEST_QUERY:
            raise TextNotUnderstood(f"{text[:40]!r}…", f"longer than {LONGEST_QUERY} characters")
        words, position = words_of(text), 0
        found: list[list[int]] = []
        unknown: list[str] = []
        understood: list[str] = []
        while position < len(words):
            length, classes = self._longest_name(words[position:])
            if classes:
                found.append(sorted(classes))
                understood.append(" ".join(words[position : position + length]))
            elif words[position] not in _FILLERS:
                unknown.append(words[position])
            position += length
        if unknown or not found:
            raise self._not_understood(text, unknown, understood)
        return found

    def _longest_name(self, words: Words) -> tuple[int, set[int]]:
        for length in range(len(words), 0, -1):
            phrase = words[:length]
            if classes := self._whole.get(phrase) or self._ending.get(phrase):
                return length, classes
        return 1, set()

    def _not_understood(self, text: str, unknown: Sequence[str], understood: Sequence[str]) -> TextNotUnderstood:
        cause = "no class is called " + " or ".join(repr(word) for word in unknown)
        if not unknown:
            cause = "it names nothing to look for"
        advice = [f"Understood alone: {', '.join(understood)}"] if understood else []
        if near := self._near(unknown):
            advice.append(f"Near names: {', '.join(near)}")
        return TextNotUnderstood(repr(text), cause, ". ".join(advice))

    def _near(self, words: Iterable[str], most: int = 6) -> list[str]:
        """Names with one of the words in them, then names spelt alike."""
        # The last word of a name is understood alone: `rabbit` of `wood rabbit`.
        spelt = {parts[0]: parts[0] for parts in self._ending if len(parts) == 1}
        spelt |= {" ".join(parts): name for parts, name in self._names.items()}
        near: list[str] = []
        for word in words:
            near += [name for parts, name in self._names.items() if word in parts]
            near += [spelt[alike] for alike in difflib.get_close_matches(word, spelt, n=3, cutoff=0.7)]
        return list(dict.fromkeys(near))[:most]


def words_of(text: str) -> Words:
    """Lower-case words without accents and in the singular, as names and queries are compared."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(_singular(word) for word in re.findall(r"[^\W_]+", plain.replace("'", "")))


def _singular(word: str) -> str:
    """English plural to singular by its ending; both sides of a comparison go through it."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("buses", "ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
