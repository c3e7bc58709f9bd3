"""Checks of what is installed, and of the folder that keeps Dagster's history."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from video_assets.dagster_home import home_folder
from video_assets.doctor.finding import Finding
from video_assets.environment import environment
from video_assets.folder_probe import require_writable
from video_assets.settings import Settings


def packages_finding(settings: Settings) -> Finding:
    """Whether Dagster's packages are installed and belong together."""
    found = {}
    for name in ("dagster", "dagster-webserver"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return Finding("packages", "failed", f"{name} is not installed", "Run: pip install video-assets")
    if len(set(found.values())) > 1:
        text = ", ".join(f"{name} {number}" for name, number in found.items())
        return Finding("packages", "failed", f"{text} do not belong together", "Run: pip install -U video-assets")
    return Finding("packages", "ok", f"dagster {found['dagster']}, av {version('av')}, pyarrow {version('pyarrow')}")


def dagster_home_finding(settings: Settings) -> Finding:
    """Whether the home can be written to and has our dagster.yaml."""
    configured = environment().get("DAGSTER_HOME")
    home = home_folder(configured)
    require_writable(home)
    if not home.exists():
        return Finding("dagster home", "ok", f"{home}: not made yet; `video-assets up` makes it")
    if not (home / "dagster.yaml").is_file():
        remedy = "`video-assets up` writes ours: without it, cancelled runs keep their slots and telemetry is on."
        return Finding("dagster home", "warning", f"{home} has no dagster.yaml", remedy)
    text = str(home) if configured else f"{home}, as DAGSTER_HOME is not set; `dagster dev` needs it set"
    return Finding("dagster home", "ok", text)
