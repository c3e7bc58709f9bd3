"""`download`: a selection onto a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from video_assets.downloads.errors import InvalidDownload
from video_assets.downloads.fetch import Progress, fetch
from video_assets.downloads.layout import Layout, plan
from video_assets.downloads.selection import SelectedFile, Selection, select
from video_assets.folder_probe import require_writable
from video_assets.settings import Settings, load_settings


def download(
    selection: Selection | Sequence[Selection],
    dest: Path | str,
    layout: Layout = "by_recording",
    overwrite: bool = False,
    *,
    skip_existing: bool = False,
    workers: int = 8,
    settings: Settings | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> list[Path]:
    """Writes the files of a selection below `dest` and returns them, in the order selection, camera, key.

    All writes are planned before the first; each file appears whole or not at all. What the tables name is fetched in
    the version that they name.

    Args:
        selection: one, or several in order; a file that two of them have is an error.
        dest: a folder, made if missing.
        layout: `by_recording`: `<recording>/<camera>/<name>`; `by_modality`: `<camera>/<recording>/<name>`; `flat`:
            `<recording>__<camera>/<name>`.
        overwrite: replace files that are there.
        skip_existing: leave files that are there, to go on with a download that stopped.
        workers: how many files at a time.
        settings: of the deployment; by default from the environment.
        report: called after each file.

    Raises:
        ValueError: two sources for one destination, or a name that cannot be used.
        FileExistsError: files are in the way; the first 20 are named.
        FileNotFoundError: a selection has no file.
        FolderUnwritable: `dest` cannot be made or written to.
        DownloadFailed: some files could not be fetched; the others are there.
    """
    settings = settings or load_settings()
    if overwrite and skip_existing:
        raise InvalidDownload("overwrite and skip_existing", "contradict each other", "Give one of them.")
    selections = [selection] if isinstance(selection, Selection) else list(selection)
    files: list[SelectedFile] = [file for one in selections for file in select(one, settings)]
    writes = plan(files, Path(dest).absolute(), layout, overwrite=overwrite, skip_existing=skip_existing)
    due = [write for write in writes if not (skip_existing and write.path.exists())]
    if due:
        require_writable(Path(dest).absolute())
    fetch(due, workers=workers, report=report)
    return [write.path for write in writes]
