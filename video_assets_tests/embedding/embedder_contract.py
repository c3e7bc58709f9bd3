"""What every `Embedder` must do; a model's tests subclass it and give the fixture `embedder`."""

from __future__ import annotations

import re

import numpy as np
import pytest

from video_assets.embedding.embedder import Embedder, embedder_identity, embedder_names
from video_assets.embedding.errors import EmbeddingFailed, TextNotUnderstood
from video_assets_tests.embedding.pictures import pictures


class EmbedderContract:
    def test_its_name_version_and_dim_are_those_of_its_identity(self, embedder: Embedder) -> None:
        assert embedder.name in embedder_names()
        assert embedder_identity(embedder.name) == (embedder.version, embedder.dim)
        assert re.fullmatch(r"[A-Za-z0-9.-]+", embedder.version)

    def test_pictures_of_any_size_become_unit_vectors(self, embedder: Embedder) -> None:
        vectors = embedder.embed_images(pictures())
        assert vectors.shape == (len(pictures()), embedder.dim)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

    def test_a_vector_does_not_depend_on_the_pictures_beside_it(self, embedder: Embedder) -> None:
        many = pictures() * 3
        together = embedder.embed_images(many)
        for picture, vector in list(zip(many, together, strict=True))[: len(pictures())]:
            assert embedder.embed_images([picture])[0] == pytest.approx(vector, abs=1e-5)
        assert embedder.embed_images(many[::-1])[::-1] == pytest.approx(together, abs=1e-5)

    def test_different_pictures_have_different_vectors(self, embedder: Embedder) -> None:
        vectors = embedder.embed_images(pictures())
        similarity = vectors @ vectors.T - 2 * np.eye(len(vectors), dtype=np.float32)
        assert similarity.max() < 0.9999

    def test_no_pictures_are_no_vectors(self, embedder: Embedder) -> None:
        vectors = embedder.embed_images([])
        assert vectors.shape == (0, embedder.dim)
        assert embedder.labels(vectors) == []

    @pytest.mark.parametrize(
        "not_a_picture",
        [
            np.zeros((8, 8, 3), np.float32),
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((0, 8, 3), np.uint8),
        ],
        ids=["float", "grey", "rgba", "empty"],
    )
    def test_what_is_no_rgb_picture_is_refused_by_its_place(
        self, embedder: Embedder, not_a_picture: np.ndarray
    ) -> None:
        with pytest.raises(EmbeddingFailed, match="picture 2"):
            embedder.embed_images([pictures()[0], not_a_picture])

    def test_text_becomes_a_unit_vector_of_the_same_space(self, embedder: Embedder) -> None:
        vector = embedder.embed_text("minivan")
        assert vector.shape == (embedder.dim,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert embedder.embed_text("minivan") == pytest.approx(vector)
        assert embedder.embed_text("rabbit") @ vector < 0.9999

    def test_empty_text_is_not_understood(self, embedder: Embedder) -> None:
        with pytest.raises(TextNotUnderstood):
            embedder.embed_text("  ")

    def test_every_vector_has_a_list_of_labels(self, embedder: Embedder) -> None:
        labels = embedder.labels(embedder.embed_images(pictures()))
        assert len(labels) == len(pictures())
        assert all(isinstance(label, str) for row in labels for label in row)
