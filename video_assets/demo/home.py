"""The demo's folder: uploads, store, index, and the files that let Dagster open it with its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from video_assets.dagster_home import prepare_home
from video_assets.demo.footage import DAYS
from video_assets.errors import VideoAssetsError
from video_assets.keys import without_endpoint
from video_assets.settings import Settings

_PLACES = ("VIDEO_ASSETS_SOURCE", "VIDEO_ASSETS_STORE", "VIDEO_ASSETS_TABLES")


class AnotherDemo(VideoAssetsError):
    """The folder keeps the history of a demo in other places."""


@dataclass(frozen=True, slots=True)
class DemoHome:
    """Where everything of a demo lies: in one folder, but for what is put elsewhere.

    Attributes:
        root: the folder, with Dagster's history and the index; it can be deleted as a whole.
        source: where the uploads are put instead: a directory or URI.
        store: where tables, records and blobs go instead: a directory or URI.
        tables: what keeps the tables, as in VIDEO_ASSETS_TABLES.
    """

    root: Path
    source: str | None = None
    store: str | None = None
    tables: str = "parquet"

    @property
    def uploads(self) -> Path:
        """The source in the folder: what vehicles sent."""
        return self.root / "uploads"

    @property
    def contact_sheet(self) -> Path:
        """The picture of what came out."""
        return self.root / "contact_sheet.jpg"

    def environment(self) -> dict[str, str]:
        """The settings of the demo."""
        return {
            "DAGSTER_HOME": str(self.root),
            "VIDEO_ASSETS_SOURCE": _absolute(self.source) if self.source else str(self.uploads),
            "VIDEO_ASSETS_STORE": _absolute(self.store) if self.store else str(self.root / "store"),
            "VIDEO_ASSETS_TABLES": self.tables,
            "VIDEO_ASSETS_INDEX": str(self.root / "index"),
            "VIDEO_ASSETS_FRAMES_SAMPLING": "fps=2",
            # What the shell may say of another deployment does not count here.
            "VIDEO_ASSETS_PATH_TEMPLATE": str(Settings.model_fields["path_template"].default),
            "VIDEO_ASSETS_TIMEZONE": "UTC",
            "VIDEO_ASSETS_START_DATE": DAYS[0],
            "VIDEO_ASSETS_EMBED_MODELS": "mobilenet_v2",
            # The files have just been written, and by no one who still writes.
            "VIDEO_ASSETS_SETTLE_S": "0",
        }

    def refuse_other(self) -> None:
        """Raises AnotherDemo where the folder's history is that of a demo in other places."""
        path = self.root / ".env"
        earlier = dotenv_values(path) if path.is_file() else {}
        for name in _PLACES:
            said = self.environment()[name]
            if without_endpoint(earlier.get(name) or said) != without_endpoint(said):
                cause = f"is the demo of {name}={earlier[name]}"
                raise AnotherDemo(str(self.root), cause, "Give another --dir, or delete that folder.")

    def write(self) -> None:
        """Makes the folder a DAGSTER_HOME with a `.env`, where it is not one."""
        prepare_home(self.root)
        if not (self.root / ".env").exists():
            env = "".join(f"{name}='{value}'\n" for name, value in self.environment().items())
            (self.root / ".env").write_text(env)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())
