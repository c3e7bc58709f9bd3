"""The environment as one typed, documented Settings object. Nothing else reads `os.environ`.

Variables come from the environment, then from a file `.env` in the working directory.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from datetime import date as Date
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from video_assets.cloud_settings import OdpsSettings, OssSettings, plain
from video_assets.path_template import PathTemplate, TemplateError
from video_assets.settings_faults import PREFIX, SettingsError, cause, refuse_unknown
from video_assets.topic_template import camera_pattern


class Settings(OssSettings, OdpsSettings, BaseSettings):
    """What a deployment sets. Every field is the environment variable VIDEO_ASSETS_<FIELD> unless it says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    source: str | None = Field(
        None,
        description="Where the uploads are: a directory or URI (file://…, s3://bucket/prefix, "
        "oss://endpoint/bucket/prefix).",
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
    bag_camera: str = Field(
        "/{camera}/{rest}",
        description="How an image topic of a ROS bag says its camera, where the path does not; other topics are "
        "filtered.",
    )
    frames_sampling: str = Field(
        "every_s=1",
        description="Which frames are kept: every_s=SECONDS, fps=RATE (1/3, 29.97 are exact), count=N, keyframes "
        "or scene.",
    )
    frames_format: Literal["jpeg", "png"] = Field("jpeg", description="The image format of frames.")
    frames_quality: int = Field(90, ge=1, le=100, examples=["90"], description="JPEG quality.")
    frames_longest_side: int | None = Field(
        None, ge=16, examples=["1280 (pixels)"], description="Frames larger than this are reduced to it (pixels)."
    )
    frames_crop: str | None = Field(
        None,
        description="What is cut out of frames: x,y,width,height in displayed pixels, or auto: what black bars frame.",
    )
    frames_min_sharpness: float | None = Field(
        None, ge=0, le=1e6, examples=["50"], description="Frames whose sharpness is below it are filtered as blurred."
    )
    frames_min_brightness: float | None = Field(
        None,
        ge=0,
        le=255,
        examples=["20"],
        description="Frames whose brightness (0 to 255) is below it are filtered as dark.",
    )
    frames_min_phash_distance: int | None = Field(
        None,
        ge=1,
        le=64,
        examples=["10"],
        description="Frames that differ in fewer of 64 bits from the one kept before are near_duplicate.",
    )
    frames_damaged: Literal["fail", "filter"] = Field(
        "fail",
        description="fail: frames that may show errors which the decoder met have failed. filter: they are filtered.",
    )
    frames_packing: Literal["shards", "files"] | None = Field(
        None,
        description="shards: one tar per clip, as WebDataset reads. files: one object per frame. Unset: shards, or "
        "files where tables live in ODPS, whose jobs open image_url.",
    )
    embed_models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("mobilenet_v2",),
        description="The models that embed frames, comma-separated; each has its own collection.",
    )
    model_cache: Path | None = Field(None, description="Where downloaded models are kept or already lie.")

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

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, examples=["4"], description="Worker processes of a run."
    )
    item_timeout_s: float = Field(
        600, gt=0, examples=["600 (seconds)"], description="An item that takes longer fails, by itself."
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

    @field_validator("frames_sampling")
    @classmethod
    def _sampling(cls, value: str) -> str:
        name, _, number = value.partition("=")
        known = value in ("keyframes", "scene")
        if name == "count":
            known = re.fullmatch("0*[1-9][0-9]*", number) is not None and len(number) <= 9
        elif name in ("every_s", "fps") and len(number) <= 32 and "e" not in number.lower():
            with contextlib.suppress(ValueError, ZeroDivisionError):
                known = Fraction(number) > 0
        if not known:
            raise ValueError("write every_s=SECONDS, fps=RATE, count=N, keyframes or scene")
        return value

    @field_validator("bag_camera")
    @classmethod
    def _bag_camera(cls, value: str) -> str:
        try:
            camera_pattern(value)
        except TemplateError as error:
            raise ValueError(f"{error.cause}. {error.remedy}") from None
        return value

    @field_validator("frames_crop")
    @classmethod
    def _crop(cls, value: str | None) -> str | None:
        box = r"[0-9]{1,5},[0-9]{1,5}(,0*[1-9][0-9]{0,4}){2}"
        if value is not None and value != "auto" and not re.fullmatch(box, value):
            raise ValueError("write x,y,width,height in pixels, or auto")
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
    def _places_apart(self) -> Settings:
        if self.source is not None:
            for field, place in (("store", self.store), ("index", self.index)):
                if _lies_in(place, self.source):
                    cause = f"lies in {variable('source')}, which is never written to"
                    raise SettingsError(variable(field), cause, "Set it to a folder elsewhere.")
            if _lies_in(self.source, self.store):
                cause = f"lies in {variable('store')}, where this program writes and sweeps"
                raise SettingsError(variable("source"), cause, "Set one of them to a folder elsewhere.")
        if _folder(self.store) == _folder(self.index):
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
        """Whether there is anything to read uploads from."""
        return self.source is not None or self.video_list is not None

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


def _folder(place: str) -> PurePath:
    """The folder that a path or URI means in the end; of a bucket or server, a path that no folder is in.

    An OSS endpoint is a door to a bucket, not part of it.
    """
    scheme, separator, rest = place.partition("://")
    if scheme == "oss":
        rest = rest.partition("/")[2]
    if separator and scheme != "file":
        return PurePath(f"{scheme}:", unquote(rest).strip("/"))
    return Path(unquote(rest or place)).resolve()


def is_missing_folder(place: str) -> bool:
    """Whether a place is on this machine's disk and not there; nothing is known of a bucket."""
    return ("://" not in place or place.startswith("file://")) and not Path(_folder(place)).exists()


def _lies_in(place: str, folder: str) -> bool:
    """Whether a place is a folder or lies below it, links followed."""
    return _folder(folder) in [_folder(place), *_folder(place).parents]


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    known = Settings.model_fields.get(field)
    if known is not None and isinstance(known.validation_alias, AliasChoices):
        return str(known.validation_alias.choices[0])
    return field if field.isupper() else PREFIX + field.upper()


def environment() -> dict[str, str | None]:
    """The environment on top of `.env` in the working directory.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    return {**_dot_env(), **os.environ}


def _dot_env() -> dict[str, str | None]:
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(str(path.absolute()), "is not UTF-8", "Save it as UTF-8.") from None
    except OSError as error:
        raise SettingsError(str(path.absolute()), f"cannot be read: {error.strerror}", "Give the permission.") from None
    # Its reader logs such a line without the file's name, and goes on without it.
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            where = f"{path.absolute()} line {line.original.line}"
            raise SettingsError(where, "cannot be read", "Write NAME=value, and close what quotes you open.")
    return dotenv_values(stream=io.StringIO(text))


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
