"""Runs every check of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from video_assets.doctor.finding import Finding
from video_assets.doctor.index import index_finding
from video_assets.doctor.installation import dagster_home_finding, packages_finding
from video_assets.doctor.models import model_finding, sampling_finding
from video_assets.doctor.source import source_finding
from video_assets.doctor.store import store_finding
from video_assets.doctor.tables import tables_finding
from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check in turn; one that fails stops none of the others."""
    checks: dict[str, Callable[[Settings], Finding]] = {
        "packages": packages_finding,
        "dagster home": dagster_home_finding,
        "source": source_finding,
        "store": store_finding,
        "tables": tables_finding,
        "index": index_finding,
        "sampling": sampling_finding,
    }
    for component, check in checks.items():
        yield _safely(component, check, settings)
    for model in settings.embed_models:
        yield _safely(f"model {model}", lambda s, model=model: model_finding(model, s), settings)  # type: ignore[misc]


def _safely(component: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except VideoAssetsError as error:
        # `model resnet50: no model has this name` says the name once.
        item = "" if error.item.strip("'") in component else f"{error.item}: "
        return Finding(component, "failed", f"{item}{error.cause}", error.remedy)
    except Exception as error:
        return Finding(component, "failed", f"{type(error).__name__}: {error}", "This is a fault of video_assets.")
