"""The sweep: everything in turn, a step at a time, on from where the last step stopped."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from video_assets.sources.listing import Listing
from video_assets.sources.upload_scan.layout import Stretch, UploadLayout
from video_assets.sources.upload_scan.scan import (
    BEYOND,
    GRACE_S,
    Budget,
    Look,
    Unfinished,
    forget_passed,
    look,
    take_passed,
)
from video_assets.storage.object_store import ObjectInfo, ObjectUnreadable, StoreUnavailable


@dataclass(frozen=True, slots=True)
class SweepPosition:
    """Where a sweep goes on: after the top-level entry `after`, or within the one that the key `inside` lies in."""

    after: str = ""
    inside: str = ""


@dataclass
class Sweep:
    """What a step of a sweep saw. `position` is where the next one goes on; `is_done` where it came to the end."""

    position: SweepPosition
    looks: list[Look] = field(default_factory=list)
    unfinished: Unfinished | None = None
    is_done: bool = False
    failures: list[str] = field(default_factory=list)


def sweep_within(listing: Listing, layout: UploadLayout, budget: Budget, done: Sweep) -> Sweep:
    """`sweep`, in a thread: a request that hangs is not waited for, and what was seen before it counts.

    Raises:
        StoreUnavailable: the source as a whole cannot be listed; `done` says how far it came.
    """
    pool = ThreadPoolExecutor(1, "sweep")
    try:
        future = pool.submit(sweep, listing, layout, budget, done)
        try:
            future.result(max(budget.deadline - time.monotonic(), 0) + GRACE_S)
        except FutureTimeout:
            # The position first: what is seen meanwhile is then only seen twice.
            position = done.position
            where = position.inside or position.after or "its beginning"
            return Sweep(position, list(done.looks), failures=[*done.failures, f"no answer in time after {where}"])
        return done
    finally:
        pool.shutdown(wait=False)


def sweep(listing: Listing, layout: UploadLayout, budget: Budget, done: Sweep) -> None:
    """Looks at everything in turn, from `done.position` on; `done` grows as it goes.

    A top-level folder that cannot be listed is named among the failures, and the next one looked at.

    Raises:
        StoreUnavailable: the source as a whole cannot be listed; `done` says how far it came.
    """
    if layout.depth == 0:
        _sweep_flat(listing, layout, budget, done)
        return
    covered = done.position.after + BEYOND if done.position.after else ""
    if done.position.inside:
        root = done.position.inside.partition("/")[0] + "/"
        covered = done.position.inside
        if not _sweep_root(listing, layout, budget, done, root, covered):
            return
        covered = root + BEYOND
    budget.ask()
    for entry in listing.listed_store.list_level(start_after=done.position.after):
        if budget.is_spent:
            return
        if isinstance(entry, ObjectInfo):
            stray = Look(covered, entry.key)
            # It lies in no folder, so in no place.
            for _ in listing.uploads([entry]):
                pass
            take_passed(stray.passed, listing)
            done.looks.append(stray)
            done.position = SweepPosition(entry.key)
        elif not _sweep_root(listing, layout, budget, done, entry.prefix, covered):
            return
        covered = done.position.after + BEYOND
    done.looks.append(Look(covered, BEYOND))
    done.position, done.is_done = SweepPosition(), True


def _sweep_flat(listing: Listing, layout: UploadLayout, budget: Budget, done: Sweep) -> None:
    seen = look(listing, layout, Stretch("", done.position.inside), budget, done.unfinished)
    done.unfinished = seen.unfinished
    done.looks.append(seen)
    done.is_done = not seen.is_cut
    done.position = SweepPosition(inside=seen.last_key or done.position.inside) if seen.is_cut else SweepPosition()


def _sweep_root(listing: Listing, layout: UploadLayout, budget: Budget, done: Sweep, root: str, covered: str) -> bool:
    """Looks at one top-level folder, or what is left of it. False where it was cut."""
    inside = done.position.inside
    begun, done.unfinished = done.unfinished, None
    try:
        seen = look(listing, layout, Stretch(root, inside), budget, begun)
    except (StoreUnavailable, ObjectUnreadable) as error:
        forget_passed(listing)
        done.failures.append(str(error))
        done.position = SweepPosition(root)
        return True
    if not begun:
        seen.begin = covered
    done.looks.append(seen)
    if seen.is_cut:
        done.unfinished = seen.unfinished or (begun if not seen.last_key else None)
        place = done.unfinished.place if done.unfinished else ""
        done.position = SweepPosition(done.position.after, seen.last_key or place or inside)
        return False
    done.position = SweepPosition(root)
    return True
