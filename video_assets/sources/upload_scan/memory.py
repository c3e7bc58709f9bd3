"""What is remembered of a source between looks: what each place gave to each partition, and what was asked for.

100,000 partitions take some MB of Parquet, too much for a sensor's cursor. So it lies in the deployment's store, under
a name made of its content, and the cursor says which: whatever dies between the two leaves a cursor and the memory
that belongs to it.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from video_assets.errors import VideoAssetsError
from video_assets.sources.partition_scan import DIGEST_BYTES, GONE, PartitionScan
from video_assets.sources.upload_scan.scan import Look, Unfinished, key_bytes


class MemoryDamaged(VideoAssetsError):
    """A stored memory that cannot be read."""


@dataclass(slots=True)
class Asked:
    """What a partition's manifest has or, while `is_awaited`, was asked to have: a fingerprint, empty for nothing yet.

    `generation` counts the partition's changes. Where `is_sure` is not set, others may have made the partition, or it
    was asked for by a sensor whose memory is lost: its manifest decides. `since` is when it began to wait for a run
    (epoch seconds), None where it does not. `doubted`: a run saw uploads that no look has; the number of the sweep that
    was begun last by then. Only a later one can say that they are gone.
    """

    fingerprint: str = ""
    generation: int = 0
    is_sure: bool = False
    since: int | None = None
    is_awaited: bool = False
    doubted: int | None = None


@dataclass
class UploadMemory:
    """Places with their partitions' shares, and what was asked for, by partition key."""

    places: dict[str, dict[str, PartitionScan]] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    unfinished: Unfinished | None = None
    found: dict[str, PartitionScan] = field(default_factory=dict, init=False)
    is_changed: bool = False

    def __post_init__(self) -> None:
        for shares in self.places.values():
            for key, share in shares.items():
                self.found.setdefault(key, PartitionScan()).include(share)
        self._order = sorted(self.places, key=key_bytes)
        self._sorted = [key_bytes(place) for place in self._order]

    def apply(self, seen: Look, now: int, generation: int = 0, *, is_news: bool = True) -> None:
        """Takes what a look saw, and lets go what it did not see any more.

        Args:
            now: epoch seconds.
            generation: that of a partition which was never asked for.
            is_news: unset where this look was taken before. Runs may since have made what is newer than it.
        """
        if seen.is_empty:
            return
        first = bisect_left(self._sorted, key_bytes(seen.begin))
        for place in self._order[first : bisect_right(self._sorted, key_bytes(seen.end))]:
            if place not in seen.places:
                self._put(place, self._held(place, {}, seen), now, generation, is_news and place not in seen.settling)
        for place, shares in seen.places.items():
            self._put(place, self._held(place, shares, seen), now, generation, is_news and place not in seen.settling)

    def progress(self, key: str) -> float:
        """Which share of the places lies before a key."""
        return bisect_left(self._sorted, key_bytes(key)) / len(self._sorted) if self._sorted else 0.0

    def fingerprint(self, key: str) -> str:
        """What is there of a partition now."""
        return self.found[key].fingerprint if key in self.found else GONE

    def waiting(self) -> dict[str, int]:
        """The partitions that wait for a run, and since when."""
        return {key: asked.since for key, asked in self.asked.items() if asked.since is not None}

    def settle(self, key: str, asked: Asked) -> None:
        """Remembers what a partition's uploads are to be; it waits no more."""
        self.asked[key] = asked
        self.is_changed = True

    def note_made(self, key: str, fingerprint: str, run_key: str, generation: int, sweep: int = 0) -> None:
        """Takes what a run made a partition's manifest of.

        A run reads the source as it is by then, which may be other than what it was asked for, and be gone before the
        next look. While a run of ours is awaited, what others made is not the last word.

        Args:
            sweep: the number of the sweep that was begun last.
        """
        asked, ours = self.asked.get(key), _generation_of(run_key, key)
        if asked is None and fingerprint == GONE:
            return
        asked = asked or Asked(generation=generation)
        if asked.is_awaited and ours < asked.generation:
            return
        # A tick that died may have asked for more than this memory knows; its run keys are used up.
        made = Asked(fingerprint, max(asked.generation, ours), is_sure=True)
        if fingerprint != self.fingerprint(key):
            made.since = asked.since
            made.doubted = sweep if key not in self.found else None
        self.settle(key, made)

    def end_sweep(self, number: int, now: int, generation: int = 0) -> None:
        """A sweep that missed nothing has ended: what a run saw before it began, and it did not see, is gone."""
        for key, asked in self.asked.items():
            if asked.doubted is not None and asked.doubted < number:
                asked.doubted, self.is_changed = None, True
                if key not in self.found:
                    self._compare(key, now, generation)

    def expect(self, keys: Iterable[str], now: int, generation: int = 0) -> None:
        """Partitions that are known to have been there once: the manifest of each decides whether it needs a run."""
        for key in keys:
            if key not in self.asked:
                self.settle(key, Asked(generation=generation, since=now))

    def drop_before(self, date: str) -> None:
        """Forgets the partitions of days before this one: nobody may ask for them any more."""
        old = [key for key in self.asked if key < date]
        for key in old:
            del self.asked[key]
            self.found.pop(key, None)
            self.is_changed = True
        if old:
            for place, shares in list(self.places.items()):
                kept = {key: share for key, share in shares.items() if key >= date}
                if len(kept) < len(shares):
                    self.places[place] = kept

    def _held(self, place: str, shares: dict[str, PartitionScan], seen: Look) -> dict[str, PartitionScan]:
        """The shares, where an overwrite may be under way: as they were.

        An object that is overwritten is too young for a while; that is not its end.
        """
        settling = seen.settling.get(place, 0)
        if not settling:
            return shares
        before = self.places.get(place, {})
        held = {
            key: share
            for key, share in before.items()
            if (now := shares[key].videos if key in shares else 0) < share.videos <= now + settling
        }
        return {**shares, **held}

    def _put(self, place: str, shares: dict[str, PartitionScan], now: int, generation: int, is_news: bool) -> None:
        before = self.places.get(place, {})
        if before == shares:
            # A run may have made something else meanwhile. What it saw of an overwrite that settles still is left to
            # the look that finds it settled, or gone.
            for key in shares if is_news else ():
                self._compare(key, now, generation)
            return
        self.is_changed = True
        if shares:
            self.places[place] = shares
        else:
            self.places.pop(place, None)
        for key in before.keys() | shares.keys():
            found = self.found.setdefault(key, PartitionScan())
            found.exclude(before.get(key, PartitionScan()))
            found.include(shares.get(key, PartitionScan()))
            self._compare(key, now, generation)

    def _compare(self, key: str, now: int, generation: int) -> None:
        asked = self.asked.setdefault(key, Asked(generation=generation))
        if self.fingerprint(key) == GONE:
            self.found.pop(key, None)
            if not asked.fingerprint and not asked.is_sure and asked.generation <= generation:
                # It came and went before anyone was told.
                del self.asked[key]
                return
        is_as_asked = asked.is_sure and asked.fingerprint == self.fingerprint(key)
        if is_as_asked != (asked.since is None):
            asked.since = None if is_as_asked else now
            self.is_changed = True


