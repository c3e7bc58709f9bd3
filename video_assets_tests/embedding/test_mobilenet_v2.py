from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from video_assets.embedding import mobilenet
from video_assets.embedding.embedder import Embedder, open_embedder
from video_assets.embedding.errors import EmbedderUnavailable, EmbeddingFailed, TextNotUnderstood
from video_assets_tests.embedding.embedder_contract import EmbedderContract
from video_assets_tests.embedding.pictures import footage, pictures


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder("mobilenet_v2")


class TestMobileNetV2(EmbedderContract):
    pass


@pytest.mark.parametrize(
    ("query", "video"),
    [
        ("rabbit", "bigbuckbunny"),
        ("minivan", "bikes"),
        ("taxi", "bikes"),
        ("mountain bikes", "bikes"),
        ("a photo of cars", "bikes"),
        ("seat belt", "carphone_pristine"),
    ],
)
def test_a_query_ranks_a_frame_that_shows_it_first(embedder: Embedder, query: str, video: str) -> None:
    sources = [name for name, frames in footage().items() for _ in frames]
    vectors = embedder.embed_images([frame for frames in footage().values() for frame in frames])
    best = int(np.argmax(vectors @ embedder.embed_text(query)))
    assert sources[best] == video


def test_the_nearest_frame_is_of_the_same_video(embedder: Embedder) -> None:
    sources = np.array([name for name, frames in footage().items() for _ in frames])
    vectors = embedder.embed_images([frame for frames in footage().values() for frame in frames])
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert np.mean(sources[similarity.argmax(axis=1)] == sources) >= 0.95


def test_threads_do_not_change_vectors(embedder: Embedder) -> None:
    vectors = open_embedder("mobilenet_v2", threads=2).embed_images(pictures())
    assert vectors == pytest.approx(embedder.embed_images(pictures()), abs=1e-5)


def test_labels_name_what_is_seen(embedder: Embedder) -> None:
    (labels,) = embedder.labels(embedder.embed_images([footage()["carphone_pristine"][7]]))
    assert len(labels) == 3
    assert {"seat belt", "Windsor tie", "suit"} & set(labels)


def test_a_text_that_is_not_understood_says_what_would_be(embedder: Embedder) -> None:
    with pytest.raises(TextNotUnderstood, match=r"'minvan'.*minivan.*CLIP"):
        embedder.embed_text("minvan")


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (1080, 1920), (272, 640), (144, 176)])
def test_a_picture_enters_the_network_whole_at_a_bounded_size(size: tuple[int, int]) -> None:
    height, width = mobilenet.network_size(*size)
    assert height % 32 == width % 32 == 0
    assert height * width <= 1.2 * 224 * 224
    assert (height > width) == (size[0] > size[1])


def test_colours_and_sides_stay_where_they_are() -> None:
    quarters = np.array([[[200, 10, 90], [0, 255, 30]], [[120, 60, 7], [33, 44, 250]]], np.uint8)
    resized = mobilenet.whole_frame(np.kron(quarters, np.ones((360, 640, 1), np.uint8)))
    assert resized.shape == (160, 288, 3)
    assert np.array_equal(resized[[40, 40, 120, 120], [72, 216, 72, 216]], quarters.reshape(4, 3))


def test_the_sides_of_a_wide_frame_count(embedder: Embedder) -> None:
    frame = footage()["bikes"][10]
    without_right = frame.copy()
    without_right[:, -frame.shape[1] // 5 :] = 0
    whole, cut = embedder.embed_images([frame, without_right])
    assert whole @ cut < 0.97


def test_a_vector_without_direction_is_refused() -> None:
    from video_assets.embedding.checks import unit_vectors

    for bad in (0.0, np.nan, np.inf):
        raw = np.ones((3, 4), np.float32)
        raw[1] = bad
        with pytest.raises(EmbeddingFailed, match="vector 2 of 3"):
            unit_vectors(raw)


def test_the_packaged_files_are_the_recorded_ones() -> None:
    recorded = json.loads((mobilenet.FOLDER / "provenance.json").read_text())["sha256"]
    for file, digest in recorded.items():
        assert hashlib.sha256((mobilenet.FOLDER / file).read_bytes()).hexdigest() == digest, file
    # Licences, this record and its README stand beside them, and nothing else.
    others = {path.name for path in mobilenet.FOLDER.iterdir()} - set(recorded)
    assert others == {"provenance.json", "README.md", "LICENSE-wordnet.txt", ".gitattributes"}
    assert sum(path.stat().st_size for path in mobilenet.FOLDER.iterdir()) < 10_000_000


def test_the_readme_and_the_script_tell_what_was_recorded() -> None:
    record = json.loads((mobilenet.FOLDER / "provenance.json").read_text())
    readme = (mobilenet.FOLDER / "README.md").read_text()
    agreement = record["half_precision_nearest_neighbour_agreement"]
    assert record["precision"] == "float16"
    assert agreement >= 0.99
    assert f"{agreement:.2%}".replace("%", " %") in readme
    assert f"{record['frames']} real frames" in readme
    assert f"{record['torch_largest_difference']:.1e}" in readme
    assert record["weights"]["sha256"] in readme
    script = Path(__file__).parents[2] / "scripts" / "export_mobilenet.py"
    assert record["weights"]["sha256"] in script.read_text()


def test_a_damaged_model_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mobilenet_v2"
    shutil.copytree(mobilenet.FOLDER, folder)
    (folder / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(mobilenet, "FOLDER", folder)
    with pytest.raises(EmbedderUnavailable, match=r"model\.onnx is damaged"):
        mobilenet.MobileNetV2()
    (folder / "model.onnx").unlink()
    with pytest.raises(EmbedderUnavailable, match=r"model\.onnx cannot be read"):
        mobilenet.MobileNetV2()
