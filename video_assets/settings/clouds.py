"""Settings of clouds, under the names that their own tools give them: groups of fields of `settings.Settings`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator


def plain(variable: str, default: Any, *, description: str, **constraints: Any) -> Any:
    """A field whose environment variable has this name, without the prefix of ours."""
    alias = AliasChoices(variable, variable.lower())
    return Field(default, validation_alias=alias, description=description, **constraints)


class OssSettings(BaseModel):
    """Alibaba OSS (SPEC M7)."""

    oss_access_key_id: SecretStr | None = plain(
        "OSS_ACCESS_KEY_ID",
        None,
        description="Access key for oss:// URIs; without one, the RAM role of the ECS machine.",
    )
    oss_access_key_secret: SecretStr | None = plain(
        "OSS_ACCESS_KEY_SECRET",
        None,
        description="The secret of that access key.",
    )
    oss_session_token: SecretStr | None = plain(
        "OSS_SESSION_TOKEN",
        None,
        description="The STS token of a temporary access key.",
    )
    oss_role_arn: str | None = plain(
        "OSS_ROLE_ARN",
        None,
        description="A RAM role that the access key takes through STS.",
    )
    oss_region: str | None = plain(
        "OSS_REGION",
        None,
        pattern=r"^[a-z0-9-]+$",
        description="The region to sign for, where the endpoint does not say it (cn-hangzhou).",
    )
    oss_endpoint: str | None = plain(
        "OSS_ENDPOINT",
        None,
        description="With OSS_BUCKET, where the uploads are if VIDEO_ASSETS_SOURCE is not set.",
    )
    oss_bucket: str | None = plain(
        "OSS_BUCKET",
        None,
        description="The bucket of the uploads, as in oss://OSS_ENDPOINT/OSS_BUCKET/OSS_PREFIX.",
    )
    oss_prefix: str = plain(
        "OSS_PREFIX",
        "",
        description="The prefix of the uploads in that bucket; the whole bucket if unset.",
    )
    oss_list_max_keys: int = plain(
        "OSS_LIST_MAX_KEYS",
        1000,
        ge=1,
        le=1000,
        description="Keys a page of a listing of OSS.",
    )


_TABLE_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,127}$"


class OdpsSettings(BaseModel):
    """ODPS, also called MaxCompute (SPEC M5, M6)."""

    odps_access_id: SecretStr | None = plain("ODPS_ACCESS_ID", None, description="Access key id for ODPS (MaxCompute).")
    odps_access_key: SecretStr | None = plain("ODPS_ACCESS_KEY", None, description="The secret of that access key.")
    odps_sts_token: SecretStr | None = plain(
        "ODPS_STS_TOKEN", None, description="The STS token of a temporary access key."
    )
    odps_project: str | None = plain(
        "ODPS_PROJECT",
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        examples=["fleet"],
        description="The ODPS project that holds the tables.",
    )
    odps_endpoint: str | None = plain(
        "ODPS_ENDPOINT",
        None,
        description="The service's endpoint, as in https://service.cn-hangzhou.maxcompute.aliyun.com/api.",
    )
    odps_tunnel_endpoint: str | None = plain(
        "ODPS_TUNNEL_ENDPOINT", None, description="The tunnel's endpoint, where it is not the one the service names."
    )
    odps_region_name: str | None = plain(
        "ODPS_REGION_NAME",
        None,
        pattern=r"^[a-z0-9-]+$",
        description="The region to sign for (signature version 4), where the endpoint does not say it.",
    )
    video_input_table: str | None = plain(
        "VIDEO_INPUT_TABLE",
        None,
        pattern=_TABLE_NAME,
        examples=["video_input"],
        description="The ODPS table of the manifest; VIDEO_ASSETS_TABLE_PREFIX and video_manifest if unset.",
    )
    manifest_lifecycle: int = plain(
        "MANIFEST_LIFECYCLE",
        30,
        ge=1,
        le=37_231,
        examples=["30 (days)"],
        description="Days after which ODPS takes a manifest partition away that was not written again.",
    )
    table_prefix: str = Field(
        "video_assets_",
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$",
        examples=["fleet_"],
        description="What the names of ODPS tables begin with.",
    )
    flat_table: str | None = Field(
        None,
        pattern=_TABLE_NAME,
        examples=["video_flat"],
        description="An unpartitioned ODPS table of video_path, size_bytes and last_modified, kept up to date.",
    )

    @field_validator("odps_endpoint")
    @classmethod
    def _no_tunnel(cls, value: str | None) -> str | None:
        host = urlsplit(value or "").hostname or ""
        if host.startswith("dt."):
            raise ValueError("it is the tunnel's endpoint (ODPS_TUNNEL_ENDPOINT); that of ODPS begins with service.")
        return value

    @field_validator("odps_endpoint", "odps_tunnel_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it in full, as in https://service.cn-hangzhou.maxcompute.aliyun.com/api")
        if parts.username or parts.password or parts.query:
            raise ValueError("write it without user, password and query")
        if ".oss" in parts.hostname or parts.hostname.startswith("oss-"):
            raise ValueError("it is an endpoint of OSS; that of ODPS begins with service. and ends with /api")
        return value.rstrip("/")
