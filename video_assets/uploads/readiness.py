"""Whether a file is ready to go up, and if not, what it waits for."""

from __future__ import annotations

from enum import StrEnum

from video_assets.uploads.folder import Seen
from video_assets.uploads.source_file import SourceFile
from video_assets.uploads.tools import WatchOptions


class State(StrEnum):
    """What a file is to the watcher."""

    EMPTY = "empty"
    """Nothing in it: no store's manifest would take it."""
    HELD = "held"
    """A `.part` twin says that somebody is writing it."""
    GROWING = "growing"
    """It has changed within the settle time."""
    NO_INDEX = "no index"
    """An MP4 or MOV that is still and has no `moov` yet."""
    INCOMPLETE = "incomplete"
    """The same for so long that nobody will finish it."""
    READY = "ready"


def state_of(file: Seen, source: SourceFile, still_s: float, options: WatchOptions) -> State:
    """The state of a file that has not changed for `still_s` seconds.

    Raises:
        FileChanged, UploadError, SourceAway: as for reads of the file.
    """
    if file.size == 0:
        return State.EMPTY
    if file.has_part_twin:
        return State.HELD
    if still_s < options.settle_s:
        return State.GROWING
    if source.has_index():
        return State.READY
    return State.INCOMPLETE if still_s >= options.incomplete_after_s else State.NO_INDEX
