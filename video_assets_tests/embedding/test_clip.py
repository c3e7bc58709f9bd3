from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastembed", reason="the extra 'clip' is not installed")
pytest.importorskip("onnx", reason="onnx, which makes the tiny model, is not installed")

from video_assets.embedding.clip import Clip
from video_assets.embedding.embedder import Embedder, open_embedder
from video_assets.embedding.errors import EmbedderUnavailable, EmbeddingFailed
from video_assets_tests.embedding import tiny_clip, tiny_hub
from video_assets_tests.embedding.embedder_contract import EmbedderContract


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_clip.write_tiny_clip(folder)
    return folder


@pytest.fixture(scope="module")
def embedder(cache: Path) -> Embedder:
    return open_embedder("clip-vit-b-32", model_cache=cache)


class TestClip(EmbedderContract):
    pass


def test_pixels_reach_the_model_as_its_files_say(embedder: Embedder) -> None:
    """A picture of flat quarters: resizing and the crop leave their means, so the vector is known."""
    quarters = np.array([[[200, 10, 90], [0, 255, 30]], [[120, 60, 7], [33, 44, 250]]], np.uint8)
    picture = np.kron(quarters, np.ones((tiny_clip.SIDE // 2, tiny_clip.SIDE // 2, 1), np.uint8))
    normal = (quarters / 255 - tiny_clip.MEAN) / tiny_clip.STD
    raw = normal.transpose(2, 0, 1).reshape(-1) @ tiny_clip.vision_weights(embedder.dim)
    assert embedder.embed_images([picture])[0] == pytest.approx(raw / np.linalg.norm(raw), abs=1e-4)


def test_all_words_of_a_free_text_count(embedder: Embedder) -> None:
    red, any_colour = embedder.embed_text("a photo of a red minivan"), embedder.embed_text("a photo of a minivan")
    assert 0.5 < red @ any_colour < 0.999
    assert red @ any_colour > embedder.embed_text("rabbit") @ any_colour


def test_a_snapshot_in_the_layout_of_the_hub_s_cache_is_found(cache: Path, tmp_path: Path) -> None:
    for half in ("vision", "text"):
        repository = tmp_path / f"models--Qdrant--clip-ViT-B-32-{half}"
        shutil.copytree(cache / f"clip-ViT-B-32-{half}", repository / "snapshots" / ("f" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("f" * 40)
    assert Clip(model_cache=tmp_path).embed_text("rabbit").shape == (512,)


OPEN_CLIP = """
import sys, time
from pathlib import Path
from video_assets.embedding import clip
from video_assets.embedding.errors import EmbedderUnavailable
import fastembed, huggingface_hub
clip.HUB_TIMEOUT_S = 0.5
started = time.monotonic()
try:
    print(clip.Clip(model_cache=Path(sys.argv[1])).embed_text("rabbit").shape)
except EmbedderUnavailable as error:
    print(f"{time.monotonic() - started:.1f} s", error)
"""


def open_clip_elsewhere(cache: Path, hub: str) -> str:
    """Open CLIP in a process that takes `hub` for the Hugging Face hub, which is read once, on import."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_CLIP, str(cache)],
        env={"HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1", "HOME": str(cache), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_what_is_nowhere_is_downloaded_once(cache: Path, tmp_path: Path) -> None:
    with tiny_hub.serving({f"Qdrant/{folder.name}": folder for folder in cache.iterdir()}) as hub:
        assert open_clip_elsewhere(tmp_path, hub) == "(512,)"
    assert open_clip_elsewhere(tmp_path, hub) == "(512,)"  # the hub is gone


def test_an_absent_hub_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = open_clip_elsewhere(tmp_path, f"http://127.0.0.1:{port}")
    assert float(told.split()[0]) < 10
    assert "Qdrant/clip-ViT-B-32-vision is not in" in told
    assert "VIDEO_ASSETS_MODEL_CACHE" in told
    assert "VIDEO_ASSETS_EMBED_MODELS" in told


def test_a_silent_hub_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = open_clip_elsewhere(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert float(told.split()[0]) < 10
    assert "cannot be downloaded" in told


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(EmbedderUnavailable, match=r"pip install 'video-assets\[clip\]'"):
        Clip()


def test_files_that_do_not_load_are_named(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(cache, tmp_path / "models")
    (tmp_path / "models" / "clip-ViT-B-32-text" / "tokenizer.json").unlink()
    with pytest.raises(EmbedderUnavailable, match=r"clip-ViT-B-32-text do not load \(.*tokenizer\.json"):
        Clip(model_cache=tmp_path / "models")


def test_files_of_another_model_are_refused(tmp_path: Path) -> None:
    tiny_clip.write_tiny_clip(tmp_path, dim=768)
    with pytest.raises(EmbeddingFailed, match="another model"):
        Clip(model_cache=tmp_path).embed_text("rabbit")
