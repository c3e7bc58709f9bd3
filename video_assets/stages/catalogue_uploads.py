"""From records of a catalogue to uploads, as a listing would give them; of the others why they are none."""

from __future__ import annotations

from collections.abc import Sequence

from video_assets.settings import Settings
from video_assets.sources.catalogue.claims import Ending
from video_assets.sources.catalogue.records import Record
from video_assets.sources.catalogue.videos import CatalogueVideos
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import Upload
from video_assets.sources.source_objects import Fault, ListedVideo
from video_assets.work.failure_text import one_line

_WHY_SKIPPED = {
    "folder": "names a folder",
    "empty": "is empty",
    "extension": "is no video by VIDEO_EXTENSIONS",
}


def found_uploads(
    records: Sequence[Record], listing: Listing, settings: Settings
) -> tuple[list[tuple[Record, Upload]], list[Ending]]:
    """The records whose videos are there, in the same order, and what becomes of the others.

    Raises:
        StoreUnavailable: where the videos lie cannot be read.
    """
    objects = listing.objects
    assert isinstance(objects, CatalogueVideos)
    looked = objects.look(records)
    found, endings = [], []
    for record in records:
        video = looked[record.id]
        if isinstance(video, Fault):
            # `is no usable record of the catalogue: record x is not there` is for where nobody knows the record.
            reason = video.reason.partition(": ")[2].removeprefix(f"record {record.code} ")
            endings.append(failed(record, "source", reason))
        elif isinstance(upload := _upload(record, video, listing, settings), Ending):
            endings.append(upload)
        else:
            found.append((record, upload))
    return found, endings


def failed(record: Record, stage: str, message: str) -> Ending:
    """A record that failed before any of its output changed."""
    return Ending(record.id, record.flags, "failed", stage, one_line(message))


def _upload(record: Record, video: ListedVideo, listing: Listing, settings: Settings) -> Upload | Ending:
    look = listing.again()
    upload = next(look.uploads([video]), None)
    if upload is not None:
        return upload
    if look.skipped["settling"]:
        young = "is younger than VIDEO_ASSETS_SETTLE_S"
        return Ending(record.id, record.flags, "waiting", "settling", young, wait_s=settings.settle_s)
    if look.unmatched:
        return failed(record, "match", look.unmatched[0].reason)
    return failed(record, "source", _WHY_SKIPPED[min(+look.skipped)])
