"""What may be set for ODPS, and what is said of what may not."""

from __future__ import annotations

import pytest

from video_assets.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ODPS_ENDPOINT", "service.cn-hangzhou.maxcompute.aliyun.com/api", "write it in full, as in https://service."),
        ("ODPS_ENDPOINT", "https://oss-cn-hangzhou.aliyuncs.com", "it is an endpoint of OSS"),
        ("ODPS_ENDPOINT", "https://fleet.oss-cn-hangzhou.aliyuncs.com", "it is an endpoint of OSS"),
        (
            "ODPS_ENDPOINT",
            "https://dt.cn-hangzhou.maxcompute.aliyun.com",
            "the tunnel's endpoint (ODPS_TUNNEL_ENDPOINT)",
        ),
        ("ODPS_ENDPOINT", "https://me:hunter2@service.odps.aliyun.com/api", "without user, password and query"),
        ("ODPS_TUNNEL_ENDPOINT", "dt.cn-hangzhou.maxcompute.aliyun.com", "write it in full"),
        ("MANIFEST_LIFECYCLE", "0", "'0' is too small: the least is 1. Write for example 30"),
        ("MANIFEST_LIFECYCLE", "a month", "no whole number"),
        ("VIDEO_INPUT_TABLE", "drop table; --", "Write for example video_input"),
        ("VIDEO_ASSETS_TABLE_PREFIX", "a-b", "Write for example fleet_"),
        ("VIDEO_ASSETS_TABLES", "hive", "'hive' is none of 'parquet' or 'odps'"),
    ],
)
def test_a_wrong_value_is_told(variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert error.value.item == variable
    assert told in error.value.cause
    assert "hunter2" not in str(error.value)


def test_good_values_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODPS_ENDPOINT", "https://service.cn-hangzhou-vpc.maxcompute.aliyun-inc.com/api/")
    monkeypatch.setenv("ODPS_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("VIDEO_ASSETS_TABLES", "odps")
    settings = load_settings()
    assert settings.odps_endpoint == "https://service.cn-hangzhou-vpc.maxcompute.aliyun-inc.com/api"
    assert settings.manifest_lifecycle == 30
    assert settings.packing == "files"
    assert "hunter2" not in repr(settings)


def test_frames_lie_in_shards_where_tables_are_parquet_or_someone_says_so() -> None:
    from video_assets.settings import Settings

    assert Settings().packing == "shards"
    assert Settings(tables="odps", frames_packing="shards").packing == "shards"
