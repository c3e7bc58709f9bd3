"""Where the upload sensor's memory lies between ticks.

Its name is made of its content and stands in the cursor, which Dagster stores with the tick. A tick that dies after
writing leaves the old cursor with the old memory; a memory that is lost or damaged is begun anew, and the manifests say
what is done already.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from video_assets.keys import UPLOADS_SEEN, uploads_seen_key
from video_assets.settings import Settings
from video_assets.sources.upload_scan.cursor import UploadCursor
from video_assets.sources.upload_scan.memory import MemoryDamaged, UploadMemory, dump_memory, load_memory, memory_name
from video_assets.storage.object_store import ObjectNotFound, ObjectStore

FORGET_AFTER = timedelta(minutes=10)
"""A state that the cursor does not name is kept this long: a tick that is under way may have written it."""


def recall(cursor: UploadCursor, store: ObjectStore, settings: Settings) -> tuple[UploadCursor, UploadMemory, str]:
    """The memory that belongs to a cursor.

    Returns:
        The cursor and its memory, and why both were begun anew; empty where they were not.

    Raises:
        StoreUnavailable: the store cannot be read: the memory is not lost for that.
    """
    source = _source_id(settings)
    if not cursor.memory:
        return _anew(cursor, source), UploadMemory(), ""
    if cursor.source != source:
        return _anew(cursor, source), UploadMemory(), "the source or its path template is another"
    try:
        data = store.get(uploads_seen_key(cursor.memory))
        if memory_name(data) != cursor.memory:
            return _anew(cursor, source), UploadMemory(), "what was remembered is damaged"
        return cursor, load_memory(data, cursor.begun), ""
    except ObjectNotFound:
        return _anew(cursor, source), UploadMemory(), "what was remembered is gone from the store"
    except MemoryDamaged as error:
        return _anew(cursor, source), UploadMemory(), f"what was remembered {error.cause}"


def remember(cursor: UploadCursor, memory: UploadMemory, store: ObjectStore) -> None:
    """Stores a memory, if it changed, and has the cursor name it. Until Dagster has the cursor, the old one holds."""
    begun = memory.unfinished
    cursor.unfinished = [begun.place, begun.after, begun.settling] if begun else []
    if memory.is_changed or not cursor.memory:
        data = dump_memory(memory)
        name = memory_name(data)
        if name != cursor.memory:
            store.put(uploads_seen_key(name), data)
            cursor.memory = name


def forget_older(name: str, store: ObjectStore) -> None:
    """Removes the states before this one, which Dagster's cursor names: no cursor will name them any more."""
    states = {info.key: info for info in store.list(UPLOADS_SEEN)}
    named = states.get(uploads_seen_key(name))
    if named is None:
        return
    before = min(named.last_modified, datetime.now(UTC) - FORGET_AFTER)
    for info in states.values():
        if info.last_modified < before and info.key != named.key:
            store.delete(info.key)


def _anew(cursor: UploadCursor, source: str) -> UploadCursor:
    """A cursor that has seen nothing. Run keys go on from its generation, so that none comes twice."""
    return UploadCursor(
        source, generation=cursor.generation, unmatched_generation=cursor.unmatched_generation or _new_generation()
    )


def _new_generation() -> int:
    """One that no lost cursor can have reached, however often the unmatched changed."""
    return int(datetime.now(UTC).timestamp())


def _source_id(settings: Settings) -> str:
    """Changes with all that says what a key of the source means."""
    parts = (
        settings.source_uri(),
        settings.path_template,
        settings.timezone,
        settings.path_timezone,
        settings.video_extensions,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
