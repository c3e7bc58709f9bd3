"""From URIs to stores and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from video_assets.storage.object_store import InvalidUri, StoreUnavailable
from video_assets.storage.registry import check_uri, open_store, split_uri


@pytest.mark.parametrize(
    "form",
    [
        "{path}",
        "{path}/",
        "//{path}",
        "{path}/.//",
        "file://{path}",
        "file://{path}/",
        "file://localhost{path}",
        "file:{path}",
        "FILE://{path}",
    ],
)
def test_a_folder_has_one_store_however_it_is_written(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    store = open_store(form.format(path=tmp_path))
    assert store.uri == tmp_path.as_uri()
    assert store.get("a") == b"bytes"


@pytest.mark.parametrize("uri", ["/videos", "file:///videos", "s3://fleet/home", "oss://oss.example.com/fleet/home"])
def test_a_uri_is_checked_without_its_store(uri: str) -> None:
    check_uri(uri)


@pytest.mark.parametrize("uri", ["videos", "gs://fleet", "s3://", "oss://fleet/home"])
def test_a_uri_that_names_no_store_is_refused_without_it(uri: str) -> None:
    with pytest.raises(InvalidUri):
        check_uri(uri)


@pytest.mark.parametrize("name", ["a b", "100%", "ü", "q?x#y", "a:b", "tab\tnew\nline"])
def test_a_strange_folder_can_be_opened_by_path_and_by_uri(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "a").write_bytes(name.encode())
    uris = {open_store(form).uri for form in (str(folder), folder.as_uri(), open_store(str(folder)).uri)}
    assert len(uris) == 1
    assert open_store(uris.pop()).get("a") == name.encode()


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "videos").mkdir()
    assert open_store("~/videos").uri == (tmp_path / "videos").as_uri()
    assert split_uri("~/a.mp4") == (tmp_path.as_uri(), "a.mp4")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://", "begin with a bucket's name"),
        ("s3:bucket/prefix", "begin with a bucket's name"),
        ("s3://Bucket/prefix", "begin with a bucket's name.*AWS_ENDPOINT_URL_S3"),
        ("s3://127.0.0.1:9000/bucket/prefix", "begin with a bucket's name.*AWS_ENDPOINT_URL_S3"),
        ("s3://bucket--use1-az4--x-s3/a", "S3 Express"),
        ("s3://bucket/a//b/c", "holds '//'"),
        ("s3://bucket/../a/b", "'..'"),
        ("s3://bucket/a?x=1", "%3F"),
        ("gs://bucket", "unknown scheme 'gs'"),
        ("https://example.org/a", "unknown scheme 'https'"),
        ("videos", "relative path.*file:///.*/videos"),
        ("./videos", "relative path"),
        ("", "relative path"),
        ("file:videos", "relative path"),
        ("file://server/videos", "names the host 'server'.*three slashes"),
        ("file://~/videos", "names the host '~'"),
        ("/data/../etc/x", r"holds '\.\.'"),
        ("file:///data/%2e%2E/x", r"holds '\.\.'"),
        ("/data/\0x", "NUL"),
        ("file:///data/%00x", "NUL"),
        ("file:///data?x=1", "%3F"),
        ("file:///data#x", "%23"),
        ("/", "whole file system"),
        ("file:///", "whole file system"),
        ("//", "whole file system"),
        ("~no-such-user-here/x", "home folder that is not known"),
    ],
)
def test_what_is_no_store_says_why(uri: str, says: str) -> None:
    for use in (open_store, split_uri):
        with pytest.raises(InvalidUri, match=rf"(?s){says}|names a folder"):
            use(uri)


def test_errors_keep_secrets() -> None:
    for uri in ("s3://id:secret@bucket/a", "http://user:secret@host/a?sig=secret", "file://user:secret@host/a"):
        with pytest.raises(InvalidUri) as error:
            open_store(uri)
        assert "secret" not in str(error.value)


def test_a_missing_folder_is_typed_and_made_on_request(tmp_path: Path) -> None:
    uri = (tmp_path / "new" / "store").as_uri()
    with pytest.raises(StoreUnavailable, match=r"No such file.*Make the folder"):
        open_store(uri)
    assert open_store(uri, create=True).uri == uri
    assert (tmp_path / "new" / "store").is_dir()


def test_a_uri_of_an_object_gives_its_store_and_key(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for key in ("a.mp4", "a b/ü%?#.mp4", "x/y/z"):
        store.put(key, key.encode())
        root, name = split_uri(store.uri_of(key))
        assert open_store(root).get(name) == key.encode()
        assert split_uri(str(tmp_path / key)) == (root, name)
    bytes_key = "caf\udce9.mp4"
    assert split_uri(store.uri_of(bytes_key)) == (store.uri, bytes_key)


def test_a_uri_of_a_folder_names_no_object(tmp_path: Path) -> None:
    with pytest.raises(InvalidUri, match="names a folder"):
        split_uri(f"{tmp_path}/")
    with pytest.raises(InvalidUri, match="whole file system"):
        split_uri("/a.mp4")
