"""What doctor says of deployments on S3, healthy and broken, against a real S3 server process."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from video_assets.storage.s3_clients import Patience, connect
from video_assets_tests.doctor.places import PUT_AND_LOCKED, VIDEO, said
from video_assets_tests.servers.fault_proxy import Fault, FaultProxy
from video_assets_tests.servers.s3_server import ACCESS_KEY, SECRET_KEY, boto_client, make_bucket

WAY = "http://HOST, region us-east-1, with the access key te… of the environment"


@pytest.fixture
def bucket(s3_url: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of the test's own with one video below `uploads/`, set as source and as home."""
    name = make_bucket(s3_url)
    boto_client(s3_url).put_object(Bucket=name, Key=f"uploads/{VIDEO}", Body=b"video")
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", f"s3://{name}/uploads")
    monkeypatch.setenv("VIDEO_ASSETS_STORE", f"s3://{name}/home")
    monkeypatch.setenv("VIDEO_ASSETS_SETTLE_S", "0")
    yield name
    connect.cache_clear()


@pytest.fixture
def proxy(s3_url: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(s3_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


def test_a_healthy_deployment_is_told_in_facts(s3_url: str, bucket: str) -> None:
    assert said() == {
        "source bucket": f"ok s3://{bucket} can be listed at {WAY}; the clocks agree",
        "source": f"ok VIDEO_ASSETS_SOURCE=s3://{bucket}/uploads holds 1 video of 1 vehicle; "
        "they can be read; the right to write is not needed, and was not tried",
        "store bucket": f"ok s3://{bucket} can be listed at {WAY}; the clocks agree",
        "store": f"ok s3://{bucket}/home: {PUT_AND_LOCKED}",
    }
    listed = boto_client(s3_url).list_objects_v2(Bucket=bucket)["Contents"]
    kept = [entry["Key"] for entry in listed if not entry["Key"].startswith("home/.tmp/")]
    assert kept == [f"uploads/{VIDEO}"]


def test_nothing_is_ever_written_to_the_source(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_STORE", "nowhere")
    assert said()["source"].startswith("ok")
    assert {request.split()[0] for request in proxy.requests} == {"GET"}


def test_a_prefix_that_matches_nothing_names_what_is_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", f"s3://{bucket}/upload/2026")
    assert said()["source"] == (
        f"warning VIDEO_ASSETS_SOURCE=s3://{bucket}/upload/2026 holds nothing; s3://{bucket} holds uploads/. "
        "Correct VIDEO_ASSETS_SOURCE, or wait for uploads"
    )


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "AWS_ENDPOINT_URL_S3",
            "storage.local:9000",
            "s3://BUCKET: the endpoint storage.local:9000 has no scheme, or is no URL. "
            "Write AWS_ENDPOINT_URL_S3=https://storage.local:9000, or http:// for a server without TLS",
        ),
        (
            "AWS_ENDPOINT_URL_S3",
            "https://BUCKET.s3.eu-west-1.amazonaws.com",
            "s3://BUCKET: the endpoint that is set has the bucket 'BUCKET' in it. "
            "Write AWS_ENDPOINT_URL_S3=https://s3.eu-west-1.amazonaws.com; the bucket stands in s3://BUCKET",
        ),
        (
            "AWS_ENDPOINT_URL_S3",
            "https://storage.local/BUCKET",
            "s3://BUCKET: the endpoint that is set has the bucket 'BUCKET' in it. "
            "Write AWS_ENDPOINT_URL_S3=https://storage.local; the bucket stands in s3://BUCKET",
        ),
        (
            "AWS_SECRET_ACCESS_KEY",
            "",
            "s3://BUCKET: no credentials were found (PartialCredentialsError). "
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role",
        ),
        (
            "AWS_PROFILE",
            "nobody",
            "s3://BUCKET: no credentials were found (ProfileNotFound). "
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role",
        ),
        (
            "VIDEO_ASSETS_SOURCE",
            "s3://no-such-bucket-here/uploads",
            f"s3://no-such-bucket-here: there is no such bucket; asked at {WAY}; the clocks agree. "
            "Correct the bucket's name, AWS_ENDPOINT_URL_S3 or AWS_PROFILE, or make it",
        ),
    ],
)
def test_a_wrong_setting_says_what_to_write(
    bucket: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value.replace("BUCKET", bucket))
    found = said()
    assert found["source bucket"] == "failed " + says.replace("BUCKET", bucket)
    assert "source" not in found


