"""`catalogue run` in processes of its own, on real videos: what is said to be there is there, kills included."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from video_assets.keys import data_key
from video_assets.table_store.table_store import Fold, fingerprint
from video_assets.tables import CLIPS, FRAMES, VIDEO_MANIFEST
from video_assets_tests.stages.catalogue_home import CatalogueHome
from video_assets_tests.video.make_video import make_video

pytestmark = pytest.mark.timeout(600)

WHOLE = {"clips": 1, "frames": 2, "embeddings": 2, "points": 2}
ALL, DOWNLOADED, NONE = (True, True, True), (True, False, False), (False, False, False)


@pytest.fixture
def home(tmp_path: Path, catalogue_url: str) -> Iterator[CatalogueHome]:
    found = CatalogueHome(tmp_path, catalogue_url)
    yield found
    found.close()


def until(
    holds: Callable[[], bool], *processes: subprocess.Popen[str], seconds: float = 120, pause_s: float = 0.02
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(pause_s)


def test_flags_are_set_where_the_output_is_and_failures_say_why(home: CatalogueHome) -> None:
    for number in range(3):
        home.add(f"good-{number}", day=f"2026-01-0{3 + number % 2}")
    home.add("no-video", video=b"no video" * 100)
    home.add("missing", video=None)
    home.add("elsewhere/../../secret", video=None)
    os.truncate(home.root / "videos/veh-1/good-0.mp4", 0)
    planned = home.call("run", "--dry-run")
    assert planned.stdout.splitlines()[-1] == "6 records would be claimed in the next batch."
    assert home.flags() == dict.fromkeys(home.flags(), NONE)
    told = home.call("run", "--max-workers", "2", "--verbose", "--checkpoint", "file")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "Nothing more is due: 2 records done, 4 failed."
    assert {code: flags for code, flags in home.flags().items() if flags != NONE} == {"good-1": ALL, "good-2": ALL}
    assert home.there() == {"good-1": WHOLE, "good-2": WHOLE}
    status = home.status()
    assert {name: count for name, count in status["states"].items() if count} == {"done": 2, "failed": 3, "given_up": 1}
    reasons = {failure["code"]: failure["message"] for failure in status["failures"]}
    assert reasons["missing"] == "is not there"
    assert reasons["good-0"] == "is empty"
    assert reasons["no-video"].startswith("cannot be opened as a video")
    assert reasons["elsewhere/../../secret"].endswith("is no key of a video")
    checkpoint = json.loads((home.root / "catalogue_checkpoint.json").read_text())
    assert (checkpoint["total_processed"], checkpoint["total_failed"]) == (6, 4)
    # Mended, and said so.
    home.add("other")
    (home.root / "videos/veh-1/good-0.mp4").write_bytes((home.root / "videos/veh-1/other.mp4").read_bytes())
    home.client.execute("UPDATE content SET updated_at = now() WHERE code = 'good-0'")
    assert home.call("run").stdout.splitlines()[-1] == "Nothing more is due: 2 records done, 0 failed."
    assert home.flags()["good-0"] == ALL
    assert home.count("c.is_embedded") == 4


def test_a_video_that_yields_no_frames_is_downloaded_and_no_more(home: CatalogueHome) -> None:
    home.add("cut-off")
    path = home.root / "videos/veh-1/cut-off.mp4"
    data = path.read_bytes()
    start = data.index(b"mdat") + 40
    path.write_bytes(data[:start] + bytes(len(data) - start) if data.index(b"moov") < start else data[:start])
    home.add("whole")
    assert home.call("run", "--max-workers", "1").returncode == 0
    flags = home.flags()
    assert flags["whole"] == ALL
    assert flags["cut-off"] in (DOWNLOADED, NONE)
    failed = [row for row in (*home.rows(CLIPS), *home.rows(FRAMES)) if row["status"] == "failed"]
    assert {Path(row["video_path"]).stem for row in failed} == {"cut-off"}


def test_a_record_that_takes_too_long_fails_alone_and_waits_for_its_next_attempt(home: CatalogueHome) -> None:
    home.add("slow", video=slow_video(home.root / "slow.mp4"))
    home.add("good")
    more = {"VIDEO_ASSETS_ITEM_TIMEOUT_S": "10", "VIDEO_ASSETS_FRAMES_SAMPLING": "fps=30"}
    told = home.call("run", "--max-workers", "1", more=more)
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "Nothing more is due: 1 record done, 1 failed.")
    assert home.flags() == {"good": ALL, "slow": DOWNLOADED}
    (failure,) = home.status()["failures"]
    assert (failure["code"], failure["stage"], failure["attempts"]) == ("slow", "timeout", 1)
    assert failure["message"] == "not done within the 10 s that its record may take in all"
    assert home.count("a.next_attempt_at BETWEEN now() + interval '3 min' AND now() + interval '5 min'") == 1
    # Others' publishes of the same partition leave it alone.
    home.add("other")
    assert home.call("run", more=more).stdout.splitlines()[-1] == "Nothing more is due: 1 record done, 0 failed."
    assert home.attempts() == {"good": 1, "other": 1, "slow": 1}
    assert home.flags() == {"good": ALL, "other": ALL, "slow": DOWNLOADED}


def test_a_table_made_otherwise_is_made_as_a_whole(home: CatalogueHome) -> None:
    home.add("first")
    assert home.call("run").returncode == 0
    before = {row["video_path"]: row["image_id"] for row in home.rows(FRAMES)}
    home.add("second")
    assert home.call("run", more={"VIDEO_ASSETS_FRAMES_QUALITY": "50"}).returncode == 0
    assert home.there() == {"first": WHOLE, "second": WHOLE}, "none is of the former frames"
    assert not {row["image_id"] for row in home.rows(FRAMES)} & {*before.values()}
    (partition,) = home.tables.partitions(FRAMES)
    known = home.tables.provenance(FRAMES, partition)
    assert known is not None
    assert known.recipe.parameters["quality"] == "50"
    assert known.upstream_version == fingerprint(CLIPS, home.tables.read(CLIPS, partition))


def test_bug_a_video_of_two_records_had_its_rows_twice(home: CatalogueHome) -> None:
    home.add("same")
    home.add("other", video=None)
    told = home.call("run", more={"VIDEO_ASSETS_CATALOGUE_VIDEO": "{platform}/same.mp4"})
    assert told.stdout.splitlines()[-1] == "Nothing more is due: 2 records done, 0 failed.", told.stderr
    assert home.there() == {"same": WHOLE}
    assert len(home.rows(VIDEO_MANIFEST)) == 1


def test_bug_videos_of_a_manifest_that_does_not_say_what_it_was_made_of_had_no_clips(home: CatalogueHome) -> None:
    """An earlier version wrote it, or something else than us did since."""
    home.add("first")
    assert home.call("run").returncode == 0
    tables = home.tables
    (partition,) = tables.partitions(VIDEO_MANIFEST)
    tables.store.delete(data_key(CLIPS.name, partition))
    base = tables.version(VIDEO_MANIFEST, partition)
    assert tables.commit(Fold(VIDEO_MANIFEST, partition, tables.read(VIDEO_MANIFEST, partition), base))
    home.add("second")
    assert home.call("run").returncode == 0
    assert home.there() == {"first": WHOLE, "second": WHOLE}


def test_bug_rows_of_a_store_that_lost_the_end_of_its_name_were_kept(home: CatalogueHome) -> None:
    home.add("first")
    old = home.root / "store-of-2025"
    assert home.call("run", more={"VIDEO_ASSETS_STORE": str(old)}).returncode == 0
    old.rename(home.root / "store")
    home.add("second")
    assert home.call("run").returncode == 0
    assert home.there() == {"first": WHOLE, "second": WHOLE}
    uris = [row["clip_uri"] for row in home.rows(CLIPS)] + [row["image_url"] for row in home.rows(FRAMES)]
    assert [uri for uri in uris if str(old) in uri] == []


def slow_video(path: Path) -> bytes:
    """Two minutes of large pictures: half a second's packets, again and again."""
    half = make_video(path.with_suffix(".half.mp4"), frames=15, size=(1920, 1080), gop=15)
    with av.open(str(half)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for turn in range(240):
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts += turn * 15 * packet.duration
                packet.dts += turn * 15 * packet.duration
                packet.stream = stream
                output.mux(packet)
    return path.read_bytes()


def test_sigterm_finishes_what_is_in_hand_and_gives_the_rest_back(home: CatalogueHome) -> None:
    for number in range(30):
        home.add(f"v-{number:02}")
    process = home.start("run", "--max-workers", "1", "--json")
    until(lambda: any((home.root / "store").rglob("*.attempt")), process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    counts = json.loads(output)
    assert counts["stopped"]
    assert counts["done"] >= 1
    assert counts["untried"] > 0
    assert counts["done"] + counts["untried"] == 30
    assert home.count("a.worker IS NOT NULL") == 0
    done = {code for code, flags in home.flags().items() if flags == ALL}
    assert home.there() == dict.fromkeys(done, WHOLE)
    assert not list((home.root / "store").rglob("*.attempt"))


def many(home: CatalogueHome, records: int, processes: int, *, batch: int, lease_s: int) -> None:
    """Several processes on one table, two of them killed in the middle, one record in a hundred no video at all."""
    chance = random.Random(records)
    poison = {f"r-{number:05}" for number in chance.sample(range(records), max(1, records // 100))}
    for number in range(records):
        code = f"r-{number:05}"
        place = {"vehicle": f"veh-{number % 5}", "day": f"2026-01-{1 + number // 5 % 4:02}"}
        home.add(code, video=b"no video" * 100 if code in poison else b"", **place)
    arguments, more = ("run", "--max-workers", "1", "--batch-size", str(batch)), {"CATALOGUE_LEASE_S": str(lease_s)}
    more = {f"VIDEO_ASSETS_{name}": value for name, value in more.items()}
    workers = [home.start(*arguments, more=more) for _ in range(processes)]
    # A third is worked off; two have an item under way, or are about to begin one.
    made = (home.root / "store/clips").rglob
    until(lambda: len(list(made("items/*.parquet"))) > records // 3, *workers, seconds=3000, pause_s=records / 5000)
    for victim in workers[:2]:
        victim.kill()
        victim.communicate()
    for worker in [home.start(*arguments, more=more), *workers[2:]]:
        _, errors = worker.communicate(timeout=3000)
        assert worker.returncode == 0, errors
    # What the dead had in hand is free once their leases end.
    until(lambda: home.count("a.leased_until >= now()") == 0)
    assert home.call("run", "--max-workers", "1").returncode == 0
    good = {f"r-{number:05}" for number in range(records)} - poison
    assert home.there() == dict.fromkeys(good, WHOLE), "each record's output is there, once"
    assert home.flags() == dict.fromkeys(good, ALL) | dict.fromkeys(poison, NONE)
    again = [code for code, attempts in home.attempts().items() if attempts > 1]
    assert len(again) <= 2, "at most one record for each that was killed"
    row = home.client.execute("SELECT total_processed, total_failed FROM extraction_checkpoints").fetchone()
    assert row == (records, len(poison))


def test_processes_share_a_table_and_kills_lose_nothing(home: CatalogueHome) -> None:
    many(home, 32, 4, batch=10, lease_s=3)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_processes_share_a_large_table_and_kills_lose_nothing(home: CatalogueHome) -> None:
    many(home, 5000, 4, batch=100, lease_s=20)
