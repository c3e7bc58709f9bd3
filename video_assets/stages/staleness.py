"""Which partitions of the chain are not what they would be if they were made now, and why.

Compared is what is stored with each table: what it was made of and how (SPEC S2, R3). No rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from video_assets.keys import Partition, content_id
from video_assets.settings import Settings
from video_assets.stages import (
    clips,
    embeddings,
    fleet_daily,
    fleet_windows,
    frames,
    manifest_rows,
    manifest_scan,
    vector_index,
)
from video_assets.table_store.provenance import Provenance, Recipe
from video_assets.table_store.table_store import TableStore
from video_assets.tables import (
    CHAIN,
    CLIPS,
    EMBEDDINGS,
    FLEET_DAILY,
    FLEET_WINDOWS,
    FRAMES,
    VECTOR_INDEX,
    VIDEO_MANIFEST,
)

RECIPES: Mapping[str, Callable[[Settings], Recipe]] = {
    VIDEO_MANIFEST.name: manifest_rows.recipe,
    CLIPS.name: clips.recipe,
    FRAMES.name: frames.recipe,
    EMBEDDINGS.name: embeddings.recipe,
    VECTOR_INDEX.name: vector_index.recipe,
    FLEET_DAILY.name: fleet_daily.recipe,
}
"""How each table is made by these settings and this version of the code."""

UNKNOWN = "what it was made of is not known"
NEVER_MADE = "was never made"


@dataclass(frozen=True, slots=True)
class Outdated:
    """A partition of one stage that is stale or missing. `reasons` are for people."""

    stage: str
    state: Literal["stale", "missing"]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One vehicle's day over all stages.

    Attributes:
        known: what each stage's table was made of; None where there is none, or it is not known.
        outdated: what is not up to date, in the order of the chain.
        uploads: the data version of the uploads, as far as they were looked at.
    """

    partition: Partition
    known: Mapping[str, Provenance | None]
    outdated: tuple[Outdated, ...]
    uploads: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same as long as nothing of what is compared has changed."""
        stored = [one.dump_without_seconds() if one else "" for one in self.known.values()]
        why = [text for one in self.outdated for text in (one.stage, one.state, *one.reasons)]
        return content_id("state", self.uploads or "", *stored, *why)[:16]


def recipes(settings: Settings) -> dict[str, Recipe]:
    """The recipe of every table as it is now; that of `fleet_windows` only where a fleet's batch API is asked."""
    found = {name: recipe(settings) for name, recipe in RECIPES.items()}
    return {**found, FLEET_WINDOWS.name: fleet_windows.recipe(settings)} if settings.has_fleet else found


def examine(
    partition: Partition, tables: TableStore, now: Mapping[str, Recipe], uploads: str | None = None
) -> PartitionState:
    """Compares every stage of a partition with the stage before it, and with how it would be made now.

    Args:
        now: see `recipes`.
        uploads: the data version of the partition's uploads; None where nobody has looked.
    """
    known = {table.name: tables.provenance(table, partition) for table in CHAIN}
    windows = tables.provenance(FLEET_WINDOWS, partition) if FLEET_WINDOWS.name in now else None
    outdated = []
    expected, source = None, ""
    has_source = uploads is not None or windows is not None
    for table in CHAIN:
        provenance = known[table.name]
        if provenance is not None:
            recipe = now[table.name]
            if table is VIDEO_MANIFEST:
                reasons = _manifest_reasons(provenance, recipe, uploads, windows)
            else:
                reasons = _reasons(provenance, recipe, source, expected)
            if reasons:
                outdated.append(Outdated(table.name, "stale", reasons))
            has_source = True
        elif tables.version(table, partition) is not None:
            outdated.append(Outdated(table.name, "stale", (UNKNOWN,)))
            has_source = True
        elif has_source:
            outdated.append(Outdated(table.name, "missing", (NEVER_MADE,)))
        expected, source = (provenance.data_version if provenance else None), table.name
    return PartitionState(partition, known, tuple(outdated), uploads)


def examine_day(
    day: Partition, versions: fleet_daily.Versions, tables: TableStore, now: Mapping[str, Recipe]
) -> Outdated | None:
    """What is not up to date of the fleet's day, whose tables have these data versions; None if nothing."""
    provenance = tables.provenance(FLEET_DAILY, day)
    if provenance is not None:
        reasons = _reasons(provenance, now[FLEET_DAILY.name], "a vehicle's day", fleet_daily.day_version(versions))
        return Outdated(FLEET_DAILY.name, "stale", reasons) if reasons else None
    if tables.version(FLEET_DAILY, day) is not None:
        return Outdated(FLEET_DAILY.name, "stale", (UNKNOWN,))
    return Outdated(FLEET_DAILY.name, "missing", (NEVER_MADE,)) if versions else None


def _manifest_reasons(
    stored: Provenance, now: Recipe, uploads: str | None, windows: Provenance | None
) -> tuple[str, ...]:
    """A manifest may be made of two things, and nobody may have looked at one of them."""
    made_of = manifest_scan.parts_of(stored.upstream_version)
    changed = uploads is not None and made_of.uploads != uploads
    reasons = ["the uploads changed since"] if changed else []
    if windows is not None and made_of.bags != windows.data_version:
        reasons.append(f"{FLEET_WINDOWS.name} changed since")
    return (*reasons, *_reasons(stored, now, "", None))


def _reasons(stored: Provenance, now: Recipe, source: str, expected: str | None) -> tuple[str, ...]:
    """`expected` is the data version that the source has now; None where it has none, and will be made again itself."""
    reasons = []
    if expected is not None and stored.upstream_version != expected:
        reasons.append(f"{source} changed since")
    was = stored.recipe
    if was.code_version != now.code_version:
        reasons.append(f"code version was {was.code_version or 'none'}, is {now.code_version}")
    for name in sorted({*was.parameters, *now.parameters}):
        before, after = was.parameters.get(name, "unset"), now.parameters.get(name, "unset")
        if before != after:
            reasons.append(f"{name} was {before}, is {after}")
    return tuple(reasons)
