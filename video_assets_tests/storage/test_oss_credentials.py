"""Keys for OSS from the metadata of an ECS machine and from STS, over real HTTP."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from video_assets.settings import Settings
from video_assets.storage import oss_credentials
from video_assets.storage.object_store import StoreUnavailable
from video_assets.storage.oss_credentials import AccessKeys, RenewedKeys, assume_role, machine_role_keys
from video_assets.storage.registry import open_store
from video_assets_tests.servers.oss_environment import oss_environment
from video_assets_tests.servers.oss_server_signature import Account

SECRET, ROLE = "secret-of-the-user", "acs:ram::1:role/video"


class KeyServer:
    """The metadata service of a machine with the role `video`, and STS, which checks signatures."""

    def __init__(self) -> None:
        self.expires_in = timedelta(hours=1)
        self.given = 0
        self.is_broken = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, answer = server.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(500 if server.is_broken else status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            do_GET = do_PUT = do_POST = _respond

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, str]:
        place = "/latest/meta-data/ram/security-credentials/"
        has_token = headers.get("X-aliyun-ecs-metadata-token") == "hardened"
        match (method, path):
            case ("PUT", "/latest/api/token") if "X-aliyun-ecs-metadata-token-ttl-seconds" in headers:
                return 200, "hardened"
            case ("GET", _) if path == place and has_token:
                return 200, "video"
            case ("GET", _) if path == place + "video" and has_token:
                return 200, json.dumps({"Code": "Success", **self.keys()})
            case ("POST", "/"):
                return self.assume_role(dict(parse_qsl(body)))
        return 403, "forbidden"

    def assume_role(self, asked: dict[str, str]) -> tuple[int, str]:
        signature = asked.pop("Signature")
        pairs = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(asked.items()))
        to_sign = f"POST&%2F&{quote(pairs, safe='~')}"
        right = base64.b64encode(hmac.digest(f"{SECRET}&".encode(), to_sign.encode(), "sha1")).decode()
        if signature != right:
            return 400, json.dumps({"Code": "SignatureDoesNotMatch", "Message": "wrong signature"})
        if (asked["Action"], asked["RoleArn"]) != ("AssumeRole", ROLE):
            return 404, json.dumps({"Code": "EntityNotExist.Role", "Message": "The role not exists."})
        return 200, json.dumps({"Credentials": self.keys()})

    def keys(self) -> dict[str, str]:
        self.given += 1
        ends = (datetime.now(UTC) + self.expires_in).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = self.given
        return {
            "AccessKeyId": f"STS.{number}",
            "AccessKeySecret": f"hidden-{number}",
            "SecurityToken": f"token-{number}",
            "Expiration": ends,
        }


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_machine_gives_the_keys_of_its_role(key_server: KeyServer) -> None:
    keys = machine_role_keys(key_server.url)
    assert (keys.access_key_id, keys.secret, keys.token) == ("STS.1", "hidden-1", "token-1")
    assert keys.expires_at is not None
    assert keys.expires_at > datetime.now(UTC)
    assert "hidden" not in repr(keys)
    assert "token-1" not in repr(keys)


def test_a_role_is_taken_through_sts(key_server: KeyServer) -> None:
    keys = assume_role(AccessKeys("LTAI", SECRET), ROLE, key_server.url)
    assert (keys.access_key_id, keys.token) == ("STS.1", "token-1")


@pytest.mark.parametrize(
    ("secret", "role", "says"),
    [("wrong-secret", ROLE, "SignatureDoesNotMatch"), (SECRET, "acs:ram::1:role/none", "EntityNotExist.Role")],
)
def test_a_role_refused_says_why_and_no_secret(key_server: KeyServer, secret: str, role: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"{says}.*Correct OSS_ROLE_ARN") as error:
        assume_role(AccessKeys("LTAI", secret), role, key_server.url)
    assert secret not in str(error.value)


def test_no_machine_and_no_keys_say_what_to_set() -> None:
    with pytest.raises(StoreUnavailable, match=r"no RAM role.*Set OSS_ACCESS_KEY_ID"):
        machine_role_keys("http://127.0.0.1:9")


def test_temporary_keys_are_kept_until_shortly_before_their_end(key_server: KeyServer) -> None:
    keys = RenewedKeys(lambda: machine_role_keys(key_server.url))
    assert [keys.get_credentials().access_key_id for _ in range(3)] == ["STS.1"] * 3
    key_server.expires_in = oss_credentials.RENEW_BEFORE / 2
    soon = RenewedKeys(lambda: machine_role_keys(key_server.url))
    assert [soon.get_credentials().access_key_id for _ in range(2)] == ["STS.2", "STS.3"]


def test_keys_that_are_still_good_outlast_a_source_that_is_away(key_server: KeyServer) -> None:
    key_server.expires_in = oss_credentials.RENEW_BEFORE / 2
    keys = RenewedKeys(lambda: machine_role_keys(key_server.url))
    keys.get_credentials()
    key_server.is_broken = True
    assert keys.get_credentials().access_key_id == "STS.1"


def test_a_store_works_with_the_role_of_its_machine_and_renews_a_token_refused_as_expired(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oss_credentials.machine_role_keys, "__defaults__", (key_server.url,))
    with oss_environment(monkeypatch) as server:
        monkeypatch.delenv("OSS_ACCESS_KEY_ID")
        monkeypatch.delenv("OSS_ACCESS_KEY_SECRET")
        past, future = (datetime.now(UTC) + timedelta(days) for days in (-1, 1))
        server.accounts = {
            "STS.1": Account("hidden-1", "token-1", past),
            "STS.2": Account("hidden-2", "token-2", future),
        }
        store = open_store(f"oss://{server.endpoint}/fleet")
        store.put("a", b"bytes")
        assert store.get("a") == b"bytes"
        assert key_server.given == 2


def test_threads_that_are_refused_together_all_go_on_with_the_keys_of_the_first(key_server: KeyServer) -> None:
    keys = RenewedKeys(lambda: machine_role_keys(key_server.url))
    all_have, renewed = threading.Barrier(4), []

    def be_refused() -> None:
        keys.get_credentials()
        all_have.wait()
        renewed.append(keys.renew())

    threads = [threading.Thread(target=be_refused) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert renewed == [True] * 4
    assert key_server.given == 2


def test_the_settings_say_where_keys_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(oss_credentials, "assume_role", lambda *said: asked.append(said) or AccessKeys("STS.1", "s"))
    for name, value in (("ACCESS_KEY_ID", "LTAI"), ("ACCESS_KEY_SECRET", SECRET), ("ROLE_ARN", ROLE)):
        monkeypatch.setenv(f"OSS_{name}", value)
    assert oss_credentials.provider(Settings(), "cn-hangzhou").get_credentials().access_key_id == "STS.1"
    assert asked == [(AccessKeys("LTAI", SECRET), ROLE, "https://sts.cn-hangzhou.aliyuncs.com")]
    monkeypatch.delenv("OSS_ROLE_ARN")
    assert oss_credentials.provider(Settings(), "cn-hangzhou").get_credentials().access_key_id == "LTAI"
