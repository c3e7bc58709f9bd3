"""Bounded looks: what they say is whole, what they cannot say they do not, and nothing is lost where they are cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from video_assets.path_template import PathTemplate
from video_assets.sources.listing import Listing
from video_assets.sources.partition_scan import GONE, scan_partitions
from video_assets.sources.source_objects import StoreObjects
from video_assets.sources.upload_scan import scan as upload_scan
from video_assets.sources.upload_scan import sweep as upload_sweep
from video_assets.sources.upload_scan import window as upload_window
from video_assets.sources.upload_scan.layout import UploadLayout
from video_assets.sources.upload_scan.memory import Asked, MemoryDamaged, UploadMemory, dump_memory, load_memory
from video_assets.sources.upload_scan.scan import Budget, whole_look
from video_assets.sources.upload_scan.sweep import Sweep, SweepPosition, sweep, sweep_within
from video_assets.sources.upload_scan.window import Window, look_back
from video_assets.storage.object_store import CommonPrefix, ObjectInfo, StoreUnavailable
from video_assets.storage.registry import open_store
from video_assets_tests.sources.test_listing import TEMPLATE, put

UTC = ZoneInfo("UTC")
FLAT = "{camera}_{vehicle}_{start:%Y%m%d%H%M%S}{ext}"
FIRST_DAY = date(2026, 1, 1)
LONG = 60.0


def listing(root: Path, template: str = TEMPLATE) -> Listing:
    return Listing(StoreObjects(open_store(str(root))), PathTemplate(template, (".mp4",), UTC, UTC), 60, FIRST_DAY)


def fingerprints(memory: UploadMemory) -> dict[str, str]:
    return {key: scan.fingerprint for key, scan in memory.found.items()}


def everything(root: Path, template: str = TEMPLATE) -> dict[str, str]:
    scans = scan_partitions(listing(root, template).everything())
    return {partition.key: scan.fingerprint for partition, scan in scans.items()}


def step(source: Listing, memory: UploadMemory, position: SweepPosition, pages: int) -> Sweep:
    """One step of a sweep, its looks applied; the memory is written and read again, as between ticks."""
    done = Sweep(position, unfinished=memory.unfinished)
    sweep(source, UploadLayout(source.template), Budget(LONG, pages), done)
    for seen in done.looks:
        memory.apply(seen, now=1)
    memory.unfinished = done.unfinished
    return done


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_scan, "PAGE_KEYS", 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("template", [TEMPLATE, FLAT, "{vehicle}/{camera}_{start:%Y%m%d%H%M%S}{ext}"])
def test_a_sweep_of_small_steps_sees_what_a_listing_sees(tmp_path: Path, template: str, seed: int) -> None:
    chance = random.Random(seed)
    made = PathTemplate(template, (".mp4",), UTC, UTC)
    for _ in range(30):
        start = chance.choice(("2026-01-03", "2026-01-04", "2026-02-01"))
        text = made.template.replace("{vehicle}", f"veh-{chance.randrange(3)}").replace("{ext}", ".mp4")
        text = text.replace("{date:%Y-%m-%d}", start).replace("{camera}", chance.choice(("front", "rear")))
        text = text.replace("{start:%H%M%S}", f"08{chance.randrange(60):02}00")
        put(tmp_path, text.replace("{start:%Y%m%d%H%M%S}", f"{start.replace('-', '')}08{chance.randrange(60):02}00"))
    for key in ("a.mp4", "b.mp4", "stray.mp4", "veh-1/stray.mp4"):
        put(tmp_path, key)
    source, memory, position, steps, unmatched = listing(tmp_path, template), UploadMemory(), SweepPosition(), 0, 0
    while True:
        done = step(source.again(), memory, position, pages=3)
        memory = load_memory(dump_memory(memory), memory.unfinished and replace(memory.unfinished, shares={}))
        unmatched += sum(seen.passed.unmatched.videos for seen in done.looks)
        position, steps = done.position, steps + 1
        assert steps < 100
        if done.is_done:
            break
    assert steps > 3
    assert fingerprints(memory) == everything(tmp_path, template)
    everyone = listing(tmp_path, template)
    list(everyone.everything())
    assert unmatched == len(everyone.unmatched)


def test_a_sweep_notices_what_is_gone_and_asks_for_it_once(tmp_path: Path) -> None:
    for vehicle in ("veh-1", "veh-2", "veh-3"):
        put(tmp_path, f"{vehicle}/2026-01-03/front/083000.mp4")
    memory = UploadMemory()
    step(listing(tmp_path), memory, SweepPosition(), 100)
    for key in list(memory.asked):
        memory.settle(key, Asked(memory.fingerprint(key), 1, is_sure=True))
    (tmp_path / "veh-2/2026-01-03/front/083000.mp4").unlink()
    memory = load_memory(dump_memory(memory), None)
    step(listing(tmp_path), memory, SweepPosition(), 100)
    assert list(memory.waiting()) == ["2026-01-03|veh-2"]
    assert memory.fingerprint("2026-01-03|veh-2") == GONE
    memory.settle("2026-01-03|veh-2", Asked(GONE, 2, is_sure=True))
    memory = load_memory(dump_memory(memory), None)
    step(listing(tmp_path), memory, SweepPosition(), 100)
    assert not memory.waiting()
    assert memory.asked["2026-01-03|veh-2"].generation == 2


class BrokenStore:
    """A store whose listing below one prefix breaks off after its first key."""

    def __init__(self, root: Path, prefix: str) -> None:
        self._store, self._prefix = open_store(str(root)), prefix

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        for n, info in enumerate(self._store.list(prefix, start_after=start_after)):
            if n and prefix.startswith(self._prefix):
                raise StoreUnavailable(prefix, "may not be listed")
            yield info


def test_what_cannot_be_listed_is_not_taken_for_gone_and_hides_nothing_else(tmp_path: Path) -> None:
    for vehicle in ("veh-1", "veh-2", "veh-3"):
        for minute in range(3):
            put(tmp_path, f"{vehicle}/2026-01-03/front/08{minute:02}00.mp4")
    memory = UploadMemory()
    step(listing(tmp_path), memory, SweepPosition(), 100)
    before = fingerprints(memory)
    put(tmp_path, "veh-3/2026-01-03/front/090000.mp4")
    broken = listing(tmp_path)
    broken.objects = StoreObjects(BrokenStore(tmp_path, "veh-2/"))
    done = step(broken, memory, SweepPosition(), 100)
    after = fingerprints(memory)
    assert done.is_done
    assert done.failures == ["veh-2/: may not be listed"]
    assert {key for key in after if after[key] != before[key]} == {"2026-01-03|veh-3"}


class HangingStore(BrokenStore):
    """A store that does not answer below one prefix, until it is told to."""

    def __init__(self, root: Path, prefix: str) -> None:
        import threading

        super().__init__(root, prefix)
        self.answers = threading.Event()

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        if prefix.startswith(self._prefix):
            self.answers.wait(30)
        return self._store.list(prefix, start_after=start_after)

    def list_level(
        self, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        return self._store.list_level(prefix, delimiter=delimiter, start_after=start_after)


def test_a_request_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (upload_sweep, upload_window):
        monkeypatch.setattr(module, "GRACE_S", 0.2)
    for vehicle in ("veh-1", "veh-2", "veh-3"):
        put(tmp_path, f"{vehicle}/2026-01-03/front/083000.mp4")
    source = listing(tmp_path)
    hanging = HangingStore(tmp_path, "veh-2/")
    source.objects = StoreObjects(hanging)
    layout = UploadLayout(source.template)
    done = sweep_within(source, layout, Budget(0.5, 100), Sweep(SweepPosition()))
    assert [place for seen in done.looks for place in seen.places] == ["veh-1/2026-01-03/"]
    assert done.failures == ["no answer in time after veh-1/"]
    window = Window("", "")
    look_back(source.again, layout, date(2026, 1, 3), date(2026, 1, 3), window, 1.0)
    assert sorted(place for seen in window.looks for place in seen.places) == ["veh-1/2026-01-03/", "veh-3/2026-01-03/"]
    assert window.failures == ["veh-2/ was not listed in time"]
    hanging.answers.set()


def test_a_look_back_of_small_steps_sees_its_days_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_window, "STRETCHES", 2)
    for vehicle in range(9):
        for day in range(1, 8):
            put(tmp_path, f"veh-{vehicle}/2026-01-{day:02}/front/083000.mp4")
    source, memory, window = listing(tmp_path), UploadMemory(), Window("", "")
    for _ in range(3):
        window = Window(window.after, window.inside)
        look_back(source.again, UploadLayout(source.template), date(2026, 1, 3), date(2026, 1, 5), window, LONG)
        assert (window.looked_at, window.stretches) == (3, 9)
        for seen in window.looks:
            memory.apply(seen, now=1)
    days = everything(tmp_path)
    assert fingerprints(memory) == {key: days[key] for key in days if "2026-01-03" <= key < "2026-01-06"}


def test_an_overwrite_under_way_is_no_end_and_a_new_upload_holds_nothing_up(tmp_path: Path) -> None:
    put(tmp_path, "veh-1/2026-01-03/front/083000.mp4")
    memory = UploadMemory()
    step(listing(tmp_path), memory, SweepPosition(), 100)
    before = fingerprints(memory)
    put(tmp_path, "veh-1/2026-01-03/front/083000.mp4", b"other", age_s=1)
    step(listing(tmp_path), memory, SweepPosition(), 100)
    assert fingerprints(memory) == before, "it is neither the old one nor gone"
    put(tmp_path, "veh-1/2026-01-03/front/083000.mp4", b"other")
    put(tmp_path, "veh-1/2026-01-03/front/084000.mp4", age_s=1)
    step(listing(tmp_path), memory, SweepPosition(), 100)
    assert memory.found["2026-01-03|veh-1"].videos == 1
    assert fingerprints(memory) != before


def test_a_source_that_is_read_as_a_whole_is_one_look(tmp_path: Path) -> None:
    put(tmp_path, "veh-1/2026-01-03/front/083000.mp4")
    gone = put(tmp_path, "veh-2/2026-01-03/front/083000.mp4")
    memory = UploadMemory()
    memory.apply(whole_look(scan_partitions(listing(tmp_path).everything())), now=1)
    assert fingerprints(memory) == everything(tmp_path)
    memory = load_memory(dump_memory(memory), None)
    gone.unlink()
    memory.apply(whole_look(scan_partitions(listing(tmp_path).everything())), now=1)
    assert list(memory.found) == ["2026-01-03|veh-1"]


def test_days_before_the_first_are_forgotten(tmp_path: Path) -> None:
    put(tmp_path, "veh-1/2026-01-03/front/083000.mp4")
    put(tmp_path, "veh-1/2026-02-03/front/083000.mp4")
    memory = UploadMemory()
    step(listing(tmp_path), memory, SweepPosition(), 100)
    memory.drop_before("2026-02-01")
    assert list(memory.asked) == list(memory.found) == ["2026-02-03|veh-1"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100])
def test_a_memory_that_is_damaged_is_known_for_it(data: bytes) -> None:
    with pytest.raises(MemoryDamaged):
        load_memory(data, None)
