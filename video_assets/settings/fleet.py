"""Settings of a fleet's batch API and of its ROS bags: a group of fields of `settings.Settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator

from video_assets.path_template import TemplateError
from video_assets.topic_template import camera_pattern


class FleetSettings(BaseModel):
    """The fleet's batch API (SPEC I1, I2) and bags (C4)."""

    fleet_url: str | None = Field(None, description="Address of a fleet's batch API, without /v1.")
    fleet_token: SecretStr | None = Field(None, description="Its bearer token.")
    fleet_token_file: Path | None = Field(
        None, description="A file with that token, read again when it changes, so that it can be renewed under way."
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
    bag_crf: int = Field(
        16,
        ge=0,
        le=51,
        examples=["23"],
        description="Quality of a bag's raw images, which are encoded once: x264's CRF, from 0 (best, largest) to 51.",
    )

    @field_validator("bag_camera")
    @classmethod
    def _bag_camera(cls, value: str) -> str:
        try:
            camera_pattern(value)
        except TemplateError as error:
            raise ValueError(f"{error.cause}. {error.remedy}") from None
        return value
