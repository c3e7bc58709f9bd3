"""What a key may be, and how a strange one is shown.

A key that `check_key` passes means the same object on a disk, on S3 and on OSS, and can reach nothing but the store.
"""

from __future__ import annotations

import unicodedata

from video_assets.storage.object_store import InvalidKey

HIDDEN_FOLDER = ".tmp"
"""The store's own folder for temporaries and locks, at its root; no key begins with it."""

MAX_KEY_BYTES = 1024
"""The limit of S3 and OSS, in UTF-8."""

MAX_SEGMENT_BYTES = 255
"""What one name on a disk may have."""


def check_key(key: str) -> str:
    """Returns `key` if it may be written to a store.

    Refused: an empty key; one that begins or ends with `/`; an empty, `.` or `..` segment; `.tmp` as the first
    segment, in any case; control characters and NUL; a backslash (a separator to some tools, a letter to others);
    what is not valid Unicode; more than 1024 bytes in all or 255 between slashes.

    Raises:
        InvalidKey: naming the reason.
    """
    cause = _key_fault(key)
    if cause:
        raise InvalidKey(f"key '{printable_key(key[:MAX_KEY_BYTES])}'", cause, "Give the object another name.")
    return key


def _key_fault(key: str) -> str:
    """Why `key` may not be written, or an empty string."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if any(unicodedata.category(character) == "Cc" for character in key):
        return "holds a control character"
    if "\\" in key:
        return "holds a backslash"
    if max(map(len, encoded.split(b"/"))) > MAX_SEGMENT_BYTES:
        return f"has a name of more than {MAX_SEGMENT_BYTES} bytes between its slashes"
    return segment_fault(key)


def segment_fault(key: str) -> str:
    """Why `key` cannot be a path below a folder, or an empty string. The least that every key must keep."""
    segments = key.split("/")
    if "" in segments:
        return "is empty, begins or ends with '/', or holds '//'"
    if "." in segments or ".." in segments:
        return "has '.' or '..' for a segment"
    if is_hidden(segments[0]):
        return f"lies in the store's own folder '{HIDDEN_FOLDER}/'"
    if "\0" in key:
        return "holds a NUL character"
    return ""


def is_hidden(first_segment: str) -> bool:
    """Whether a name at the root is the store's own folder; on some disks `.TMP` is the same folder."""
    return first_segment.casefold() == HIDDEN_FOLDER


def printable_key(key: str) -> str:
    """The key for people: bytes that are not UTF-8, control characters and backslashes as escapes (`\\xff`)."""
    return "".join(map(_printable_character, key))


def _printable_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode()
