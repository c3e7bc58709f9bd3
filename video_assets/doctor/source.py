"""Checks of where the uploads are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from video_assets.doctor.finding import Finding
from video_assets.plural import counted
from video_assets.settings import Settings, environment, variable
from video_assets.sources.listing import BEFORE_FIRST_DAY, Listing, UnmatchedUpload
from video_assets.storage.object_store import StoreUnavailable

SAMPLE = 200
"""How many objects of the source are looked at."""


def source_finding(settings: Settings) -> Finding:
    """Whether the source can be listed, and what its keys are taken for."""
    from video_assets.stages.manifest import open_listing

    named = f"{variable('source')}={environment().get(variable('source'))}"
    try:
        listing = open_listing(settings)
        uploads = list(islice(listing.everything(), SAMPLE))
    except StoreUnavailable as error:
        return Finding("source", "failed", f"{named} {error.cause}", error.remedy)
    more = "+" if len(uploads) == SAMPLE else ""
    vehicles = len({upload.fields.partition.vehicle for upload in uploads})
    text = (
        f"{named} holds {len(uploads)}{more} video{'' if len(uploads) == 1 else 's'} of {counted(vehicles, 'vehicle')}"
    )
    told = [text, *listing.named_examples(), *_unmatched_by_kind(listing)]
    if listing.unmatched:
        return Finding("source", "warning" if uploads else "failed", "; ".join(told), _unmatched_remedy(listing))
    if not uploads and (settling := listing.skipped["settling"]):
        are = "upload is" if settling == 1 else "uploads are"
        waiting = f"{settling} {are} younger than {settings.settle_s:g} s ({variable('settle_s')})"
        return Finding("source", "warning", f"{named}: {waiting}", "Wait: they may still be being written.")
    if not uploads:
        remedy = f"Look at {variable('source')} and {variable('video_extensions')}."
        return Finding("source", "warning", "; ".join(told), remedy)
    return Finding("source", "ok", "; ".join(told))


def _unmatched_by_kind(listing: Listing) -> list[str]:
    """How many videos belong to no partition, for each kind of reason, with one example."""
    kinds: dict[str, list[UnmatchedUpload]] = {}
    for upload in listing.unmatched:
        kinds.setdefault(upload.kind, []).append(upload)
    return [f"{len(found)} unmatched, e.g. {found[0].info.key} {found[0].reason}" for found in kinds.values()]


def _unmatched_remedy(listing: Listing) -> str:
    """By the commonest reason: another first day, or another template."""
    kinds = Counter(upload.kind for upload in listing.unmatched)
    if kinds.most_common(1)[0][0] == BEFORE_FIRST_DAY:
        return f"Set {variable('start_date')} to the first day of your footage."
    return f"Set {variable('path_template')}, now {listing.template.template}, to what your keys look like."
