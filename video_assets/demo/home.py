"""The demo's folder: uploads, store, index, and the files that let Dagster open it with its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from video_assets.dagster_home import prepare_home
from video_assets.demo.footage import CAMERAS, DAYS, FLEET_STEP_S, FLEET_VEHICLES
from video_assets.errors import VideoAssetsError
from video_assets.keys import without_endpoint
from video_assets.settings import Settings

_PLACES = ("VIDEO_ASSETS_SOURCE", "VIDEO_ASSETS_STORE", "VIDEO_ASSETS_TABLES", "VIDEO_ASSETS_FLEET_VEHICLES")


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
        fleet_url: of a fleet's batch API that is the source, in place of uploads.
    """

    root: Path
    source: str | None = None
    store: str | None = None
    tables: str = "parquet"
    fleet_url: str | None = None

    @property
    def uploads(self) -> Path:
        """The source in the folder: what vehicles sent."""
        return self.root / "uploads"

    @property
    def contact_sheet(self) -> Path:
        """The picture of what came out."""
        return self.root / "contact_sheet.jpg"

    @property
    def availability(self) -> Path:
        """The picture of what a fleet's batch API had."""
        return self.root / "availability.png"

    def environment(self) -> dict[str, str]:
        """The settings of the demo."""
        return {
            "DAGSTER_HOME": str(self.root),
            **self._source(),
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

    def _source(self) -> dict[str, str]:
        """Where the footage is. Empty ones count as unset, whatever the shell says."""
        if self.fleet_url is None:
            source = _absolute(self.source) if self.source else str(self.uploads)
            return {"VIDEO_ASSETS_SOURCE": source, "VIDEO_ASSETS_FLEET_VEHICLES": ""}
        return {
            "VIDEO_ASSETS_SOURCE": "",
            "VIDEO_ASSETS_FLEET_URL": self.fleet_url,
            "VIDEO_ASSETS_FLEET_VEHICLES": ",".join(FLEET_VEHICLES),
            "VIDEO_ASSETS_FLEET_CAMERAS": ",".join(CAMERAS),
            # A window in ten minutes, and at once: a day of 2,880 windows at 0.2 s each takes ten minutes a camera.
            "VIDEO_ASSETS_FLEET_STEP_S": str(FLEET_STEP_S),
            "VIDEO_ASSETS_FLEET_INTERVAL_S": "0.002",
            "VIDEO_ASSETS_FLEET_MIN_VALID_BYTES": "10000",
        }

    def refuse_other(self) -> None:
        """Raises AnotherDemo where the folder's history is that of a demo in other places."""
        path = self.root / ".env"
        earlier = dotenv_values(path) if path.is_file() else {}
        for name in _PLACES:
            said = self.environment()[name]
            before = earlier.get(name, said) or ""
            if without_endpoint(before) != without_endpoint(said):
                cause = f"is the demo of {name}={before}" if before else f"is a demo without {name}"
                raise AnotherDemo(str(self.root), cause, "Give another --dir, or delete that folder.")

    def write(self) -> None:
        """Makes the folder a DAGSTER_HOME with a `.env`, where it is not one."""
        prepare_home(self.root)
        if not (self.root / ".env").exists():
            env = "".join(f"{name}='{value}'\n" for name, value in self.environment().items())
            (self.root / ".env").write_text(env)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())
