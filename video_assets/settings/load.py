"""From the environment to `Settings`, and back."""

from __future__ import annotations

from pydantic import ValidationError

from video_assets.environment import SettingsError, environment
from video_assets.path_template import TemplateError
from video_assets.settings.faults import cause, refuse_unknown
from video_assets.settings.settings import Settings, variable


def resolved_environment(settings: Settings) -> dict[str, str]:
    """The environment for a process in another working directory: `.env` is in it, and every path is absolute."""
    places = {
        "source": settings.source,
        "inventory": settings.inventory,
        "video_list": settings.video_list,
        "store": settings.store,
        "index": settings.index,
        "model_cache": str(settings.model_cache.absolute()) if settings.model_cache else None,
    }
    resolved = {variable(field): place for field, place in places.items() if place is not None}
    return {**{name: value for name, value in environment().items() if value is not None}, **resolved}


def load_settings() -> Settings:
    """Reads the environment and `.env`.

    Raises:
        SettingsError: one, naming every variable that is wrong or unknown, and what it should be.
    """
    refuse_unknown(environment(), {variable(field) for field in Settings.model_fields})
    try:
        return Settings()
    except TemplateError as error:
        raise SettingsError(variable("path_template"), error.cause, error.remedy) from None
    except ValidationError as error:
        faults = error.errors(include_url=False)
        fields = [str(fault["loc"][0]).lower() for fault in faults]
        name, *others = (variable(field) for field in fields)
        causes = [
            cause(fault, field, Settings.model_fields[field]) for fault, field in zip(faults, fields, strict=True)
        ]
        more = "".join(f"; {other}: {cause}" for other, cause in zip(others, causes[1:], strict=True))
        raise SettingsError(name, causes[0] + more, "Mend it in the environment or in .env.") from None
