"""The environment as settings: every wrong one stops with its variable, the cause and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from video_assets.settings import Settings, SettingsError, load_settings
from video_assets.video.crop import parse_crop
from video_assets.video.sampling import parse_policy


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDEO_ASSETS_STORE")
    monkeypatch.delenv("VIDEO_ASSETS_INDEX")


def test_defaults_load(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.store == (tmp_path / "data/store").as_uri()
    with pytest.raises(SettingsError, match="VIDEO_ASSETS_SOURCE: is not set"):
        settings.source_uri()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("VIDEO_ASSETS_SOURC", "x", "Did you mean VIDEO_ASSETS_SOURCE"),
        ("VIDEO_ASSETS_TIMEZONE", "Mars/Olympus", "VIDEO_ASSETS_TIMEZONE: 'Mars/Olympus' is no time zone"),
        ("VIDEO_ASSETS_TIMEZONE", "../../etc/passwd", "is no time zone"),
        (
            "VIDEO_ASSETS_PATH_TEMPLATE",
            "{veicle}/x",
            "VIDEO_ASSETS_PATH_TEMPLATE: has the unknown field {veicle}",
        ),
        ("VIDEO_EXTENSIONS", "mp4", "^VIDEO_EXTENSIONS: write extensions with their dot"),
        ("VIDEO_ASSETS_WORKERS", "0", "VIDEO_ASSETS_WORKERS: '0' is too small: the least is 1. Write for example 4"),
        ("VIDEO_ASSETS_START_DATE", "soon", r"START_DATE: 'soon' is no date.*2026-01-31 \(YYYY-MM-DD\)"),
        ("VIDEO_ASSETS_FAILURE_LIMIT", "20", r"'20' is too large: the most is 1. Write for example 0.2 \(20 %\)"),
        ("VIDEO_ASSETS_FOO", "x", "FOO: is no setting of video_assets. Remove it"),
        ("VIDEO_ASSET_SOURCE", "x", "Did you mean VIDEO_ASSETS_SOURCE"),
        ("VIDEO_EXTENSION", "x", "Did you mean VIDEO_EXTENSIONS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "fps=0", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "keyframes=", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "every_s=1e99999999", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "x", "fps=RATE, count=N, keyframes or scene"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "count=0", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "count=1.5", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "count=9999999999", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "scene=3", "write every_s=SECONDS"),
        ("VIDEO_EXTENSIONS", ".", "write extensions with their dot"),
        ("VIDEO_ASSETS_SETTLE_S", "inf", "VIDEO_ASSETS_SETTLE_S"),
        ("VIDEO_ASSETS_INDEX", "ftp://x", "write a directory"),
        ("VIDEO_ASSETS_INDEX", "localhost:6333", "write http://localhost:6333"),
        ("VIDEO_ASSETS_INDEX", "http://h:6333?api_key=s3cret", "without user, password or query"),
        ("VIDEO_ASSETS_PATH_TEMPLATE", "/{vehicle}/x{ext}", "empty"),
        ("VIDEO_ASSETS_PATH_TEMPLATE", "../{vehicle}/x{ext}", "empty"),
        ("VIDEO_ASSETS_FRAMES_SAMPLING", "fps=1/0", "write every_s=SECONDS"),
        ("VIDEO_ASSETS_EMBED_MODELS", "a,a", "each once"),
        ("VIDEO_ASSETS_CLIPS_MODE", "move", "copy"),
        ("VIDEO_ASSETS_FRAMES_CROP", "0,0,640", "write x,y,width,height in pixels, or auto"),
        ("VIDEO_ASSETS_FRAMES_CROP", "0,0,0,360", "write x,y,width,height"),
        ("VIDEO_ASSETS_FRAMES_CROP", "-2,0,640,360", "write x,y,width,height"),
        ("VIDEO_ASSETS_FRAMES_MIN_SHARPNESS", "nan", "VIDEO_ASSETS_FRAMES_MIN_SHARPNESS"),
        ("VIDEO_ASSETS_FRAMES_MIN_BRIGHTNESS", "256", "VIDEO_ASSETS_FRAMES_MIN_BRIGHTNESS"),
        ("VIDEO_ASSETS_FRAMES_MIN_PHASH_DISTANCE", "65", "VIDEO_ASSETS_FRAMES_MIN_PHASH_DISTANCE"),
        ("VIDEO_ASSETS_FRAMES_DAMAGED", "keep", "fail"),
        ("VIDEO_ASSETS_CLIP_SECONDS", "0", "VIDEO_ASSETS_CLIP_SECONDS: .*greater than 0"),
        ("VIDEO_ASSETS_CLIP_SECONDS", "nan", "VIDEO_ASSETS_CLIP_SECONDS: "),
        ("VIDEO_ASSETS_CLIP_SECONDS", "inf", "VIDEO_ASSETS_CLIP_SECONDS: "),
        ("VIDEO_ASSETS_CLIP_CUT", "exact", "VIDEO_ASSETS_CLIP_CUT: .*'fast' or 'accurate'"),
        ("VIDEO_ASSETS_CATALOGUE_URL", "mysql://u:p@h/db", "VIDEO_ASSETS_CATALOGUE_URL: write postgresql://user"),
        ("VIDEO_ASSETS_CATALOGUE_TABLE", "a.b.c", "write a table, or schema.table"),
        ("VIDEO_ASSETS_CATALOGUE_TABLE", 'c"; DROP TABLE x', "write a table, or schema.table"),
        ("VIDEO_ASSETS_CATALOGUE_COLUMNS", "name=x", "write NAME=COLUMN, where NAME is one of id, platform"),
        ("VIDEO_ASSETS_CATALOGUE_VIDEO", "{title}.mp4", "known are {platform}, {code}, {id}"),
        ("VIDEO_ASSETS_CATALOGUE_VIDEO", "fixed.mp4", "it names nothing of a record"),
        ("VIDEO_ASSETS_CATALOGUE_VIDEO", "{code.__class__}.mp4", "known are {platform}"),
        ("VIDEO_ASSETS_CATALOGUE_VIDEO", "s3://{platform}/x.mp4", "must not be of the record"),
        ("VIDEO_ASSETS_CATALOGUE_VIDEO", "{code", "a brace is not closed"),
        ("VIDEO_ASSETS_CATALOGUE_LEASE_S", "1", "VIDEO_ASSETS_CATALOGUE_LEASE_S: .*the least is 3"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        load_settings()


@pytest.mark.parametrize(
    "crop", ["auto", "0,60,1280,600", "3,5,7,00011", "0,0,0,5", "0,0,5,0", "1,2,3", "0,0,5,5,5", "x"]
)
def test_settings_and_engine_take_the_same_crops(monkeypatch: pytest.MonkeyPatch, crop: str) -> None:
    def taken(read: Callable[[], object]) -> bool:
        try:
            read()
        except (SettingsError, ValueError):
            return False
        return True

    monkeypatch.setenv("VIDEO_ASSETS_FRAMES_CROP", crop)
    assert taken(load_settings) == taken(lambda: parse_crop(crop))


@pytest.mark.parametrize("value", ["every_s=1/3", "fps=29.97", "count=8", "keyframes", "scene"])
def test_every_form_of_sampling_loads(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_FRAMES_SAMPLING", value)
    assert load_settings().frames_sampling == value


@given(value=st.text("0123456789./-+e _٣=", max_size=12), form=st.sampled_from(["every_s=", "fps=", "count=", ""]))
def test_settings_and_engine_agree_on_what_a_sampling_is(form: str, value: str) -> None:
    try:
        accepted = bool(Settings(frames_sampling=form + value))
    except ValidationError:
        accepted = False
    try:
        meant = bool(parse_policy(form + value))
    except ValueError:
        meant = False
    assert accepted == meant


def test_dot_env_in_the_working_directory_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("DAGSTER_HOME=/x\nVIDEO_ASSETS_WORKERS=3\nVIDEO_EXTENSIONS=.MP4,.ts\n")
    assert load_settings().workers == 3
    assert load_settings().video_extensions == (".mp4", ".ts")
    monkeypatch.setenv("VIDEO_ASSETS_WORKERS", "5")
    assert load_settings().workers == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("VIDEO_ASSETS_WORKERS=1\n".encode("utf-16"), r"/\.env: is not UTF-8\. Save it as UTF-8"),
        (b"A=1\n# words\nVIDEO_ASSETS_WORKERS: 1\n", r"/\.env line 3: cannot be read\. Write NAME=value"),
        (b'A="1\nB=2\n', r"/\.env line 1: cannot be read"),
    ],
)
def test_a_dot_env_that_cannot_be_read_is_said_once_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, says: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        load_settings()
    assert not caplog.records


def test_a_misspelt_name_in_dot_env_is_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VIDEO_ASSETS_STOR=x\n")
    with pytest.raises(SettingsError, match="Did you mean VIDEO_ASSETS_STORE"):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_QDRANT_API_KEY", "s3cret-value")
    settings = load_settings()
    assert "s3cret-value" not in repr(settings)
    assert "s3cret-value" not in settings.model_dump_json()


def test_a_wrong_secret_setting_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_QDRANT_API_KEY", "s3cret-value")
    monkeypatch.setenv("VIDEO_ASSETS_WORKERS", "none")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "s3cret-value" not in str(caught.value)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", "")
    assert load_settings().source is None


def test_windows_of_videos_that_stay_where_they_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_CLIP_SECONDS", "30")
    assert load_settings().clip_seconds == 30
    monkeypatch.setenv("VIDEO_ASSETS_CLIPS_MODE", "reference")
    with pytest.raises(SettingsError, match="CLIP_SECONDS: makes new files, and VIDEO_ASSETS_CLIPS_MODE=reference"):
        load_settings()


def test_a_catalogue_is_the_only_source_and_says_where_its_videos_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_CATALOGUE_URL", "postgresql://u:hidden-word@h/db")
    with pytest.raises(SettingsError, match="CATALOGUE_VIDEO: names keys of VIDEO_ASSETS_SOURCE, which is not set"):
        load_settings()
    monkeypatch.setenv("VIDEO_ASSETS_CATALOGUE_VIDEO", "s3://bucket/{code}.mp4")
    settings = load_settings()
    assert settings.has_source
    assert "hidden-word" not in f"{settings!r}{settings.model_dump_json()}"
    monkeypatch.setenv("VIDEO_ASSETS_VIDEO_LIST", str(tmp_path / "list.txt"))
    with pytest.raises(SettingsError, match="CATALOGUE_URL: stands beside VIDEO_ASSETS_VIDEO_LIST"):
        load_settings()


def test_a_store_inside_the_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", str(tmp_path))
    monkeypatch.setenv("VIDEO_ASSETS_STORE", str(tmp_path.with_name("elsewhere")))
    monkeypatch.setenv("VIDEO_ASSETS_INDEX", str(tmp_path.with_name("other")))
    load_settings()
    for name in ("VIDEO_ASSETS_STORE", "VIDEO_ASSETS_INDEX"):
        for place in (tmp_path, tmp_path / "inside"):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(place))
                with pytest.raises(SettingsError, match=f"{name}: lies in VIDEO_ASSETS_SOURCE"):
                    load_settings()


def test_a_bucket_of_oss_is_the_source_where_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_BUCKET", "fleet")
    with pytest.raises(SettingsError, match="OSS_BUCKET: needs OSS_ENDPOINT"):
        load_settings()
    monkeypatch.setenv("OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com")
    assert load_settings().source_uri() == "oss://oss-cn-hangzhou.aliyuncs.com/fleet"
    monkeypatch.setenv("OSS_PREFIX", "a b/c/")
    assert load_settings().source_uri() == "oss://oss-cn-hangzhou.aliyuncs.com/fleet/a%20b/c"
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", "oss://oss-cn-beijing.aliyuncs.com/other")
    assert load_settings().source_uri() == "oss://oss-cn-beijing.aliyuncs.com/other"


def test_a_store_inside_the_source_is_refused_through_whatever_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", "oss://oss-cn-hangzhou.aliyuncs.com/fleet/up")
    for inside in ("fleet/up", "fleet/up/home", "fleet/up/"):
        monkeypatch.setenv("VIDEO_ASSETS_STORE", f"oss://oss-cn-hangzhou-internal.aliyuncs.com/{inside}")
        with pytest.raises(SettingsError, match="VIDEO_ASSETS_STORE: lies in VIDEO_ASSETS_SOURCE"):
            load_settings()
    for apart in ("fleet/home", "fleet/up-2", "other/up"):
        monkeypatch.setenv("VIDEO_ASSETS_STORE", f"oss://oss-cn-hangzhou-internal.aliyuncs.com/{apart}")
        load_settings()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN", "VIDEO_ASSETS_QDRANT_API_KEY"):
        monkeypatch.setenv(name, "hidden-word")
    settings = load_settings()
    assert "hidden-word" not in f"{settings!r}{settings}{settings.model_dump_json()}"


def test_a_source_inside_the_store_and_an_index_that_is_the_store_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VIDEO_ASSETS_SOURCE", str(tmp_path / "store/uploads"))
    with pytest.raises(SettingsError, match="VIDEO_ASSETS_SOURCE: lies in VIDEO_ASSETS_STORE"):
        load_settings()
    monkeypatch.delenv("VIDEO_ASSETS_SOURCE")
    monkeypatch.setenv("VIDEO_ASSETS_INDEX", str(tmp_path / "store"))
    with pytest.raises(SettingsError, match="VIDEO_ASSETS_INDEX: is the same folder as VIDEO_ASSETS_STORE"):
        load_settings()


def test_every_unknown_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_ASSETS_SOURC", "x")
    monkeypatch.setenv("VIDEO_ASSETS_FOO", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.item == "VIDEO_ASSETS_FOO, VIDEO_ASSETS_SOURC"
    assert caught.value.remedy == "Did you mean VIDEO_ASSETS_SOURCE for VIDEO_ASSETS_SOURC?"
