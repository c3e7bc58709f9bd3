"""Every form and fault of a fleet's batch API, through real HTTP."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from video_assets.sources.fleet.client import ATTEMPTS, FleetClient
from video_assets.sources.fleet.errors import BrokenDownload, FleetError, FleetStopped, NotReady, UnexpectedReply
from video_assets.sources.fleet.token import FleetToken, expiry
from video_assets_tests.servers.fleet_api import SECRET_QUERY, TOKEN, FleetApi, serve_fleet_api

START = 1_767_600_000
BAG = b"#ROSBAG V2.0\n" + bytes(range(256)) * 400
NAME = f"veh-1_front_{START}.bag"


@pytest.fixture
def api() -> Iterator[FleetApi]:
    with serve_fleet_api(FleetApi(bags={("veh-1", "front", START): BAG})) as served:
        yield served


def client(api: FleetApi, **changes: Any) -> FleetClient:
    options: dict[str, Any] = {"interval_s": 0.0, "min_valid_bytes": 1000, "sleep": lambda seconds: None}
    return FleetClient(api.url, FleetToken(SecretStr(TOKEN)), **{**options, **changes})


def fetched(api: FleetApi, folder: Path, **changes: Any) -> bytes:
    path = folder / "a.bag"
    size = client(api, **changes).fetch(NAME, path)
    assert [entry.name for entry in folder.iterdir()] == ["a.bag"]
    assert size == path.stat().st_size
    return path.read_bytes()


@pytest.mark.parametrize("form", ["json", "string", "text"])
def test_each_form_of_a_name(api: FleetApi, form: str) -> None:
    api.name_form = form
    assert client(api).find("veh-1", "front", START, START + 30) == NAME
    assert api.asked[0].query == {
        "vehicle": "veh-1",
        "camera": "front",
        "startTime": str(START),
        "endTime": str(START + 30),
    }


@pytest.mark.parametrize("status", [400, 404])
def test_no_footage_is_an_answer(api: FleetApi, status: int) -> None:
    api.no_footage = status
    assert client(api).find("veh-1", "front", START + 30, START + 60) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Sign in</html>"),
        ("application/json", b'{"name": "a.bag"}'),
        ("application/json", b"[1]"),
        ("application/json", b'{"filename": "../../etc/a.bag"}'),
        ("text/plain", b"/a.bag"),
        ("text/plain", b"a.mp4"),
        ("text/plain", b""),
    ],
)
def test_any_other_reply_is_quoted(api: FleetApi, kind: str, body: bytes) -> None:
    api.raw_reply = (kind, body + b" " * 500)
    with pytest.raises(UnexpectedReply, match="names no bag") as error:
        client(api).find("veh-1", "front", START, START + 30)
    assert kind in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "way",
    [*(f"redirect-{status}" for status in (301, 302, 303, 307, 308)), "text", "json", "binary", "direct"],
)
@pytest.mark.parametrize("head", [True, False], ids=["HEAD", "no HEAD"])
def test_each_way_to_a_bag(api: FleetApi, tmp_path: Path, way: str, head: bool) -> None:
    api.way, api.head = way, head
    assert fetched(api, tmp_path) == BAG
    assert {asked.authorization for asked in api.asked if asked.port == "presigned"} <= {""}
    assert {asked.authorization for asked in api.asked if asked.port == "service"} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("status", [404, 500, 503])
def test_it_waits_until_a_bag_is_ready(api: FleetApi, tmp_path: Path, status: int) -> None:
    api.polls, api.not_ready = 4, status
    slept: list[float] = []
    assert fetched(api, tmp_path, sleep=slept.append) == BAG
    assert slept == [3.0, 4.5, 6.75, 10.125]


def test_a_bag_that_is_never_ready_is_given_up(api: FleetApi, tmp_path: Path) -> None:
    api.polls = 1_000_000
    with pytest.raises(NotReady, match=r"is not ready after 2 s \(status 503\)"):
        fetched(api, tmp_path, max_wait_s=2.0)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("way", ["chunked", "direct"])
@pytest.mark.parametrize("size", [1000, 8191, 8192, 8193, 40_000])
def test_a_bag_of_any_size_may_come_by_itself(api: FleetApi, tmp_path: Path, way: str, size: int) -> None:
    api.way, api.bags["veh-1", "front", START] = way, BAG[:size]
    assert fetched(api, tmp_path) == BAG[:size]


@pytest.mark.parametrize("way", ["redirect-302", "direct"])
def test_a_broken_transfer_is_gone_on_with(api: FleetApi, tmp_path: Path, way: str) -> None:
    api.way, api.cuts = way, [30_000, 20_000]
    assert fetched(api, tmp_path) == BAG
    ranges = [asked.range for asked in api.asked if asked.range]
    assert len(ranges) == (2 if way == "redirect-302" else 0)


def test_a_host_without_ranges_sends_it_all_again(api: FleetApi, tmp_path: Path) -> None:
    api.cuts, api.ranges = [30_000], False
    assert fetched(api, tmp_path) == BAG


def test_a_length_that_is_a_lie_is_no_bag(api: FleetApi, tmp_path: Path) -> None:
    api.lie_about_length, api.ranges = True, False
    with pytest.raises(FleetError, match=f"{ATTEMPTS} times"):
        fetched(api, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_bag_that_is_too_small_is_refused(api: FleetApi, tmp_path: Path) -> None:
    with pytest.raises(BrokenDownload, match="fewer than 1000000"):
        fetched(api, tmp_path, min_valid_bytes=1_000_000)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("fault", [500, 502, 503, 429])
def test_what_passes_is_asked_again(api: FleetApi, fault: int) -> None:
    api.faults["/v1/video"] = [fault] * (ATTEMPTS - 1)
    assert client(api).find("veh-1", "front", START, START + 30) == NAME
    api.faults["/v1/video"] = [fault] * ATTEMPTS
    with pytest.raises(FleetError, match=f"{ATTEMPTS} times"):
        client(api).find("veh-1", "front", START, START + 30)


def test_retry_after_is_kept_by_all(api: FleetApi) -> None:
    api.faults["/v1/video"], api.retry_after = [429], "1"
    client(api).find("veh-1", "front", START, START + 30)
    first, second = (asked.at_s for asked in api.asked)
    assert second - first >= 0.99


def test_the_rate_is_kept_over_all_clients(api: FleetApi) -> None:
    begun = time.monotonic()
    for _ in range(3):
        client(api, interval_s=0.25).find("veh-1", "front", START, START + 30)
    assert time.monotonic() - begun >= 0.5, "the third waits for its turn"
    assert len(api.asked) == 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_taken_stops_everything(api: FleetApi, status: int) -> None:
    api.faults["/v1/video"] = [status] * 9
    with pytest.raises(FleetStopped, match="is not taken by the service") as error:
        client(api).find("veh-1", "front", START, START + 30)
    assert TOKEN not in str(error.value)
    assert len(api.asked) == 1


def test_no_secret_is_in_an_error(api: FleetApi, tmp_path: Path) -> None:
    api.faults["/bags"] = [403] * 9
    with pytest.raises(FleetError) as error:
        fetched(api, tmp_path)
    api.faults["/bags"], api.cuts = [], [10] * 9
    api.ranges = False
    with pytest.raises(FleetError) as broken:
        fetched(api, tmp_path)
    told = f"{error.value!r} {error.value.__cause__!r} {broken.value!r} {client(api)!r}"
    assert TOKEN not in told
    assert SECRET_QUERY not in told


def jwt(expires: float) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2ln"


def test_an_expired_token_is_noticed_before_anything_is_asked(api: FleetApi) -> None:
    token = FleetToken(SecretStr(jwt(time.time() - 60)))
    with pytest.raises(FleetStopped, match="expired at"):
        FleetClient(api.url, token).find("veh-1", "front", START, START + 30)
    assert not api.asked


def test_a_token_file_is_read_again_when_it_changes(api: FleetApi, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    token = FleetToken(file=file)
    asking = FleetClient(api.url, token, interval_s=0)
    with pytest.raises(FleetStopped):
        asking.find("veh-1", "front", START, START + 30)
    file.write_text(TOKEN)
    os.utime(file, ns=(1, 1))
    assert asking.find("veh-1", "front", START, START + 30) == NAME
    assert TOKEN not in repr(token)


@pytest.mark.parametrize("text", ["a.b", "a.b.c", "", f"e30.{'x' * 9}.c", jwt(float("1e30"))])
def test_a_token_that_does_not_say_when_it_expires_is_taken(text: str) -> None:
    assert expiry(text) is None