def test_a_missing_region_is_asked_for_where_it_matters(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    words = f"failed s3://{bucket}: the region is not set. Set AWS_REGION to the bucket's region"
    assert said() == {"source bucket": words, "store bucket": words}


@pytest.mark.parametrize(
    ("fault", "says", "remedy"),
    [
        (
            Fault("list-type", 99, 403, "AccessDenied"),
            "is not permitted to these credentials",
            "Allow s3:ListBucket on the bucket, or use other credentials",
        ),
        (
            Fault("list-type", 99, 403, "SignatureDoesNotMatch"),
            "refuses the credentials (SignatureDoesNotMatch)",
            "Correct AWS_PROFILE, or the access key and its secret",
        ),
        (
            Fault("list-type", 99, 400, "ExpiredToken"),
            "the credentials have expired",
            "Renew them (`aws sso login`, or a new session token) and rerun; a role or profile renews by itself",
        ),
        (
            Fault("list-type", 99, 301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}),
            "lies in the region eu-west-1, not the one that is set",
            "Set AWS_REGION=eu-west-1",
        ),
        (
            Fault("list-type", 99, 503, "SlowDown"),
            "is overloaded (503 SlowDown)",
            "Rerun later, or with a smaller VIDEO_ASSETS_WORKERS",
        ),
    ],
    ids=lambda value: value.code if isinstance(value, Fault) else "",
)
def test_a_refusal_says_which_with_whose_key_and_where(
    proxy: FaultProxy, bucket: str, fault: Fault, says: str, remedy: str
) -> None:
    proxy.faults = [fault]
    found = said()
    assert found["source bucket"] == f"failed s3://{bucket}: {says}; asked at {WAY}. {remedy}"
    assert found.keys() == {"source bucket", "store bucket"}


def test_clocks_that_are_apart_are_told_before_and_after_s3_minds(proxy: FaultProxy, bucket: str) -> None:
    date = {"Date": format_datetime(datetime.now(UTC) + timedelta(minutes=50, seconds=30), usegmt=True)}
    proxy.faults = [Fault("list-type", 99, 403, "RequestTimeTooSkewed", date)]
    assert said()["source bucket"] == (
        f"failed s3://{bucket}: this machine's clock is wrong; asked at {WAY}; "
        "this machine's clock is 50 min behind the server's. Set the clock (NTP) and rerun"
    )


def test_each_right_that_is_missing_is_named(proxy: FaultProxy, bucket: str) -> None:
    proxy.faults = [Fault("GET .*front", 99, 403, "AccessDenied")]
    assert said()["source"] == (
        f"failed s3://{bucket}/uploads/{VIDEO}: is not permitted to these credentials. "
        "Allow s3:GetObject (and kms:Decrypt where it is encrypted)"
    )
    for method, right in (("PUT", "s3:PutObject"), ("DELETE", "s3:DeleteObject")):
        proxy.faults = [Fault(method, 99, 403, "AccessDenied")]
        assert said()["store"] == (
            f"failed s3://{bucket}/home: is not permitted to these credentials. "
            f"Allow {right} on the bucket, or use other credentials"
        )


def test_an_endpoint_that_is_dead_or_silent_is_told_within_seconds(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("video_assets.storage.s3_probe._ONCE", Patience(1, 1, 1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port, kind in ((1, "EndpointConnectionError"), (silent.getsockname()[1], "ReadTimeoutError")):
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("VIDEO_ASSETS_STORE", "on a disk")
            begun = time.monotonic()
            assert said()["source bucket"] == (
                f"failed s3://{bucket}: cannot be reached, or stopped answering ({kind}); asked at {WAY}. "
                "Look at the network, AWS_ENDPOINT_URL_S3 and AWS_REGION"
            )
            assert time.monotonic() - begun < 10


def test_temporary_keys_say_when_they_end_and_no_key_is_shown(
    bucket: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("aws")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_PROFILE", "fleet")
    ends = (datetime.now(UTC) + timedelta(minutes=30, seconds=30)).isoformat()
    (folder / "keys.json").write_text(
        f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}", '
        f'"SessionToken": "a-token-of-a-session", "Expiration": "{ends}"}}'
    )
    (folder / "config").write_text(f"[profile fleet]\ncredential_process = cat {folder}/keys.json\n")
    found = said()
    assert (
        "with the access key te… of the credential process of the profile fleet; it is temporary and renewed by itself"
        in found["source bucket"]
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-a-session")
    found |= {"environment": said()["source bucket"]}
    assert "of the environment; it is temporary, and ends at" in found["environment"]
    assert "in 30 min; the clocks agree. Renew the credentials, or use a role" in found["environment"]
    assert found["environment"].startswith("warning")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "fleet")
    (folder / "config").write_text(
        f"[profile fleet]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        "aws_session_token = a-token-of-a-session\n"
    )
    found |= {"again": said()["source bucket"]}
    assert "of the profile fleet; it is temporary, and nobody says when it ends" in found["again"]
    assert not [text for text in found.values() if SECRET_KEY in text or "a-token-of-a-session" in text]
