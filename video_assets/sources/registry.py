"""From the settings to the source: listed, or read from an inventory, a list or a catalogue in place of that."""

from __future__ import annotations

from collections.abc import Callable

from video_assets.settings import Settings
from video_assets.sources.catalogue.videos import CatalogueVideos
from video_assets.sources.chunked import ChunkedVideos
from video_assets.sources.inventory import Inventory
from video_assets.sources.listing import Listing
from video_assets.sources.listing_files import ListingFiles, identity_of
from video_assets.sources.source_objects import SourceObjects, StoreObjects
from video_assets.sources.video_list import VideoList
from video_assets.storage.registry import open_store


def open_source(
    settings: Settings, *, with_files: bool = False, report: Callable[[str], None] | None = None
) -> Listing:
    """The source of a deployment, ready to be read.

    Args:
        with_files: keep listing files in the deployment's store. Without them nothing is written, and a partition may
            cost a reading of the whole source.
        report: takes a line on how far a reading of everything is, every 10 s.

    Raises:
        SettingsError: none is set.
    """
    objects, template = _objects(settings), settings.template()
    parts = [objects.kind, objects.store.uri, template.template, *template.extensions]
    parts += [settings.source_layout] if settings.source_layout != "files" else []
    parts += [template.path_zone.key, template.fleet_zone.key, settings.start_date.isoformat()]
    # A catalogue gives a partition's records alone.
    keeps = with_files and not isinstance(objects, CatalogueVideos)
    files = ListingFiles(settings.store, identity_of(parts), settings.listing_max_age_s) if keeps else None
    return Listing(objects, template, settings.settle_s, settings.start_date, files, report)


def _objects(settings: Settings) -> SourceObjects:
    if settings.catalogue_url is not None:
        return CatalogueVideos(settings)
    if settings.video_list is not None:
        return VideoList(settings.video_list, open_store(settings.source) if settings.source is not None else None)
    store = open_store(settings.source_uri())
    objects = StoreObjects(store) if settings.inventory is None else Inventory(store, settings.inventory)
    return ChunkedVideos(objects, store) if settings.source_layout == "chunks" else objects
