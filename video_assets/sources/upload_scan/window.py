"""The look-back: the last days are looked at again and again, where the template gives a day prefixes of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import date as Date

from video_assets.sources.listing import Listing
from video_assets.sources.upload_scan.layout import Stretch, UploadLayout
from video_assets.sources.upload_scan.scan import GRACE_S, Budget, Look, key_bytes, look
from video_assets.storage.object_store import ObjectUnreadable, StoreUnavailable

THREADS = 16
"""Requests at a time."""

STRETCHES = 256
"""As many are looked at in a step, or a share of STEPS if that is more."""

STEPS = 4
"""In how many steps the whole look-back is looked at, time permitting."""

PAGES = 2000

AFTER_ALL = "\U0010ffff"
"""Behind a prefix: sorts after what may follow it, and can be sent to a store."""


@dataclass
class Window:
    """What a step saw of the look-back, and where the next one goes on: after the stretch `after`, from `inside` on."""

    after: str
    inside: str
    looks: list[Look] = field(default_factory=list)
    looked_at: int = 0
    stretches: int = 0
    failures: list[str] = field(default_factory=list)


def look_back(
    listing: Callable[[], Listing], layout: UploadLayout, first: Date, last: Date, window: Window, seconds: float
) -> None:
    """Looks at the uploads of these days, as far as `seconds` reach; `window` takes what was seen.

    Raises:
        StoreUnavailable: it cannot even be found out what there is to look at.
    """
    deadline = time.monotonic() + seconds
    stretches = layout.day_stretches(listing().listed_store, first, last)
    found = sorted(stretches, key=lambda one: key_bytes(_order(one)))
    window.stretches = len(found)
    todo = _in_turn(found, window)
    pool = ThreadPoolExecutor(THREADS, "look-back")
    try:
        futures = [
            pool.submit(
                _look_at, listing, layout, one, Budget(max(deadline - time.monotonic(), 0), max(PAGES // len(todo), 1))
            )
            for one in todo
        ]
        wait(futures, timeout=max(deadline - time.monotonic(), 0) + GRACE_S)
        _gather(zip(todo, futures, strict=True), window)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _look_at(listing: Callable[[], Listing], layout: UploadLayout, stretch: Stretch, budget: Budget) -> Look | None:
    """None where its turn came too late."""
    return None if budget.is_spent else look(listing(), layout, stretch, budget)


def _in_turn(found: list[Stretch], window: Window) -> list[Stretch]:
    """The stretches of this step: those after the last one's first, the first of them from where it was cut."""
    after = key_bytes(window.after)
    rest = [one for one in found if key_bytes(_order(one)) > after]
    if rest and window.inside.startswith(rest[0].prefix) and key_bytes(window.inside) > key_bytes(rest[0].after):
        rest[0] = replace(rest[0], after=window.inside, last=rest[0].last or rest[0].prefix)
    todo = rest + [one for one in found if key_bytes(_order(one)) <= after]
    return todo[: max(STRETCHES, math.ceil(len(found) / STEPS))]


def _gather(looked: Iterable[tuple[Stretch, Future[Look | None]]], window: Window) -> None:
    is_in_order = True
    for stretch, future in looked:
        seen, has_failed = None, False
        if future.done():
            try:
                seen = future.result()
            except (StoreUnavailable, ObjectUnreadable) as error:
                window.failures.append(str(error))
                has_failed = True
        elif future.running():
            window.failures.append(f"{stretch.prefix or 'the source'} was not listed in time")
            has_failed = True
        if seen is not None:
            window.looked_at += 1
            window.looks.append(seen)
        # One folder that cannot be listed must not hold up the others: the next round comes to it again.
        is_in_order = is_in_order and (has_failed or _is_whole(seen, window))
        if is_in_order:
            window.after, window.inside = _order(stretch), ""


def _is_whole(seen: Look | None, window: Window) -> bool:
    """Whether a stretch was seen to its end; if not, `window.inside` is where the next step goes on."""
    if seen is None:
        return False
    if seen.is_cut and seen.last_key:
        window.inside = seen.last_key
    elif seen.is_cut and seen.unfinished:
        # One place is more than a step's work: it is the sweep's.
        window.inside = seen.unfinished.place + AFTER_ALL
    return not seen.is_cut


def _order(stretch: Stretch) -> str:
    """What stretches are sorted by; the empty text comes before all."""
    return stretch.prefix + "\0"
