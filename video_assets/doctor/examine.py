"""Runs every check of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from video_assets.doctor.bucket import bucket_finding
from video_assets.doctor.catalogue import catalogue_finding
from video_assets.doctor.deadline import LIMIT_S, within
from video_assets.doctor.finding import Finding
from video_assets.doctor.fleet import fleet_finding
from video_assets.doctor.index import index_finding
from video_assets.doctor.installation import dagster_home_finding, packages_finding
from video_assets.doctor.models import model_finding, sampling_finding
from video_assets.doctor.source import source_finding
from video_assets.doctor.store import store_finding
from video_assets.doctor.tables import tables_finding
from video_assets.errors import VideoAssetsError
from video_assets.settings import Settings

Check = Callable[[Settings], Finding | None]
"""A check gives None where there is nothing to look at."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check in turn; one that fails stops none but those of what lies behind it."""
    checks: dict[str, Check] = {
        "packages": packages_finding,
        "dagster home": dagster_home_finding,
        "source bucket": lambda settings: bucket_finding("source bucket", settings.source),
        # A fleet's batch API is a source too.
        "source": lambda settings: source_finding(settings) if settings.has_source or not settings.has_fleet else None,
        "fleet": fleet_finding,
        "catalogue": catalogue_finding,
        "store bucket": lambda settings: bucket_finding("store bucket", settings.store),
        "store": store_finding,
        "tables": tables_finding,
        "index": index_finding,
        "sampling": sampling_finding,
    }
    unreached = set()
    for component, check in checks.items():
        if component in unreached:
            continue
        finding = _safely(component, check, settings, LIMIT_S)
        if finding is not None:
            yield finding
            if finding.verdict == "failed":
                unreached.add(component.removesuffix(" bucket"))
    for model in settings.embed_models:
        # Without a limit: one that is not there yet is downloaded.
        found = _safely(f"model {model}", lambda s, model=model: model_finding(model, s), settings)  # type: ignore[misc]
        if found is not None:
            yield found


def _safely(component: str, check: Check, settings: Settings, limit_s: float | None = None) -> Finding | None:
    try:
        return check(settings) if limit_s is None else within(limit_s, component, lambda: check(settings))
    except VideoAssetsError as error:
        # `model resnet50: no model has this name` says the name once.
        item = "" if error.item.strip("'") in component else f"{error.item}: "
        return Finding(component, "failed", f"{item}{error.cause}", error.remedy)
    except Exception as error:
        return Finding(component, "failed", f"{type(error).__name__}: {error}", "This is a fault of video_assets.")
