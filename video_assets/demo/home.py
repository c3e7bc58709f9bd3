"""The demo's folder: uploads, store, index, and the files that let Dagster open it with its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from video_assets.dagster_home import prepare_home
from video_assets.demo.footage import DAYS
from video_assets.settings import Settings


@dataclass(frozen=True, slots=True)
class DemoHome:
    """Where everything of a demo lies; it can be deleted as a whole."""

    root: Path

    @property
    def uploads(self) -> Path:
        """The source: what vehicles sent."""
        return self.root / "uploads"

    @property
    def contact_sheet(self) -> Path:
        """The picture of what came out."""
        return self.root / "contact_sheet.jpg"

    def environment(self) -> dict[str, str]:
        """The settings of the demo."""
        return {
            "DAGSTER_HOME": str(self.root),
            "VIDEO_ASSETS_SOURCE": str(self.uploads),
            "VIDEO_ASSETS_STORE": str(self.root / "store"),
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

    def write(self) -> None:
        """Makes the folder a DAGSTER_HOME with a `.env`, where it is not one."""
        prepare_home(self.root)
        if not (self.root / ".env").exists():
            env = "".join(f"{name}='{value}'\n" for name, value in self.environment().items())
            (self.root / ".env").write_text(env)
