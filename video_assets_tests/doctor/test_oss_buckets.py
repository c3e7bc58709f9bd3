"""What doctor says of deployments on Alibaba OSS, healthy and broken, against a server that checks signatures."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from video_assets.settings import SettingsError, load_settings
from video_assets.storage.registry import open_store
from video_assets_tests.doctor.places import PUT_AND_LOCKED, VIDEO, said
from video_assets_tests.servers.oss_environment import SECRET, oss_environment
from video_assets_tests.servers.oss_server import Fault, OssServer
from video_assets_tests.servers.oss_server_signature import Account

WAY = "http://HOST, region cn-test, with the access key LTAI…y-id of the settings"
TOKEN = "a-token-of-a-session"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OssServer]:
    """A server with one video below `fleet/uploads/`, which is the source; the home is `fleet/home`."""
    with oss_environment(monkeypatch, ("fleet", "closed", "moved")) as server:
        open_store(f"oss://{server.endpoint}/fleet/uploads").put(VIDEO, b"video")
        monkeypatch.setenv("VIDEO_ASSETS_SOURCE", f"oss://{server.endpoint}/fleet/uploads")
        monkeypatch.setenv("VIDEO_ASSETS_STORE", f"oss://{server.endpoint}/fleet/home")
        monkeypatch.setenv("VIDEO_ASSETS_SETTLE_S", "0")
        server.requests.clear()
        yield server


def test_a_healthy_deployment_is_told_in_facts(server: OssServer) -> None:
    assert said() == {
        "source bucket": f"ok oss://HOST/fleet can be listed at {WAY}; the clocks agree",
        "source": "ok VIDEO_ASSETS_SOURCE=oss://HOST/fleet/uploads holds 1 video of 1 vehicle; "
        "they can be read; the right to write is not needed, and was not tried",
        "store bucket": f"ok oss://HOST/fleet can be listed at {WAY}; the clocks agree",
        "store": f"ok oss://HOST/fleet/home: {PUT_AND_LOCKED}",
    }
    left = [info.key for info in open_store(f"oss://{server.endpoint}/fleet").list()]
    assert [key for key in left if not key.startswith("home/.tmp/")] == [f"uploads/{VIDEO}"]


def test_nothing_is_ever_written_to_the_source(server: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_STORE", "on a disk")
    assert said()["source"].startswith("ok")
    assert {operation for operation, _ in server.requests} == {"ListObjectsV2", "GetObject"}


def test_a_prefix_that_matches_nothing_names_what_is_there(server: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", "")
    for name, value in {"ENDPOINT": server.endpoint, "BUCKET": "fleet", "PREFIX": "upload/2026"}.items():
        monkeypatch.setenv(f"OSS_{name}", value)
    assert said()["source"] == (
        "warning OSS_BUCKET and OSS_PREFIX, oss://HOST/fleet/upload/2026, holds nothing; "
        "oss://HOST/fleet holds uploads/. Correct OSS_BUCKET and OSS_PREFIX, or wait for uploads"
    )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "oss://fleet/uploads",
            "oss://fleet/uploads: names no endpoint: 'fleet' is no host. "
            "Write the endpoint before the bucket: oss://oss-cn-hangzhou.aliyuncs.com/fleet/uploads",
        ),
        (
            "oss://https://oss-cn-hangzhou.aliyuncs.com/fleet",
            "oss://https://oss-cn-hangzhou.aliyuncs.com/fleet: names the endpoint with its scheme https://. "
            "Write it as oss://oss-cn-hangzhou.aliyuncs.com/fleet",
        ),
        (
            "oss://fleet.oss-cn-hangzhou.aliyuncs.com/uploads",
            "oss://fleet.oss-cn-hangzhou.aliyuncs.com/uploads: has the bucket 'fleet' in front of the endpoint. Write "
            "the endpoint oss-cn-hangzhou.aliyuncs.com and the bucket after it: oss://oss-cn-hangzhou.aliyuncs.com/fleet/…",
        ),
        (
            "oss://oss-accelerate.aliyuncs.com/other",
            "oss://oss-accelerate.aliyuncs.com: the endpoint does not say its region, and OSS_REGION is not set. "
            "Set OSS_REGION to the bucket's region, as in cn-hangzhou",
        ),
        (
            "oss://SERVER/missing",
            "oss://HOST/missing: there is no bucket 'missing' at HOST (NoSuchBucket 404, 0015-00000101); "
            f"asked at {WAY}; the clocks agree. Correct the bucket's name, or its endpoint",
        ),
        (
            "oss://SERVER/closed/uploads",
            "oss://HOST/closed: oss:ListObjects is not allowed for oss://HOST/closed/uploads: You have no right to "
            f"access this object because of bucket acl. (AccessDenied 403, 0003-00000001); asked at {WAY}; the clocks "
            "agree. Give the RAM user or role the permission oss:ListObjects on the bucket 'closed'",
        ),
        (
            "oss://SERVER/moved",
            "oss://HOST/moved: the bucket lies in another region, at the endpoint oss-cn-shanghai.aliyuncs.com "
            f"(AccessDenied 403, 0003-00001403); asked at {WAY}; the clocks agree. "
            "Write oss://oss-cn-shanghai.aliyuncs.com/moved/…",
        ),
    ],
)
def test_a_wrong_place_says_what_to_write(
    server: OssServer, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    server.denied, server.elsewhere["moved"] = {("ListObjectsV2", "closed")}, "oss-cn-shanghai.aliyuncs.com"
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", source.replace("SERVER", server.endpoint))
    if "accelerate" in source:
        monkeypatch.delenv("OSS_REGION")
    found = said()
    assert found["source bucket"] == f"failed {says}"
    assert "source" not in found


def test_an_internal_endpoint_from_outside_names_the_public_one(
    server: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", "oss://oss-cn-hangzhou-internal.aliyuncs.com/fleet")
    monkeypatch.setenv("VIDEO_ASSETS_STORE", "on a disk")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert said()["source bucket"] == (
        "failed oss://oss-cn-hangzhou-internal.aliyuncs.com/fleet: the endpoint cannot be reached (Name or service not "
        "known); asked at https://oss-cn-hangzhou-internal.aliyuncs.com, region cn-hangzhou, with the access key "
        "LTAI…y-id of the settings. Only machines in cn-hangzhou of Alibaba Cloud reach an internal endpoint; "
        "elsewhere use oss-cn-hangzhou.aliyuncs.com"
    )


@pytest.mark.parametrize("endpoint", ["https://oss-cn-hangzhou.aliyuncs.com/", "fleet.oss-cn-hangzhou.aliyuncs.com"])
def test_an_endpoint_that_is_more_than_a_host_stops_with_the_host(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSS_ENDPOINT", endpoint)
    monkeypatch.setenv("OSS_BUCKET", "fleet")
    with pytest.raises(SettingsError, match=r"^OSS_ENDPOINT: .* Write OSS_ENDPOINT=oss-cn-hangzhou\.aliyuncs\.com\.$"):
        load_settings()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"OSS_ACCESS_KEY_SECRET": "another-secret"},
            "the secret does not belong to the access key id (SignatureDoesNotMatch 403, 0002-00000201); "
            f"asked at {WAY}; the clocks agree. Correct OSS_ACCESS_KEY_SECRET",
        ),
        (
            {"OSS_ACCESS_KEY_ID": "LTAI-nobody-knows"},
            "OSS knows no such access key id (InvalidAccessKeyId 403); asked at "
            f"{WAY.replace('y-id', 'nows')}; the clocks agree. Correct OSS_ACCESS_KEY_ID",
        ),
        (
            {"OSS_REGION": "cn-elsewhere"},
            "requests are signed for another region than that of HOST (InvalidArgument 400, 0002-00000226); asked at "
            f"{WAY.replace('cn-test', 'cn-elsewhere')}; the clocks agree. "
            "Set OSS_REGION to the bucket's region, as in cn-hangzhou",
        ),
        (
            {"OSS_ACCESS_KEY_ID": "LTAI-ended-key-id", "OSS_SESSION_TOKEN": TOKEN},
            "the session token has expired or is not valid (SecurityTokenExpired 403, 0002-00000902); "
            f"asked at {WAY}; it is temporary, and nobody says when it ends; the clocks agree. "
            "Renew OSS_SESSION_TOKEN and both keys, and run again",
        ),
    ],
)
def test_keys_that_are_refused_say_which_and_show_none(
    server: OssServer, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], says: str
) -> None:
    server.accounts["LTAI-ended-key-id"] = Account(SECRET, TOKEN, datetime.now(UTC) - timedelta(hours=1))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = said()
    assert found["source bucket"] == f"failed oss://HOST/fleet: {says}"
    assert not [text for text in found.values() if SECRET in text or TOKEN in text or "another-secret" in text]


def test_half_a_pair_of_keys_names_the_other_half(server: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSS_ACCESS_KEY_SECRET")
    assert said()["source bucket"] == (
        "failed credentials for OSS: OSS_ACCESS_KEY_SECRET is not set. Set it, or take both keys away to use a role"
    )


def test_clocks_that_are_apart_are_told_before_and_after_oss_minds(server: OssServer) -> None:
    server.clock_ahead = timedelta(minutes=-5, seconds=-30)
    assert said()["source bucket"] == (
        f"warning oss://HOST/fleet can be listed at {WAY}; this machine's clock is 5 min ahead of the server's. "
        "Set the clock (NTP): requests are refused once it is 15 minutes off"
    )
    server.clock_ahead = timedelta(minutes=50, seconds=30)
    assert said()["source bucket"] == (
        "failed oss://HOST/fleet: this machine's clock is more than 15 minutes off that of OSS (RequestTimeTooSkewed "
        f"403, 0002-00000504); asked at {WAY}; this machine's clock is 50 min behind the server's. Set the clock by NTP"
    )


@pytest.mark.parametrize(
    ("operation", "component", "key"),
    [
        ("GetObject", "source", f"fleet/uploads/{VIDEO}"),
        ("PutObject", "store", "fleet/home/doctor/"),
        ("DeleteObject", "store", "fleet/home/doctor/"),
    ],
)
def test_each_right_that_is_missing_is_named(server: OssServer, operation: str, component: str, key: str) -> None:
    server.denied = {(operation, "fleet")}
    text = said()[component]
    assert text.startswith(f"failed oss://HOST/fleet: oss:{operation} is not allowed for oss://HOST/{key}")
    assert text.endswith(f"Give the RAM user or role the permission oss:{operation} on the bucket 'fleet'")


def test_a_bucket_with_versioning_says_what_it_cannot_do(server: OssServer) -> None:
    server.buckets["fleet"].versioning = "Enabled"
    assert "deleted; it overwrites even where asked not to (nothing relies on it); a lock was" in said()["store"]


def test_an_endpoint_that_is_dead_silent_or_down_is_told_within_seconds(
    server: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("video_assets.storage.oss_probe.PROBE_TIMEOUT_S", 1.0)
    monkeypatch.setenv("VIDEO_ASSETS_STORE", "on a disk")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port, kind in ((1, "Connection refused"), (silent.getsockname()[1], "TimeoutError")):
            monkeypatch.setenv("VIDEO_ASSETS_SOURCE", f"oss://127.0.0.1:{port}/fleet")
            begun = time.monotonic()
            assert said()["source bucket"] == (
                f"failed oss://HOST/fleet: the endpoint cannot be reached ({kind}); asked at {WAY}. "
                "Check the endpoint's name, the network and the proxy"
            )
            assert time.monotonic() - begun < 10
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", f"oss://{server.endpoint}/fleet")
    server.faults = [Fault(times=99, status=503, code="ServiceUnavailable")]
    assert "(ServiceUnavailable 503)" in said()["source bucket"]
    assert len(server.requests) == 1


def test_a_check_that_hangs_is_given_up(server: OssServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video_assets.doctor.examine.LIMIT_S", 0.5)
    server.faults = [Fault("GetObject", delay_s=3)]
    assert said()["source"] == "failed nothing was found out in 0.5 s. Look at its network and its disk"
