"""The environment as one typed, documented Settings object. Nothing else reads `os.environ`.

Variables come from the environment, then from a file `.env` in the working directory.
"""

from __future__ import annotations

import os
import re
from datetime import date as Date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from video_assets.environment import SettingsError
from video_assets.path_template import PathTemplate
from video_assets.settings.catalogue import CatalogueSettings
from video_assets.settings.clouds import OdpsSettings, OssSettings, plain
from video_assets.settings.faults import PREFIX
from video_assets.settings.fleet import FleetSettings
from video_assets.settings.frames import FramesSettings
from video_assets.settings.places import folder_of, lies_in


class Settings(FramesSettings, FleetSettings, CatalogueSettings, OssSettings, OdpsSettings, BaseSettings):
    """What a deployment sets. Every field is the environment variable VIDEO_ASSETS_<FIELD> unless it says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    source: str | None = Field(
        None,
        description="Where the uploads are: a directory or URI (file://…, s3://bucket/prefix, "
        "oss://endpoint/bucket/prefix).",
    )
    source_layout: Literal["files", "chunks"] = Field(
        "files",
        description="files: each upload is an object. chunks: streams of numbered chunks are uploads too.",
    )
    inventory: str | None = Field(
        None,
        description="An inventory of the source's bucket, in place of listing: a report's manifest.json, or the folder "
        "of its rule (the newest report is taken).",
    )
    video_list: str | None = Field(
        None,
        description="A list of videos in place of a listing: a text, CSV or Parquet file of URIs, or a folder of such.",
    )
    listing_max_age_s: float = Field(
        900,
        ge=0,
        examples=["900 (seconds)"],
        description="Where partitions have no folders of their own, a listing of everything serves all for so long.",
    )
    store: str = Field(
        "data/store", description="Where tables, records and blobs go: a directory or URI (as for the source)."
    )
    tables: Literal["parquet", "odps"] = Field(
        "parquet", description="Where tables live: as Parquet files in the store, or in ODPS (MaxCompute)."
    )
    index: str = Field("data/index", description="The vector index: a directory (embedded) or a Qdrant server's URL.")
    qdrant_api_key: SecretStr | None = Field(None, description="API key of the Qdrant server.")

    path_template: str = Field(
        "{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}",
        description="How a key of the source says vehicle, date, camera and start time.",
    )
    timezone: str = Field("UTC", description="The fleet's zone (IANA name): a partition is this zone's day.")
    path_timezone: str | None = Field(None, description="The zone of times in keys; the fleet's zone if unset.")
    video_extensions: Annotated[tuple[str, ...], NoDecode] = plain(
        "VIDEO_EXTENSIONS",
        (".mp4", ".mov", ".mkv", ".avi"),
        description="What counts as video, comma-separated, compared in lower case.",
    )
    settle_s: float = Field(
        60,
        ge=0,
        le=604_800,
        examples=["60"],
        description="Objects younger than this many seconds wait for the next run.",
    )
    lookback_days: int = Field(
        3,
        ge=1,
        le=31,
        examples=["3 (days)"],
        description="The days, today's included, whose uploads are looked for all the time, and not only in turn.",
    )
    start_date: Date = Field(
        Date(2026, 1, 1),
        examples=["2026-01-31 (YYYY-MM-DD)"],
        description="The first day that has partitions in Dagster.",
    )

    on_source_delete: Literal["keep", "remove"] = Field(
        "keep",
        description="keep: rows of videos deleted at the source stay, marked. remove: they go, with all that was made "
        "of them, unless too many are gone at once.",
    )
    upload_checkpoint: SecretStr | None = Field(
        None,
        description="Where `upload watch` writes down what is under way: sqlite:///PATH or redis://HOST:6379/0; the "
        "store's own state if unset.",
    )
    silent_after_h: float = Field(
        48,
        gt=0,
        allow_inf_nan=False,
        examples=["48 (hours)"],
        description="A vehicle without a new upload for this many hours is reported as silent, and so is the fleet.",
    )

    clips_mode: Literal["copy", "reference"] = Field(
        "copy", description="copy: clips are copied into the store. reference: they stay where they are."
    )
    clip_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        examples=["30 or 12.5 (seconds)"],
        description="Length of fixed windows in seconds, each a clip of its own; unset: a video is one clip.",
    )
    clip_cut: Literal["fast", "accurate"] = Field(
        "fast",
        description="fast: windows begin at key frames and are copied. accurate: at any frame; encoded again as H.264.",
    )
    embed_models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("mobilenet_v2",),
        description="The models that embed frames, comma-separated; each has its own collection.",
    )
    model_cache: Path | None = Field(None, description="Where downloaded models are kept or already lie.")

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, examples=["4"], description="Worker processes of a run."
    )
    item_timeout_s: float = Field(
        600,
        gt=0,
        examples=["600 (seconds)"],
        description="An item that takes longer fails, by itself; so does a whole record of `catalogue run`.",
    )
    # Four times what a 4K clip of 10 bits and its vectors pass with, twice that of 8K.
    item_memory_mib: int = Field(
        4096,
        ge=512,
        examples=["4096 (MiB)"],
        description="An item that needs more memory in its worker than this (MiB) fails, by itself.",
    )
    max_attempts: int = Field(
        3, ge=1, examples=["3"], description="A failed item is tried in this many runs, then left failed."
    )
    failure_limit: float = Field(
        0.2,
        ge=0,
        le=1,
        examples=["0.2 (20 %)"],
        description="A partition with a larger share of failed rows fails its asset check.",
    )

    @field_validator("video_extensions", "embed_models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("video_extensions")
    @classmethod
    def _extensions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or any(not re.fullmatch(r"\.[^./\s]+", ext) for ext in value):
            raise ValueError("write extensions with their dot, comma-separated: .mp4,.mov")
        return tuple(ext.lower() for ext in value)

    @field_validator("embed_models")
    @classmethod
    def _models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("name at least one model, and each once")
        return value

    @field_validator("timezone", "path_timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, OSError, ValueError) as error:
                raise ValueError(f"{value!r} is no time zone; write an IANA name such as Asia/Shanghai") from error
        return value

    @field_validator("source", "store")
    @classmethod
    def _uri(cls, value: str | None) -> str | None:
        if value is None or "://" in value:
            return value
        # Not resolved: an operator may turn a link to another disk.
        return Path(value).expanduser().absolute().as_uri()

    @field_validator("inventory", "video_list")
    @classmethod
    def _file_or_folder(cls, value: str | None) -> str | None:
        if value is None or "://" in value:
            return value
        return Path(value).expanduser().absolute().as_uri() + "/" * value.endswith("/")

    @field_validator("index")
    @classmethod
    def _index(cls, value: str) -> str:
        if re.fullmatch(r"[\w.-]+:[0-9]{1,5}/?", value):
            raise ValueError(f"write http://{value}, or a directory")
        scheme, separator, rest = value.partition("://")
        if separator and (scheme not in ("file", "http", "https") or "?" in rest or "@" in rest):
            raise ValueError("write a directory, or http(s)://host:port without user, password or query")
        return value if separator else str(Path(value).expanduser().absolute())

    @model_validator(mode="after")
    def _template(self) -> Settings:
        self.template()
        return self

    @model_validator(mode="after")
    def _source_in_oss(self) -> Settings:
        if self.source is None and self.oss_bucket is not None:
            if self.oss_endpoint is None:
                cause = "needs OSS_ENDPOINT beside it"
                raise SettingsError("OSS_BUCKET", cause, "Set it, as in oss-cn-hangzhou.aliyuncs.com.")
            _refuse_more_than_a_host(self.oss_endpoint, self.oss_bucket)
            path = "/".join(filter(None, (self.oss_bucket, quote(self.oss_prefix.strip("/")))))
            # Frozen for all others.
            object.__setattr__(self, "source", f"oss://{self.oss_endpoint}/{path}")
        return self

    @model_validator(mode="after")
    def _one_kind_of_source(self) -> Settings:
        if self.inventory is not None and self.video_list is not None:
            cause = f"stands beside {variable('inventory')}, and the source is one of them"
            raise SettingsError(variable("video_list"), cause, "Unset one of them.")
        return self

    @model_validator(mode="after")
    def _catalogue_is_the_source(self) -> Settings:
        if self.catalogue_url is None:
            return self
        for other in ("inventory", "video_list"):
            if getattr(self, other) is not None:
                cause = f"stands beside {variable(other)}, and the source is one of them"
                raise SettingsError(variable("catalogue_url"), cause, "Unset one of them.")
        if self.source is None and "://" not in self.catalogue_video:
            cause = f"names keys of {variable('source')}, which is not set"
            raise SettingsError(variable("catalogue_video"), cause, "Set that, or begin with a bucket's URI.")
        return self

    @model_validator(mode="after")
    def _places_apart(self) -> Settings:
        if self.source is not None:
            for field, place in (("store", self.store), ("index", self.index)):
                if lies_in(place, self.source):
                    cause = f"lies in {variable('source')}, which is never written to"
                    raise SettingsError(variable(field), cause, "Set it to a folder elsewhere.")
            if lies_in(self.source, self.store):
                cause = f"lies in {variable('store')}, where this program writes and sweeps"
                raise SettingsError(variable("source"), cause, "Set one of them to a folder elsewhere.")
        if folder_of(self.store) == folder_of(self.index):
            cause = f"is the same folder as {variable('store')}"
            raise SettingsError(variable("index"), cause, "Give each a folder of its own.")
        return self

    @model_validator(mode="after")
    def _windows_are_copies(self) -> Settings:
        if self.clip_seconds is not None and self.clips_mode == "reference":
            raise SettingsError(
                variable("clip_seconds"),
                f"makes new files, and {variable('clips_mode')}=reference leaves videos where they are",
                "Unset one of them.",
            )
        return self

    def template(self) -> PathTemplate:
        """The parsed path template."""
        path_zone = ZoneInfo(self.path_timezone or self.timezone)
        return PathTemplate(self.path_template, self.video_extensions, path_zone, ZoneInfo(self.timezone))

    @property
    def packing(self) -> Literal["shards", "files"]:
        """`frames_packing`, or what it is where it is not set."""
        return self.frames_packing or ("files" if self.tables == "odps" else "shards")

    @property
    def has_source(self) -> bool:
        """Whether there is anything to read uploads from; a fleet's batch API is none (see `has_fleet`)."""
        return self.source is not None or self.video_list is not None or self.catalogue_url is not None

    def source_uri(self) -> str:
        """The source's URI; raises SettingsError where none is set."""
        if self.source is None:
            raise SettingsError(
                variable("source"),
                "is not set, so there are no uploads to read",
                f"Set it to a directory or URI, or {variable('video_list')} to a list of videos.",
            )
        return self.source


def _refuse_more_than_a_host(endpoint: str, bucket: str) -> None:
    host = endpoint.partition("://")[2] or endpoint
    bare = host.removeprefix(f"{bucket}.").partition("/")[0].rpartition("@")[2]
    if endpoint != bare:
        raise SettingsError("OSS_ENDPOINT", "holds more than a host", f"Write OSS_ENDPOINT={bare}.")


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    known = Settings.model_fields.get(field)
    if known is not None and isinstance(known.validation_alias, AliasChoices):
        return str(known.validation_alias.choices[0])
    return field if field.isupper() else PREFIX + field.upper()
