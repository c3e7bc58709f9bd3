"""Checks every configured component, and says what is wrong and how to mend it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from video_assets.dagster_home import home_folder
from video_assets.errors import VideoAssetsError
from video_assets.folder_probe import require_writable
from video_assets.plural import counted
from video_assets.settings import Settings, environment, variable
from video_assets.sources.listing import BEFORE_FIRST_DAY, Listing, UnmatchedUpload
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.registry import open_store

SAMPLE = 200
"""How many objects of the source are looked at."""

LOW_DISK_BYTES = 5 * 1000**3

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `remedy` is empty where nothing is to be done."""

    component: str
    verdict: Verdict
    text: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check in turn; one that fails stops none of the others."""
    checks: dict[str, Callable[[Settings], Finding]] = {
        "packages": _packages,
        "dagster home": _dagster_home,
        "source": _source,
        "store": _store,
        "index": _index,
        "sampling": _sampling,
    }
    for component, check in checks.items():
        yield _safely(component, check, settings)
    for model in settings.embed_models:
        yield _safely(f"model {model}", lambda s, model=model: _model(model, s), settings)  # type: ignore[misc]


def _safely(component: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except VideoAssetsError as error:
        # `model resnet50: no model has this name` says the name once.
        item = "" if error.item.strip("'") in component else f"{error.item}: "
        return Finding(component, "failed", f"{item}{error.cause}", error.remedy)
    except Exception as error:
        return Finding(component, "failed", f"{type(error).__name__}: {error}", "This is a fault of video_assets.")


def _packages(settings: Settings) -> Finding:
    found = {}
    for name in ("dagster", "dagster-webserver"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return Finding("packages", "failed", f"{name} is not installed", "Run: pip install video-assets")
    if len(set(found.values())) > 1:
        text = ", ".join(f"{name} {number}" for name, number in found.items())
        return Finding("packages", "failed", f"{text} do not belong together", "Run: pip install -U video-assets")
    return Finding("packages", "ok", f"dagster {found['dagster']}, av {version('av')}, pyarrow {version('pyarrow')}")


def _dagster_home(settings: Settings) -> Finding:
    configured = environment().get("DAGSTER_HOME")
    home = home_folder(configured)
    require_writable(home)
    if not home.exists():
        return Finding("dagster home", "ok", f"{home}: not made yet; `video-assets up` makes it")
    if not (home / "dagster.yaml").is_file():
        remedy = "`video-assets up` writes ours: without it, cancelled runs keep their slots and telemetry is on."
        return Finding("dagster home", "warning", f"{home} has no dagster.yaml", remedy)
    text = str(home) if configured else f"{home}, as DAGSTER_HOME is not set; `dagster dev` needs it set"
    return Finding("dagster home", "ok", text)


def _source(settings: Settings) -> Finding:
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


def _store(settings: Settings) -> Finding:
    folder = _local_folder(settings.store)
    if folder is None:
        return _remote_store(settings)
    require_writable(folder)
    if not folder.exists():
        return _store_not_made(settings)
    # Opened for what only a store can refuse.
    open_store(settings.store)
    free = shutil.disk_usage(folder).free
    text = f"{settings.store} can be written and read, {free / 1000**3:.0f} GB free"
    if free < LOW_DISK_BYTES:
        return Finding("store", "warning", text, f"Free space, or set {variable('store')} to another disk.")
    return Finding("store", "ok", text)


def _store_not_made(settings: Settings) -> Finding:
    """A store that is missing is normal on the first day, and lost data after it."""
    try:
        points = sum(_points(settings).values())
    except VideoAssetsError:
        points = 0  # The index has a finding of its own.
    runs = home_folder(environment().get("DAGSTER_HOME")) / "history" / "runs.db"
    signs = [f"the index holds {points} points"] * (points > 0)
    signs += [f"{runs.parent.parent} has a history"] * runs.is_file()
    if not signs:
        return Finding("store", "ok", f"{settings.store}: nothing made yet; it is made by the first run")
    remedy = f"Mount its disk, or correct {variable('store')}. If it was deleted, run every partition again."
    verdict: Verdict = "failed" if points else "warning"
    return Finding("store", verdict, f"{settings.store} is not there, but {' and '.join(signs)}", remedy)


def _remote_store(settings: Settings) -> Finding:
    store = open_store(settings.store, create=True)
    key = f"doctor/{os.getpid()}"
    store.put(key, b"doctor")
    try:
        if store.get(key) != b"doctor":
            return Finding("store", "failed", f"{store.uri} does not give back what was put", "Look at its disk.")
    finally:
        store.delete(key)
    return Finding("store", "ok", f"{store.uri} can be written and read")


def _index(settings: Settings) -> Finding:
    folder = _local_folder(settings.index)
    if folder is not None:
        require_writable(folder)
    text = ", ".join(f"{name}: {count} points" for name, count in _points(settings).items()) or "empty so far"
    return Finding("index", "ok", f"{settings.index}: {text}")


def _points(settings: Settings) -> dict[str, int]:
    """How many points each collection of the index holds."""
    from video_assets.search.query import open_index

    with open_index(settings) as index:
        return {name: index.count(name) for name in index.collections()}


def _local_folder(place: str) -> Path | None:
    """The folder that a path or URI names; None for a bucket or server."""
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None if parts.scheme else Path(place)


def _sampling(settings: Settings) -> Finding:
    from video_assets.stages.frames import require_sampling

    require_sampling(settings)
    return Finding("sampling", "ok", settings.frames_sampling)


def _model(name: str, settings: Settings) -> Finding:
    import numpy as np

    from video_assets.embedding.embedder import open_embedder

    embedder = open_embedder(name, model_cache=settings.model_cache)
    vector = embedder.embed_images([np.full((64, 64, 3), 128, np.uint8)])[0]
    return Finding(f"model {name}", "ok", f"version {embedder.version}, {len(vector)} dimensions")
