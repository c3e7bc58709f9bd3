from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from video_assets.embedding.embedder import embedder_identity, embedder_names, open_embedder
from video_assets.embedding.errors import EmbedderUnavailable, TextNotUnderstood, UnknownEmbedder


def test_the_default_needs_no_download() -> None:
    assert embedder_names()[0] == "mobilenet_v2"


def test_a_model_is_opened_once_a_process() -> None:
    assert open_embedder("mobilenet_v2") is open_embedder("mobilenet_v2", threads=1)


@pytest.mark.parametrize("ask", [open_embedder, embedder_identity])
def test_an_unknown_name_is_told_the_known_ones(ask) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownEmbedder, match=r"'resnet'.*VIDEO_ASSETS_EMBED_MODELS takes mobilenet_v2, clip"):
        ask("resnet")


def test_an_identity_loads_no_heavy_library() -> None:
    code = """
import sys
from video_assets.embedding.embedder import embedder_identity, embedder_names
for name in embedder_names():
    embedder_identity(name)
print([name for name in ("onnxruntime", "PIL", "fastembed", "huggingface_hub") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [TextNotUnderstood, EmbedderUnavailable, UnknownEmbedder])
def test_errors_cross_process_boundaries(kind: type[Exception]) -> None:
    error = kind("item", "cause", "remedy")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "item: cause. remedy"
