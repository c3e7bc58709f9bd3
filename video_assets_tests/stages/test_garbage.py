"""Garbage: what no table names goes, and nothing else does, whatever runs meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from video_assets.stages.garbage import Count, collect_garbage
from video_assets.storage.local_store import LocalStore
from video_assets.storage.registry import open_store
from video_assets.table_store.items import ItemRecords
from video_assets.table_store.table_store import Fold
from video_assets.tables import CLIPS, EMBEDDINGS, FRAMES, ITEM
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.stages.garbage_home import DAY, ONLY_CLIPS, WITH_EMBEDDINGS, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.make(tmp_path, str(tmp_path / "store"))


def collect(home: Home, **options: Any) -> Counter[tuple[str, str, str]]:
    """What was taken, and what was kept: objects by table, kind and reason."""
    counts = collect_garbage(home.tables, home.store, **{"grace_h": 0.0, **options})
    return Counter({(c.table, c.kind, f"{'taken' if c.taken else 'kept'}: {c.reason}"): c.objects for c in counts})


REPLACED = Counter(
    {
        ("clips", "blob", "taken: replaced"): 1,
        ("clips", "record", "taken: replaced"): 1,
        ("frames", "blob", "taken: replaced"): 1,
        ("frames", "record", "taken: replaced"): 1,
    }
)


def test_what_an_overwritten_upload_made_is_taken_and_nothing_else(home: Home) -> None:
    home.put("front", 0)
    home.put("rear", 1)
    home.run()
    before = home.objects()
    assert collect(home) == Counter()
    home.put("front", 2)
    home.run()
    now = home.objects()
    assert collect(home, dry_run=True) == REPLACED
    assert home.objects() == now
    assert collect(home) == REPLACED
    assert len(now - home.objects()) == 4
    assert now - home.objects() < before
    assert home.missing() == []
    assert collect(home) == Counter()
    home.put("front", 0)
    assert [fold.made for fold in home.run().values()] == [1, 1, 1], "what is taken is made again"
    assert collect(home) == REPLACED
    assert home.objects() == before


def test_what_is_young_or_of_a_run_under_way_stays(home: Home) -> None:
    home.put("front", 0)
    home.run(ONLY_CLIPS)
    home.put("front", 1)
    home.run(ONLY_CLIPS)
    now = home.objects()
    assert collect(home, grace_h=1 / 60) == Counter({("clips", kind, "kept: young"): 1 for kind in ("blob", "record")})
    with home.tables.writer(CLIPS, DAY):
        assert collect(home) == Counter({("clips", kind, "kept: in use"): 1 for kind in ("blob", "record")})
    assert home.objects() == now


def test_a_source_is_never_touched(home: Home) -> None:
    home.put("front", 0)
    home.run(ONLY_CLIPS, clips_mode="reference")
    (clip,) = home.tables.read(CLIPS, DAY).to_pylist()
    assert clip["clip_uri"].startswith((home.root / "uploads").as_uri())
    home.put("rear", 0)
    home.run(ONLY_CLIPS)
    before = sorted(home.root.glob("uploads/**/*"))
    collect(home)
    home.run(ONLY_CLIPS, clips_mode="reference")
    collect(home)
    assert sorted(home.root.glob("uploads/**/*")) == before
    assert home.missing() == []


def test_what_is_not_known_stays_and_is_counted(home: Home) -> None:
    home.put("front", 0)
    home.run(ONLY_CLIPS)
    strange = {
        "clips/notes.txt",
        f"clips/{DAY.path}/blobs/mine.mp4",
        f"clips/{DAY.path}/items/{'0' * 32}.json",
        f"clips/date=2026-02-30/vehicle=veh-7/blobs/{'0' * 32}.mp4",
        f"other/{DAY.path}/blobs/{'0' * 32}.mp4",
        f"video_manifest/{DAY.path}/blobs/{'0' * 32}.mp4",
        "readme",
    }
    for key in strange:
        home.store.put(key, b"x")
    assert collect(home) == Counter({("", "object", "kept: unknown"): len(strange)})
    assert strange < home.objects()


def test_a_partition_without_a_table_that_says_what_it_names_keeps_everything(home: Home) -> None:
    home.put("front", 0)
    folds = home.run(ONLY_CLIPS)
    data = f"clips/{DAY.path}/data.parquet"
    whole = home.store.get(data)
    kept = {kind: Counter({("clips", k, f"kept: {kind} table"): 1 for k in ("blob", "record")}) for kind in _KINDS}
    home.store.delete(data)
    assert collect(home) == kept["no committed"]
    home.store.put(data, b"damaged")
    assert collect(home) == kept["unreadable"]
    home.store.put(data, whole)
    old = folds["clips"].rows.set_column(
        CLIPS.schema.get_field_index(ITEM.name), CLIPS.schema.field(ITEM.name), pa.array([None], pa.string())
    )
    home.tables.commit(Fold(CLIPS, DAY, old, home.tables.version(CLIPS, DAY)))
    assert collect(home) == kept["unreadable"]


_KINDS = ("no committed", "unreadable")


def test_markers_and_blobs_that_dead_runs_left(home: Home) -> None:
    home.put("front", 0)
    home.run(frames_packing="files")
    (item,) = set(home.tables.read(FRAMES, DAY)[ITEM.name].to_pylist())
    ItemRecords(home.store, CLIPS, DAY).begin("0" * 32, 2)
    ItemRecords(home.store, FRAMES, DAY).begin(item, 1)
    home.store.put(f"frames/{DAY.path}/blobs/{item}/{item}_000099.jpg", b"half")
    home.store.put(f"frames/{DAY.path}/blobs/{'1' * 32}.tar", b"half")
    (home.root / "store" / ".tmp" / ("a" * 32)).write_bytes(b"half")
    assert collect(home) == Counter(
        {
            ("clips", "marker", "taken: replaced"): 1,
            ("frames", "blob", "taken: leftover"): 1,
            ("frames", "blob", "taken: replaced"): 1,
            ("", "temporary", "taken: dead writer"): 1,
        }
    )
    assert ItemRecords(home.store, FRAMES, DAY).load([item])[1] == {}, "a marker of a named item is its next run's"
    assert home.missing() == []


def test_images_that_embeddings_name_stay_until_they_are_embedded_again(home: Home) -> None:
    home.put("front", 0)
    home.run(WITH_EMBEDDINGS)
    home.run(frames_sampling="fps=2")
    assert set(collect(home)) == set()
    images = home.tables.read(EMBEDDINGS, DAY)["image_url"].to_pylist()
    assert {home.store.key_of(uri) for uri in images} < home.objects()
    home.run(WITH_EMBEDDINGS, frames_sampling="fps=2")
    assert collect(home) == Counter(
        {
            ("frames", "blob", "taken: replaced"): 1,
            ("frames", "record", "taken: replaced"): 1,
            ("embeddings", "record", "taken: replaced"): 1,
        }
    )


def test_a_home_that_was_moved_loses_nothing(home: Home) -> None:
    home.put("front", 0)
    home.run(ONLY_CLIPS)
    moved = Home(home.root, str(home.root / "elsewhere"), home.variants)
    (home.root / "store").rename(home.root / "elsewhere")
    before = moved.objects()
    assert collect(moved) == Counter()
    assert moved.objects() == before


class Meddler(LocalStore):
    """A store in which something happens right after the first look at a record."""

    def __init__(self, root: Path, key: str) -> None:
        super().__init__(root)
        self._key = key

    def head(self, key: str) -> Any:
        if key == self._key:
            self._key = ""
            self.put(key, self.get(key))
        return super().head(key)


def test_what_is_published_again_meanwhile_stays(home: Home) -> None:
    home.put("front", 0)
    home.run(ONLY_CLIPS)
    (item,) = home.tables.read(CLIPS, DAY)[ITEM.name].to_pylist()
    home.put("front", 1)
    home.run(ONLY_CLIPS)
    record = f"clips/{DAY.path}/items/{item}.parquet"
    collect_garbage(home.tables, Meddler(home.root / "store", record), grace_h=0)
    assert record in home.objects()


def test_a_table_whose_records_went_between_fold_and_commit_is_made_again(home: Home) -> None:
    from video_assets_tests.stages import garbage_home

    home.put("front", 0)
    home.run(ONLY_CLIPS)
    home.put("front", 1)
    home.run(ONLY_CLIPS)
    home.put("front", 0)
    rounds = iter([True, False])

    class Tables(type(home.tables)):  # type: ignore[misc]
        def commit(self, fold: Fold) -> bool:
            if fold.table is CLIPS and next(rounds):
                collect(home)
            return bool(super().commit(fold))

    tables = Tables(open_store(home.store_uri))
    parts = {"tables": tables, "settings": home.settings(), "report": lambda line: None}
    tables.commit(garbage_home.build_manifest_fold(tables=tables, settings=home.settings()))
    stage = garbage_home.STAGES["clips"][1]
    read = lambda: tables.read(garbage_home.VIDEO_MANIFEST, DAY)  # noqa: E731
    fold = garbage_home._committed(tables, lambda: stage(DAY, read, **parts))
    assert fold.made == 1, "the record it had adopted was gone: the second attempt made it"
    assert home.missing() == []


ROUNDS = [pytest.param(4), pytest.param(60, marks=pytest.mark.slow)]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("kind", ["file", "s3", "oss"])
def test_collections_race_with_overwrites_and_runs(
    kind: str, rounds: int, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs at a time of one partition, whose uploads change and change back, and a collection after the other with
    no grace at all: no table ever names what is not there, and at rest there is only what tables name.
    """
    if kind == "file":
        _race(Home.make(tmp_path, str(tmp_path / "store")), rounds)
    elif kind == "s3":
        _race(Home.make(tmp_path, f"{request.getfixturevalue('s3_root')}/home"), max(2, rounds // 3))
    else:
        with oss_environment(monkeypatch, ("home",)) as server:
            _race(Home.make(tmp_path, f"oss://{server.endpoint}/home/store"), max(2, rounds // 3))


def _race(home: Home, rounds: int) -> None:
    for camera in ("front", "rear", "left"):
        home.put(camera, 0)
    home.run()
    over = threading.Event()
    errors: list[BaseException] = []
    taken: list[Count] = []
    missing: list[str] = []

    def runs(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(rounds):
            home.put(chance.choice(("front", "rear", "left")), chance.randrange(3))
            home.run()

    def collections() -> None:
        while not over.is_set():
            taken.extend(c for c in collect_garbage(home.tables, home.store, grace_h=0) if c.taken)
            missing.extend(home.missing())
            time.sleep(0.01)

    def guarded(work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            errors.append(error)

    runners = [threading.Thread(target=guarded, args=(runs, seed)) for seed in range(2)]
    collector = threading.Thread(target=guarded, args=(collections,))
    for thread in (*runners, collector):
        thread.start()
    for thread in runners:
        thread.join()
    over.set()
    collector.join()
    assert errors == []
    assert missing == []
    assert taken, "nothing was collected while runs ran"
    folds = home.run()
    collect_garbage(home.tables, home.store, grace_h=0)
    assert home.missing() == []
    assert folds["clips"].counts == {"ok": 3, "failed": 0, "filtered": 0}
    named = {f"{table}/{DAY.path}/data.parquet" for table in ("video_manifest", "clips", "frames")}
    for table, column in ((CLIPS, "clip_uri"), (FRAMES, "image_url")):
        for row in home.tables.read(table, DAY).to_pylist():
            named |= {home.store.key_of(row[column]), f"{table.name}/{DAY.path}/items/{row['item_id']}.parquet"}
    assert home.objects() == named