_SCHEMA = {
    "place": "binary",
    "unfinished": "bool_",
    "partition": "string",
    "videos": "int64",
    "size_bytes": "int64",
    "digest": "binary",
    "asked": "string",
    "generation": "int64",
    "is_sure": "bool_",
    "since": "int64",
    "is_awaited": "bool_",
    "doubted": "int64",
}


def _generation_of(run_key: str, partition_key: str) -> int:
    """The generation of a run that this sensor asked for; -1 of another's."""
    name, _, rest = run_key.partition(":")
    generation, _, _ = rest.partition(":")
    return int(generation) if name == partition_key and generation.isdecimal() else -1


def dump_memory(memory: UploadMemory) -> bytes:
    """The memory as a Parquet file: a row for each place and partition, and one for a partition that is gone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(place, False, key, share) for place, shares in memory.places.items() for key, share in shares.items()]
    if begun := memory.unfinished:
        rows += [(begun.place, True, key, share) for key, share in begun.shares.items()]
    columns: dict[str, list[object]] = {
        "place": [key_bytes(place) for place, _, _, _ in rows],
        "unfinished": [unfinished for _, unfinished, _, _ in rows],
        "partition": [key for _, _, key, _ in rows],
        "videos": [share.videos for _, _, _, share in rows],
        "size_bytes": [share.size_bytes for _, _, _, share in rows],
        "digest": [share.digest.to_bytes(DIGEST_BYTES, "big") for _, _, _, share in rows],
    }
    for key in memory.asked.keys() - memory.found.keys():
        for name, value in zip(columns, (None, False, key, 0, 0, bytes(DIGEST_BYTES)), strict=True):
            columns[name].append(value)
    asked = [memory.asked.get(str(key)) or Asked() for key in columns["partition"]]
    columns |= {
        "asked": [one.fingerprint for one in asked],
        "generation": [one.generation for one in asked],
        "is_sure": [one.is_sure for one in asked],
        "since": [one.since for one in asked],
        "is_awaited": [one.is_awaited for one in asked],
        "doubted": [one.doubted for one in asked],
    }
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in _SCHEMA.items()])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def load_memory(data: bytes, unfinished: Unfinished | None) -> UploadMemory:
    """What `dump_memory` wrote. `unfinished` has what a cursor says of it, and gets its shares here.

    Raises:
        MemoryDamaged: it is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
        if "doubted" not in table.column_names:  # of before there was any doubt
            table = table.append_column("doubted", pa.nulls(len(table), pa.int64()))
        table = table.select(list(_SCHEMA))
        places: dict[str, dict[str, PartitionScan]] = {}
        asked: dict[str, Asked] = {}
        for place, is_begun, key, videos, size_bytes, digest, *rest in zip(
            *(column.to_pylist() for column in table.columns), strict=True
        ):
            if not is_begun or Asked(*rest) != Asked():
                asked[key] = Asked(*rest)
            share = PartitionScan(videos, size_bytes, int.from_bytes(digest, "big"))
            if is_begun and unfinished:
                unfinished.shares[key] = share
            elif place is not None:
                places.setdefault(place.decode("utf-8", "surrogateescape"), {})[key] = share
    except (pa.ArrowException, KeyError, ValueError, TypeError, AttributeError) as error:
        raise MemoryDamaged("memory of the upload sensor", f"cannot be read: {error}") from None
    return UploadMemory(places, asked, unfinished)


def memory_name(data: bytes) -> str:
    """The name that a memory is stored under: a hash of it."""
    return hashlib.sha256(data).hexdigest()[: 2 * DIGEST_BYTES]
