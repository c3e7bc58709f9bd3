"""Settings of clouds, under the names that their own tools give them: groups of fields of `settings.Settings`."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, Field, SecretStr


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
