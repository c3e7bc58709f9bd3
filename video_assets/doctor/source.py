"""Checks of where the uploads are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from video_assets.doctor.finding import Finding
from video_assets.doctor.place import is_folder
from video_assets.environment import environment
from video_assets.plural import counted
from video_assets.settings import Settings, variable
from video_assets.sources.chunked import UNUSABLE
from video_assets.sources.listing import BEFORE_FIRST_DAY, Listing, UnmatchedUpload
from video_assets.storage.object_keys import printable_key
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, StoreError, StoreUnavailable
from video_assets.storage.registry import open_store, split_uri

SAMPLE = 200
"""How many objects of the source are looked at."""

NEAR = 5
"""How many names are told where a prefix matches nothing."""


def source_finding(settings: Settings) -> Finding | None:
    """Whether the source can be listed and read, and what its keys are taken for. It is never written to.

    None where a catalogue names the videos: nothing is listed.
    """
    from video_assets.sources.registry import open_source

    if settings.catalogue_url is not None:
        return None
    named = _named(settings)
    try:
        listing = open_source(settings)
        uploads = list(islice(listing.everything(), SAMPLE))
    except StoreUnavailable as error:
        return Finding("source", "failed", f"{named} {error.cause}", error.remedy)
    more = "+" if len(uploads) == SAMPLE else ""
    vehicles = len({upload.fields.partition.vehicle for upload in uploads})
    videos = f"{len(uploads)}{more} video{'' if len(uploads) == 1 else 's'} of {counted(vehicles, 'vehicle')}"
    text = f"{named} holds {videos if uploads else 'no video that counts'}"
    examples = [line for line in listing.named_examples() if line != listing.why_nothing]
    told = [text, *examples, *_unmatched_by_kind(listing)]
    if listing.unmatched:
        return Finding("source", "warning" if uploads else "failed", "; ".join(told), _unmatched_remedy(listing))
    if not uploads and (settling := listing.skipped["settling"]):
        are = "upload is" if settling == 1 else "uploads are"
        waiting = f"{settling} {are} younger than {settings.settle_s:g} s ({variable('settle_s')})"
        return Finding("source", "warning", f"{named}: {waiting}", "Wait: they may still be being written.")
    if not uploads and not listing.skipped.total():
        return Finding(
            "source",
            "warning",
            f"{named} holds nothing{_what_is_near(settings)}",
            f"Correct {_place(settings)}, or wait for uploads.",
        )
    if not uploads:
        remedy = f"Look at {_place(settings)} and {variable('video_extensions')}."
        return Finding("source", "warning", "; ".join(told), remedy)
    root, key = split_uri(listing.store.uri_of(uploads[0].info.key))
    if not is_folder(root):
        # One byte: who may list may not be permitted to read.
        open_store(root).get(key, length=1)
        told.append("they can be read; the right to write is not needed, and was not tried")
    return Finding("source", "ok", "; ".join(told))


def _place(settings: Settings) -> str:
    """The variables that say where the source is."""
    if settings.video_list is not None:
        return variable("video_list")
    return variable("source") if environment().get(variable("source")) else "OSS_BUCKET and OSS_PREFIX"


def _named(settings: Settings) -> str:
    """The source as it was set, and where."""
    place = _place(settings)
    value = environment().get(place)
    return f"{place}={value}" if value else f"{place}, {settings.source_uri()},"


def _what_is_near(settings: Settings) -> str:
    """What lies where the prefix ends that a bucket has; a prefix that matches nothing is no error of its own."""
    if settings.video_list is not None:
        return ""
    uri = settings.source_uri().rstrip("/")
    while not is_folder(uri):
        uri = uri.rpartition("/")[0]
        try:
            names = [_name(entry) for entry in islice(open_store(uri).list_level(), NEAR + 1)]
        except StoreError:
            return ""
        if names:
            return f"; {uri} holds {', '.join(names[:NEAR])}{', …' * (len(names) > NEAR)}"
    return ""


def _name(entry: ObjectInfo | CommonPrefix) -> str:
    return printable_key(entry.prefix if isinstance(entry, CommonPrefix) else entry.key)


def _unmatched_by_kind(listing: Listing) -> list[str]:
    """How many videos belong to no partition, for each kind of reason, with one example."""
    kinds: dict[str, list[UnmatchedUpload]] = {}
    for upload in listing.unmatched:
        kinds.setdefault(upload.kind, []).append(upload)
    return [f"{len(found)} unmatched, e.g. {found[0].info.key} {found[0].reason}" for found in kinds.values()]


def _unmatched_remedy(listing: Listing) -> str:
    """By the commonest reason: another first day, another upload, or another template."""
    kinds = Counter(upload.kind for upload in listing.unmatched)
    if kinds.most_common(1)[0][0] == BEFORE_FIRST_DAY:
        return f"Set {variable('start_date')} to the first day of your footage."
    if kinds.most_common(1)[0][0] == UNUSABLE:
        return "Upload these files again, or delete what there is of their streams."
    return f"Set {variable('path_template')}, now {listing.template.template}, to what your keys look like."
