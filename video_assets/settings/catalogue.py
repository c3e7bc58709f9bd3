"""Settings of a catalogue, a Postgres table of what videos there are: a group of fields of `settings.Settings`."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

COLUMNS = (
    "id",
    "platform",
    "code",
    "is_downloaded",
    "is_extracted",
    "is_embedded",
    "publish_date",
    "created_at",
    "updated_at",
)
"""What is read and written of the table; each may have another name there."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_FIELDS = ("platform", "code", "id", "publish_date")


class CatalogueSettings(BaseModel):
    """A Postgres table of content that drives the stages (SPEC I6)."""

    catalogue_url: SecretStr | None = Field(
        None,
        description="A Postgres database whose table says what videos there are, in place of a listing: "
        "postgresql://user:password@host/database.",
    )
    catalogue_table: str = Field("content", description="That table; schema.table where its schema is not on the path.")
    catalogue_columns: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Columns that have other names in it, comma-separated: code=video_code,publish_date=published_on.",
    )
    catalogue_video: str = Field(
        "{platform}/{code}.mp4",
        description="Where a record's video lies: a key in VIDEO_ASSETS_SOURCE, or a URI; of {platform}, {code}, {id} "
        "and {publish_date:%Y/%m/%d}.",
    )
    catalogue_vehicle: str = Field(
        "{platform}", description="What stands for the vehicle of a record; its day is that of publish_date."
    )
    catalogue_lease_s: float = Field(
        120,
        ge=3,
        le=86_400,
        examples=["120"],
        description="A record in hand of a process that has died is free for others after so many seconds.",
    )
    catalogue_retry_s: float = Field(
        300,
        ge=0,
        le=86_400,
        examples=["300"],
        description="Seconds that a failed record waits for its next attempt; each time twice as long, up to a day.",
    )
    catalogue_checkpoint_file: Path = Field(
        Path("catalogue_checkpoint.json"), description="Where `catalogue run --checkpoint file` says how far it is."
    )

    @field_validator("catalogue_url")
    @classmethod
    def _catalogue_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("write postgresql://user:password@host/database")
        return value

    @field_validator("catalogue_table")
    @classmethod
    def _catalogue_table(cls, value: str) -> str:
        names = value.split(".")
        # Room for what the names of indexes add.
        if len(names) > 2 or not all(_NAME.fullmatch(name) for name in names) or len(names[-1]) > 40:
            raise ValueError("write a table, or schema.table")
        return value

    @field_validator("catalogue_columns", mode="before")
    @classmethod
    def _split_columns(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("catalogue_columns")
    @classmethod
    def _columns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            ours, equals, theirs = part.partition("=")
            if ours not in COLUMNS or not equals or not _NAME.fullmatch(theirs):
                raise ValueError(f"write NAME=COLUMN, where NAME is one of {', '.join(COLUMNS)}")
        return value

    @field_validator("catalogue_video", "catalogue_vehicle")
    @classmethod
    def _record_template(cls, value: str) -> str:
        check_record_template(value)
        return value

    def column_names(self) -> dict[str, str]:
        """What each of COLUMNS is called in the table."""
        given = (part.partition("=") for part in self.catalogue_columns)
        return {name: name for name in COLUMNS} | {ours: theirs for ours, _, theirs in given}


def check_record_template(template: str) -> None:
    """Raises ValueError for a template that names what a record does not have, or whose bucket is not fixed."""
    try:
        tokens = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("a brace is not closed, or closes nothing") from None
    for _, name, spec, conversion in tokens:
        if name is not None and (name not in _FIELDS or conversion or (spec and name != "publish_date")):
            raise ValueError(f"known are {', '.join('{' + field + '}' for field in _FIELDS)}, the last with a format")
    if not any(name for _, name, _, _ in tokens):
        raise ValueError("it names nothing of a record")
    head = tokens[0][0]
    if "://" in template and ("://" not in head or "/" not in head.partition("://")[2]):
        raise ValueError("the bucket, or the first folder, must not be of the record")
    # A format that cannot be used is told now.
    template.format(platform="p", code="c", id=1, publish_date=datetime(2026, 1, 3, tzinfo=UTC))
