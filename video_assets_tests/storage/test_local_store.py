"""What only a store on a disk has: links, strange names, other people's changes, its own hidden folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from video_assets.storage import local_files, local_listing, local_publish, local_store, local_temporary
from video_assets.storage.local_store import LocalStore
from video_assets.storage.object_keys import printable_key
from video_assets.storage.object_store import (
    CommonPrefix,
    InvalidKey,
    ObjectChanged,
    ObjectNotFound,
    ObjectUnreadable,
    StoreUnavailable,
)
from video_assets_tests.storage import store_processes
from video_assets_tests.storage.store_processes import hear, kill, running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


def _keys(store: LocalStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def _temporaries(root: Path) -> list[Path]:
    return [path for path in (root / ".tmp").iterdir() if path.is_file()]


# Opening


def test_reading_creates_nothing(store: LocalStore, root: Path) -> None:
    (root / "a.mp4").write_bytes(b"bytes")
    root.chmod(0o555)
    info = store.head("a.mp4")
    assert list(store.list()) == list(store.list_level()) == [info]
    assert store.get("a.mp4", etag=info.etag) == store.open("a.mp4").read() == b"bytes"
    assert store.sweep() == 0
    assert [path.name for path in root.iterdir()] == ["a.mp4"]


def test_a_root_that_goes_away_is_not_an_empty_store(store: LocalStore, root: Path) -> None:
    root.rmdir()
    for read in (
        lambda: list(store.list()),
        lambda: list(store.list("a/")),
        lambda: list(store.list_level()),
        lambda: store.head("a"),
        lambda: store.get("a"),
        lambda: store.sweep(),
        lambda: store.put("a", b""),
        lambda: store.multipart("a"),
        lambda: store.delete("a/b") or store.head("a/b"),
        lambda: store.lock("a", timeout_s=0).__enter__(),
    ):
        with pytest.raises(StoreUnavailable, match="mount its disk"):
            read()
    assert not root.exists()


def test_a_root_replaced_during_a_listing_fails_the_listing(store: LocalStore, root: Path) -> None:
    for name in ("a", "b"):
        store.put(name, b"")
    listing = store.list()
    next(listing)
    root.rename(root.with_name("unmounted"))
    root.mkdir()
    with pytest.raises(StoreUnavailable, match="during a listing"):
        list(listing)


def test_a_missing_root_is_made_on_request_only(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    with pytest.raises(StoreUnavailable, match="Make the folder"):
        LocalStore(root)
    assert _keys(LocalStore(root, create=True)) == []
    assert list(root.iterdir()) == []


def test_a_root_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for create in (False, True):
        with pytest.raises(StoreUnavailable, match="is a file, not a folder"):
            LocalStore(tmp_path / "file", create=create)


# Names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.mp4", "caf\\xe9.mp4"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"line\nbreak\x1b[31m", "line\\nbreak\\x1b[31m"),
        (b"back\\slash", "back\\\\slash"),
        ("zero\u200bwidth\u202e".encode(), "zero\\u200bwidth\\u202e"),
        (b"-rf", "-rf"),
        (b" ", " "),
        (b"...", "..."),
        (b"~", "~"),
    ],
)
def test_a_strange_name_in_a_source_can_be_listed_read_and_shown(
    store: LocalStore, root: Path, name: bytes, shown: str
) -> None:
    folder = os.fsencode(root) + b"/dir\xff"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"bytes")
    (info,) = store.list()
    assert info.key.encode("utf-8", "surrogateescape") == b"dir\xff/" + name
    assert printable_key(info.key) == f"dir\\xff/{shown}"
    assert store.get(info.key, etag=info.etag) == b"bytes"
    assert store.open(info.key).read() == b"bytes"
    assert store.key_of(store.uri_of(info.key)) == info.key
    assert store.uri_of(info.key).isascii()
    path = store.local_path(info.key)
    assert path is not None
    assert path.read_bytes() == b"bytes"
    assert list(store.list(info.key[:4])) == [info]
    assert list(store.list(start_after=info.key)) == []
    (level,) = store.list_level()
    assert isinstance(level, CommonPrefix)
    assert list(store.list_level(level.prefix)) == [info]
    store.copy(info.key, "clean")
    assert store.get("clean") == b"bytes"


@pytest.mark.parametrize("key", ["a b/ü%?#.mp4", "~x", "a:b;c=d&e@f", "[1]!$'()*+,", "100%25", "a\\b"])
def test_a_uri_is_readable_and_as_good_as_that_of_pathlib(store: LocalStore, root: Path, key: str) -> None:
    for uri in (store.uri_of(key), (root / key).as_uri()):
        assert store.key_of(uri) == key
        assert Path(unquote(urlsplit(uri).path)) == root / key
    assert store.uri_of("date=2026-01-03/a.mp4") == f"{store.uri}/date=2026-01-03/a.mp4"


def test_bytes_sort_as_bytes(store: LocalStore, root: Path) -> None:
    names = [b"\xff", b"\xc3\xa9", b"a", b"\x80", b"\xf0\x9f\x98\x80", b"z"]
    for name in names:
        os.close(os.open(os.fsencode(root) + b"/" + name, os.O_CREAT))
    assert [key.encode("utf-8", "surrogateescape") for key in _keys(store)] == sorted(names)


def test_an_object_and_a_folder_cannot_share_a_name(store: LocalStore) -> None:
    store.put("a", b"object")
    store.put("b/c", b"object")
    for if_absent in (False, True):
        with pytest.raises(InvalidKey, match="needs the folder 'a'"):
            store.put("a/b", b"", if_absent=if_absent)
        with pytest.raises(InvalidKey, match="is a folder"):
            store.put("b", b"", if_absent=if_absent)
    assert _keys(store) == ["a", "b/c"]
    assert store.sweep() == 0


# Listing


def test_links_are_followed_and_loops_end(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "video.mp4").write_bytes(b"bytes")
    (root / "real").mkdir()
    (root / "real" / "a").write_bytes(b"a")
    (root / "folder").symlink_to(outside)
    (root / "file.mp4").symlink_to(outside / "sub" / "video.mp4")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    (root / "itself").symlink_to("itself")
    (root / "real" / "up").symlink_to("..")
    (outside / "sub" / "back").symlink_to(root)
    assert _keys(store) == ["file.mp4", "folder/sub/video.mp4", "real/a"]
    assert _keys(store, "folder/sub/") == ["folder/sub/video.mp4"]
    assert _keys(store, "real/up/") == []
    assert [entry for entry in store.list_level() if isinstance(entry, CommonPrefix)] == [
        CommonPrefix("folder/"),
        CommonPrefix("real/"),
    ]
    assert store.get("folder/sub/video.mp4") == b"bytes"
    for key in ("dangling", "itself", "itself/a", "real/up"):
        with pytest.raises(ObjectNotFound):
            store.head(key)


def test_what_is_no_file_is_no_object(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # the path of a socket is short
    os.mkfifo(root / "pipe")
    (root / "empty" / "deeper").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        assert list(store.list()) == list(store.list_level()) == []
        for key in ("pipe", "socket", "empty"):
            for read in (store.head, store.get, store.open):
                with pytest.raises(ObjectNotFound):
                    read(key)


def test_the_hidden_folder_is_hidden_at_the_root_only(store: LocalStore, root: Path) -> None:
    (root / ".tmp").mkdir()
    (root / ".tmp" / "a").touch()
    (root / "b" / ".tmp").mkdir(parents=True)
    (root / "b" / ".tmp" / "c").touch()
    (root / ".tmpx").touch()
    assert _keys(store) == [".tmpx", "b/.tmp/c"]
    assert _keys(store, ".tmp/") == []
    assert [entry for entry in store.list_level(".tmp") if isinstance(entry, CommonPrefix)] == []
    for key in (".tmp/a", ".tmp/locks/x"):
        with pytest.raises(InvalidKey):
            store.get(key)


def test_a_tree_deeper_than_recursion_is_listed(store: LocalStore, root: Path) -> None:
    folders = [root / ("d/" * depth) for depth in range(1, 1101)]
    for folder in folders:
        folder.mkdir()
    (folders[-1] / "file").touch()
    try:
        assert _keys(store) == ["d/" * 1100 + "file"]
        assert list(store.list_level()) == [CommonPrefix("d/")]
    finally:
        (folders[-1] / "file").unlink()
        for folder in reversed(folders):  # pytest's own removal recurses
            folder.rmdir()


def test_an_unreadable_folder_is_not_taken_for_an_empty_one(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/b", b"")
    store.put("locked/c", b"")
    scandir = os.scandir

    def guarded(path: bytes) -> object:
        if path.endswith(b"/locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(local_listing.os, "scandir", guarded)
    for listing in (store.list, store.list_level):
        with pytest.raises(StoreUnavailable, match=r"locked: cannot be used: Permission denied\. Give this user"):
            list(listing())
    assert _keys(store, "a") == ["a/b"]


def test_a_listing_enters_only_folders_that_can_match(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 10):
        for vehicle in ("a", "b"):
            store.put(f"date=0{day}/vehicle={vehicle}/x", b"")
    entered = []
    scandir = os.scandir
    monkeypatch.setattr(
        local_listing.os, "scandir", lambda path: entered.append(os.path.relpath(path, bytes(root))) or scandir(path)
    )
    assert _keys(store, "date=03/vehicle=b/") == ["date=03/vehicle=b/x"]
    assert entered == [b"date=03/vehicle=b"]
    entered.clear()
    assert [info.key for info in store.list("date=0", start_after="date=09/vehicle=a/x")] == ["date=09/vehicle=b/x"]
    assert entered == [b".", b"date=09", b"date=09/vehicle=a", b"date=09/vehicle=b"]


@pytest.mark.parametrize(
    ("mtime_ns", "expected"),
    [
        (1_767_398_400_123_456_789, datetime(2026, 1, 3, 0, 0, 0, 123456, UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        (2**63 * 1000, datetime.max.replace(tzinfo=UTC)),
        (-(2**63) * 1000, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_any_file_time_is_a_time(mtime_ns: int, expected: datetime) -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=mtime_ns, st_ino=2)
    assert local_files.object_info("a", status).last_modified == expected


# Versions


def test_the_version_is_size_time_and_inode(store: LocalStore, root: Path) -> None:
    path = root / "a"
    path.write_bytes(b"one")
    first = store.head("a").etag
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = store.head("a").etag
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert touched != first == store.head("a").etag
    path.rename(root / "kept")
    path.write_bytes(b"one")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.head("a").etag != first
    (root / "kept").replace(path)
    assert store.head("a").etag == first


@pytest.mark.parametrize("change", ["grown", "cut", "rewritten"])
def test_a_file_that_changes_in_place_during_a_read_is_not_mixed(store: LocalStore, root: Path, change: str) -> None:
    path = root / "growing.mp4"
    path.write_bytes(b"o" * 3000)
    os.utime(path, (0, 0))
    etag = store.head(path.name).etag
    streams = [store.stream(path.name, etag=expected, chunk_bytes=1000) for expected in (None, etag)]
    reader = store.open(path.name)
    assert {next(stream) for stream in streams} == {b"o" * 1000}
    with path.open("r+b") as file:
        if change == "cut":
            file.truncate(1500)
        else:
            file.seek(0, os.SEEK_END if change == "grown" else os.SEEK_SET)
            file.write(b"n" * 3000)
    for stream in streams:
        with pytest.raises(ObjectChanged):
            next(stream)
    with pytest.raises(ObjectChanged):
        reader.read(10)
    with pytest.raises(ObjectChanged):
        store.get(path.name, etag=etag)


def test_a_copy_of_a_file_that_changes_is_not_published(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_bytes(b"old")
    os.utime(root / "a", (0, 0))
    pread, reads = os.pread, []

    def slow(descriptor: int, length: int, start: int) -> bytes:
        reads.append(length)
        data = pread(descriptor, length, start)
        with (root / "a").open("ab") as file:
            file.write(b"new")
        return data

    monkeypatch.setattr(local_files.os, "pread", slow)
    with pytest.raises(ObjectChanged):
        store.copy("a", "b")
    assert reads == [3]  # it does not run after a file that grows
    assert _keys(store) == ["a"]
    assert _temporaries(root) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["open", "pread"])
def test_one_unreadable_file_is_no_fault_of_the_store(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    store.put("bad", b"bytes")
    system_call = getattr(os, call)

    def failing(*arguments: object, **options: object) -> object:
        if call == "pread" or b"bad" in arguments[0]:
            raise OSError(number, os.strerror(number))
        return system_call(*arguments, **options)

    monkeypatch.setattr(local_files.os, call, failing)
    for read in (store.get, lambda key: next(store.stream(key)), lambda key: store.open(key).read()):
        with pytest.raises(ObjectUnreadable, match=rf"bad: cannot be read: {os.strerror(number)}\. \w"):
            read("bad")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_a_disk_that_is_gone_is_the_fault_of_the_store(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*arguments: object) -> bytes:
        raise OSError(number, os.strerror(number))

    store.put("a", b"bytes")
    monkeypatch.setattr(local_files.os, "pread", failing)
    with pytest.raises(StoreUnavailable):
        store.get("a")


def test_a_root_that_may_not_be_entered_is_the_fault_of_the_store(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"bytes")
    monkeypatch.setattr(local_store.os, "access", lambda path, mode: path != os.fsencode(root))
    for read in (lambda: LocalStore(root), lambda: list(store.list()), lambda: store.head("missing")):
        with pytest.raises(StoreUnavailable, match="Permission denied"):
            read()


# Writing


def test_no_write_passes_through_a_link(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (root / "link").symlink_to(outside)
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to(outside)
    for key in ("link/new", "link/kept", "sub/link/deeper/new"):
        for if_absent in (False, True):
            with pytest.raises(InvalidKey, match="symbolic link 'link'"):
                store.put(key, b"bytes", if_absent=if_absent)
        with store.multipart(key) as upload:
            upload.write_part(1, b"bytes")
            with pytest.raises(InvalidKey, match="symbolic link"):
                upload.complete()
        with pytest.raises(InvalidKey, match="symbolic link"):
            store.delete(key)
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"kept": b"kept"}
    assert _temporaries(root) == []


def test_a_put_replaces_a_link_and_a_delete_removes_it(store: LocalStore, root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    for name in ("replaced", "removed"):
        (root / name).symlink_to(target)
    store.put("replaced", b"new")
    store.delete("removed")
    assert not (root / "replaced").is_symlink()
    assert not (root / "removed").is_symlink()
    assert target.read_bytes() == b"kept"


def test_a_put_is_on_the_disk_before_it_is_seen_and_before_it_returns(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a/first", b"")
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/dev/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def noted_replace(*arguments: object, **options: object) -> None:
        steps.append("rename")
        replace(*arguments, **options)

    monkeypatch.setattr(local_temporary.os, "fsync", noted_fsync)
    monkeypatch.setattr(local_publish.os, "replace", noted_replace)
    store.put("a/b", b"bytes")
    assert steps == ["file", "rename", "folder"]


def test_a_full_disk_leaves_the_old_object_and_says_so(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"old")
    pwrite = os.pwrite

    def full(descriptor: int, data: memoryview, start: int) -> int:
        if start:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[:3], start)

    with monkeypatch.context() as patched:
        patched.setattr(local_temporary.os, "pwrite", full)
        with pytest.raises(StoreUnavailable, match=r"No space left.*Free space"):
            store.put("a", b"new bytes")
        with store.multipart("b") as upload:
            with pytest.raises(StoreUnavailable):
                upload.write_part(1, b"new bytes")
            patched.undo()
            upload.write_part(1, b"ok")  # what was written of the failed part is gone
            upload.complete()
    assert store.get("a") == b"old"
    assert store.get("b") == b"ok"
    assert _temporaries(root) == []


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, b"a"), (2, b"bc"), (9, b"d")], b"abcd"),
        ([(9, b"d"), (1, b"a"), (2, b"bc")], b"abcd"),
        ([(1, b"a"), (2, b"longer"), (2, b"b")], b"ab"),
        ([(1, b"longer"), (1, b"a")], b"a"),
        ([(1, b"")], b""),
    ],
)
def test_parts_of_any_size_and_order_are_joined(
    store: LocalStore, parts: list[tuple[int, bytes]], expected: bytes
) -> None:
    with store.multipart("a") as upload:
        for number, data in parts:
            upload.write_part(number, data)
        assert upload.complete().size_bytes == len(expected)
    assert store.get("a") == expected


def test_an_object_has_its_time_from_the_fine_clock(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_temporary.time, "time_ns", lambda: 1_767_398_400_123_456_789)
    info = store.put("a", b"")
    assert (root / "a").stat().st_mtime_ns == 1_767_398_400_123_456_789
    assert info == store.head("a")


def test_a_folder_removed_under_a_put_is_made_again(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, removed = os.replace, []

    def late(*arguments: object, **options: object) -> None:
        if not removed:
            removed.append((root / "a" / "b").rmdir())
        replace(*arguments, **options)

    monkeypatch.setattr(local_publish.os, "replace", late)
    store.put("a/b/c", b"bytes")
    assert removed
    assert _keys(store) == ["a/b/c"]


def test_files_are_for_others_to_read_as_the_umask_says(store: LocalStore, root: Path) -> None:
    umask = os.umask(0o027)
    try:
        store.put("a", b"")
    finally:
        os.umask(umask)
    assert (root / "a").stat().st_mode & 0o777 == 0o640


def test_deletes_leave_no_empty_folders(store: LocalStore, root: Path) -> None:
    store.put("a/b/c/d", b"")
    store.put("a/e", b"")
    store.delete("a/b/c/d")
    assert [path.name for path in (root / "a").iterdir()] == ["e"]
    store.delete("a/e")
    assert root.is_dir()
    assert not (root / "a").exists()


# The sweep


def test_the_sweep_takes_a_killed_writers_temporary_at_once(store: LocalStore, root: Path) -> None:
    with running(store_processes.put_half, store.uri, "a") as (pid, pipe):
        assert hear(pipe) == "half"
        assert len(_temporaries(root)) == 1
        assert store.sweep() == 0
        assert len(_temporaries(root)) == 1
        kill(pid, pipe)
    assert store.sweep() == 1
    assert _temporaries(root) == []


def test_the_sweep_spares_every_live_writer_of_this_process(store: LocalStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        assert store.sweep() == 0
        yield b"two"

    with store.multipart("b") as upload:
        upload.write_part(1, b"part")
        store.put("a", chunks())
        upload.complete()
    assert store.get("a") == b"onetwo"
    assert store.get("b") == b"part"


def test_the_sweep_between_creation_and_flock_costs_the_writer_a_new_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            swept.append(None)
            assert store.sweep() == 1
        flock(descriptor, operation)

    monkeypatch.setattr(local_temporary.fcntl, "flock", late)
    store.put("a", b"bytes")
    assert swept
    assert store.get("a") == b"bytes"


def test_sweeping_all_the_time_harms_no_put(store: LocalStore) -> None:
    stop = threading.Event()
    counts = []

    def sweep() -> None:
        while not stop.is_set():
            counts.append(store.sweep())

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(200):
            store.put(f"objects/{number}", b"bytes", if_absent=bool(number % 2))
    finally:
        stop.set()
        sweeper.join()
    assert len(_keys(store)) == 200
    assert counts


def test_the_sweep_takes_nothing_that_is_not_a_temporary(store: LocalStore, root: Path) -> None:
    (root / ".tmp").mkdir()
    (root / ".tmp" / "notes.txt").touch()
    with store.lock("name", timeout_s=0):
        assert store.sweep() == 0
    assert (root / ".tmp" / "notes.txt").exists()
    assert len(list((root / ".tmp" / "locks").iterdir())) == 1


def test_bug_folders_that_link_to_each_other_hung_every_listing(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(9)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text("x")
    for folder in folders:
        for other in folders:
            if other != folder:
                (folder / f"to-{other.name}").symlink_to(other)
    keys = [info.key for info in LocalStore(tmp_path).list()]
    assert {f"{folder.name}/file" for folder in folders} <= set(keys)
    assert len(keys) < 10_000
