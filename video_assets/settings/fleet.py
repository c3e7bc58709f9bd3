"""Settings of a fleet's batch API and of its ROS bags: a group of fields of `settings.Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from video_assets.environment import SettingsError
from video_assets.keys import InvalidId, check_id
from video_assets.path_template import TemplateError
from video_assets.settings.faults import PREFIX
from video_assets.topic_template import camera_pattern


class FleetSettings(BaseModel):
    """The fleet's batch API (SPEC I1, I2) and bags (C4)."""

    fleet_url: str | None = Field(None, description="Address of a fleet's batch API, without /v1.")
    fleet_token: SecretStr | None = Field(None, description="Its bearer token.")
    fleet_token_file: Path | None = Field(
        None, description="A file with that token, read again when it changes, so that it can be renewed under way."
    )
    fleet_vehicles: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="The vehicles whose days `fleet_windows` asks it for, comma-separated; unset: none."
    )
    fleet_cameras: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="The cameras of each of these vehicles, comma-separated."
    )
    fleet_window_s: int = Field(
        30, ge=1, le=3600, examples=["30"], description="Length of a window, which is one bag, in seconds."
    )
    fleet_step_s: int | None = Field(
        None,
        ge=1,
        le=86_400,
        examples=["30"],
        description="Seconds from the beginning of one window to that of the next; the length if unset.",
    )
    fleet_lookback_days: int = Field(
        5,
        ge=1,
        le=366,
        examples=["5 (days)"],
        description="How far back the service keeps footage; older days are refused.",
    )
    fleet_recheck_s: float = Field(
        86_400,
        ge=0,
        examples=["86400 (seconds)"],
        description="A window without footage is asked for again after this, in seconds.",
    )
    fleet_max_files: int | None = Field(
        None, ge=1, examples=["500"], description="Bags of a vehicle's day at most; what is beyond it stays unasked."
    )
    fleet_workers: int = Field(
        4, ge=1, le=64, examples=["4"], description="How many cameras are asked for and fetched from at a time."
    )
    fleet_interval_s: float = Field(
        0.2, ge=0, le=60, examples=["0.2"], description="Least time between two requests to it, in seconds."
    )
    fleet_max_wait_s: float = Field(
        100, gt=0, le=3600, examples=["100"], description="How long a bag may take to get ready, in seconds."
    )
    fleet_min_valid_bytes: int = Field(
        1_000_000, ge=1, examples=["1000000"], description="A smaller bag is taken for an error of the service."
    )
    bag_camera: str = Field(
        "/{camera}/{rest}",
        description="How an image topic of a ROS bag says its camera, where the path does not; other topics are "
        "filtered.",
    )

    @property
    def has_fleet(self) -> bool:
        """Whether footage is asked for from a fleet's batch API."""
        return bool(self.fleet_vehicles)

    @field_validator("fleet_vehicles", "fleet_cameras", mode="before")
    @classmethod
    def _split_ids(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("fleet_vehicles", "fleet_cameras")
    @classmethod
    def _ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                check_id("vehicle or camera", name)
            except InvalidId as error:
                raise ValueError(f"{error.item} {error.cause}") from None
        if len(set(value)) < len(value):
            raise ValueError("name each once")
        return value

    @field_validator("bag_camera")
    @classmethod
    def _bag_camera(cls, value: str) -> str:
        try:
            camera_pattern(value)
        except TemplateError as error:
            raise ValueError(f"{error.cause}. {error.remedy}") from None
        return value

    @model_validator(mode="after")
    def _fleet_is_whole(self) -> FleetSettings:
        for field in ("fleet_url", "fleet_cameras"):
            if self.has_fleet and not getattr(self, field):
                cause = f"is not set, and {PREFIX}FLEET_VEHICLES is"
                raise SettingsError(PREFIX + field.upper(), cause, "Set both, or neither.")
        return self
