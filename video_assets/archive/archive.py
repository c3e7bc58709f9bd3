"""`archive`: a selection into numbered folders by vehicle and date."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from video_assets.archive.errors import ArchiveFailed, ArchiveRefused, FileDamaged
from video_assets.archive.folders import SUMS, sum_line
from video_assets.archive.plan import Due, Plan, check_room, plan
from video_assets.archive.record import ArchivedFile, Record
from video_assets.downloads.fetch import Progress, Stores
from video_assets.downloads.part_file import part_file, sweep_parts
from video_assets.downloads.selection import Selection, select
from video_assets.errors import VideoAssetsError
from video_assets.folder_probe import require_writable
from video_assets.settings import Settings, load_settings
from video_assets.settings.places import lies_in

FOLDER_BYTES = 10 * 1024**3

_LISTED = 20


@dataclass(frozen=True, slots=True)
class Archived:
    """What became of a selection.

    Attributes:
        copied, copied_bytes: files that came into the archive; of a dry run, that would come.
        here, moved: files that were there already, or in folders that were moved away since.
        folders: `vehicle/date/number` of those that got files, with how many and their bytes.
    """

    copied: int
    copied_bytes: int
    here: int
    moved: int
    folders: dict[str, tuple[int, int]]


def archive(
    selection: Selection,
    root: Path | str,
    *,
    folder_bytes: int = FOLDER_BYTES,
    workers: int = 4,
    dry_run: bool = False,
    settings: Settings | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Archived:
    """Copies the files of a selection to `root/<vehicle>/<date>/<number>/<camera>/<name>`.

    A numbered folder has at most `folder_bytes`, but for a single file that is larger. All is planned, and space
    checked, before the first byte. Each file appears whole or not at all, with the size and checksum that its table
    says, in the version that it names. A rerun goes on where the last run stopped; what was archived before is not
    copied again, even if its folder has been moved away.

    Raises:
        FileNotFoundError: the selection has no file.
        ArchiveRefused: too little space, another run at work, a place that must not be written to, or a record that
            cannot be read; nothing was written.
        FolderUnwritable: nothing can be written to `root`.
        ArchiveFailed: some files could not be archived; the others are there.
    """
    settings, root = settings or load_settings(), Path(root).absolute()
    _refuse_place(root, settings)
    files = select(selection, settings)
    if dry_run:
        made = plan(files, root, Record.load(root).files.values(), folder_bytes)
        check_room(made, root)
        return _told(made, (due.planned for due in made.due))
    require_writable(root)
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        record = Record.load(root)
        made = plan(files, root, record.files.values(), folder_bytes)
        check_room(made, root)
        record.rewrite(made.record)
        done, failures = _copy(made, root, record, workers, report)
        _write_sums(root, record)
    if failures := [*made.failures, *failures]:
        shown = "; ".join(failures[:_LISTED]) + (f"; and {len(failures) - _LISTED} more" * (len(failures) > _LISTED))
        raise ArchiveFailed(f"{len(failures)} of {len(files)} files", shown, "Mend the cause and run it again.")
    return _told(made, done)


def _copy(
    made: Plan, root: Path, record: Record, workers: int, report: Callable[[Progress], None]
) -> tuple[list[ArchivedFile], list[str]]:
    """Returns what was copied, and what could not be."""
    # Nobody else is at work here.
    sweep_parts((root, *(folder for file in made.record for folder in _folders(root, file))), older_than_s=0)
    stores, progress, lock = Stores(), Progress(len(made.due)), Lock()

    def one(due: Due) -> ArchivedFile | str:
        done: ArchivedFile | str
        try:
            done = replace(due.planned, sha256=_copy_one(due, root / due.planned.path, stores))
            record.add(done)
        except (VideoAssetsError, OSError) as error:
            done = str(error)
        with lock:
            progress.failed += isinstance(done, str)
            if isinstance(done, ArchivedFile):
                progress.done, progress.bytes_done = progress.done + 1, progress.bytes_done + done.size_bytes
            report(progress)
        return done

    with ThreadPoolExecutor(workers) as pool:
        ended = list(pool.map(one, made.due))
    return [d for d in ended if isinstance(d, ArchivedFile)], [d for d in ended if isinstance(d, str)]


def _folders(root: Path, file: ArchivedFile) -> tuple[Path, Path]:
    """Where files are written for one: its own folder, and that of its SHA256SUMS."""
    return (root / file.path).parent, root / file.folder


def _copy_one(due: Due, path: Path, stores: Stores) -> str:
    """Returns the SHA-256 of what is there now."""
    file, size, digest = due.file, 0, hashlib.sha256()
    store, key = stores.at(file.uri)
    with part_file(path, durable=True) as out:
        for chunk in store.stream(key, etag=file.etag):
            digest.update(chunk)
            size += out.write(chunk)
        if size != due.planned.size_bytes:
            cause = f"has {size} bytes, and its table says {due.planned.size_bytes}"
            raise FileDamaged(file.uri, cause, "Materialize its partition again.")
        if file.checksum is not None and file.checksum != f"sha256:{digest.hexdigest()}":
            cause = f"has the checksum sha256:{digest.hexdigest()}, and its table says {file.checksum}"
            raise FileDamaged(file.uri, cause, "Materialize its partition again.")
    return digest.hexdigest()


def _write_sums(root: Path, record: Record) -> None:
    """SHA256SUMS of every folder that is there, where it is not as it should be."""
    lines: dict[str, list[bytes]] = {}
    for file in sorted(record.files.values(), key=lambda file: file.path):
        if file.sha256:
            lines.setdefault(file.folder, []).append(sum_line(file))
    for folder, its_lines in lines.items():
        path = root / folder / SUMS
        if path.parent.is_dir() and not (path.is_file() and path.read_bytes() == b"".join(its_lines)):
            with part_file(path, durable=True) as out:
                out.writelines(its_lines)


def _told(made: Plan, copied: Iterable[ArchivedFile]) -> Archived:
    folders: dict[str, tuple[int, int]] = {}
    for file in copied:
        count, size = folders.get(file.folder, (0, 0))
        folders[file.folder] = (count + 1, size + file.size_bytes)
    counts, sizes = ([pair[n] for pair in folders.values()] for n in (0, 1))
    return Archived(sum(counts), sum(sizes), made.here, made.moved, folders)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Locks the archive for this run; the death of its process frees it."""
    with (root / ".archive.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveRefused(str(root), "has another run at work", "Wait until it is done.") from None
        yield


def _refuse_place(root: Path, settings: Settings) -> None:
    places: Sequence[tuple[str, str | None]] = (("source", settings.source), ("store", settings.store))
    for name, place in places:
        if place is not None and (lies_in(str(root), place) or lies_in(place, str(root))):
            verb = "lies in" if lies_in(str(root), place) else "holds"
            cause = f"{verb} VIDEO_ASSETS_{name.upper()}, and an archive is a place of its own"
            raise ArchiveRefused(str(root), cause, "Name a folder elsewhere.")
