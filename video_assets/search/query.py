"""Text → frames and image → frames, filtered by vehicle, camera and time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from video_assets.embedding.embedder import Embedder, embedder_names, open_embedder
from video_assets.errors import VideoAssetsError
from video_assets.keys import through_endpoint_of
from video_assets.settings import Settings
from video_assets.vectors.registry import open_vector_index
from video_assets.vectors.vector_index import Hit, PointFilter, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UnreadableQuery(VideoAssetsError):
    """A query that cannot be asked."""


@dataclass(frozen=True, slots=True)
class FoundFrame:
    """One frame that a search found. `score` is the cosine similarity; `captured_at` is None where unknown."""

    score: float
    image_id: str
    vehicle: str
    date: str
    camera: str | None
    captured_at: datetime | None
    pts_s: float
    frame_idx: int
    labels: tuple[str, ...]
    video_path: str
    clip_id: str
    image_url: str
    image_offset: int | None
    image_size_bytes: int


def search_text(
    settings: Settings, text: str, *, where: PointFilter, limit: int, model: str | None = None
) -> list[FoundFrame]:
    """The frames nearest to a text, best first.

    Raises:
        TextNotUnderstood: the model has no vector for the text.
        VectorIndexError: nothing was indexed yet, or the index cannot be asked.
    """
    embedder = _embedder(settings, model)
    return _nearest(settings, embedder, embedder.embed_text(text), where, limit)


def search_image(
    settings: Settings, path: Path, *, where: PointFilter, limit: int, model: str | None = None
) -> list[FoundFrame]:
    """The frames nearest to a picture on disk, best first.

    Raises:
        UnreadableQuery: the file is no JPEG or PNG picture.
        VectorIndexError: nothing was indexed yet, or the index cannot be asked.
    """
    from video_assets.video.image import decode_image

    if not path.is_file():
        cause = "is a folder, not a picture" if path.is_dir() else "no such file"
        raise UnreadableQuery(str(path), cause, "Give a JPEG or PNG file.")
    try:
        picture = decode_image(path.read_bytes(), label=str(path))
    except OSError as error:
        raise UnreadableQuery(
            str(path), f"cannot be read: {error.strerror or error}", "Give a JPEG or PNG file."
        ) from None
    embedder = _embedder(settings, model)
    return _nearest(settings, embedder, embedder.embed_images([picture])[0], where, limit)


def _embedder(settings: Settings, model: str | None) -> Embedder:
    if model in embedder_names() and model not in settings.embed_models:
        cause = f"is not in VIDEO_ASSETS_EMBED_MODELS ({', '.join(settings.embed_models)}), so no frame has its vector"
        raise UnreadableQuery(f"model {model}", cause, "Add it there and let the frames be embedded, or leave --model.")
    return open_embedder(model or settings.embed_models[0], model_cache=settings.model_cache)


def _nearest(
    settings: Settings, embedder: Embedder, vector: NDArray[np.float32], where: PointFilter, limit: int
) -> list[FoundFrame]:
    # While a model is replaced, its collection holds vectors of two versions, which cannot be compared.
    where = replace(where, model_version=embedder.version)
    with open_index(settings) as index:
        hits = index.query(embedder.name, vector, limit=limit, where=where)
    return [_found(hit, settings) for hit in hits]


@contextmanager
def open_index(settings: Settings) -> Iterator[VectorIndex]:
    """The deployment's vector index, closed afterwards."""
    index = open_vector_index(settings.index, api_key=settings.qdrant_api_key)
    try:
        yield index
    finally:
        index.close()


def _found(hit: Hit, settings: Settings) -> FoundFrame:
    payload: dict[str, Any] = dict(hit.payload)
    captured = payload.get("captured_at")
    return FoundFrame(
        score=hit.score,
        image_id=payload["image_id"],
        vehicle=payload["vehicle"],
        date=payload["date"],
        camera=payload.get("camera"),
        captured_at=None if captured is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=captured),
        pts_s=payload["pts_s"],
        frame_idx=payload["frame_idx"],
        labels=tuple(payload.get("labels", ())),
        video_path=through_endpoint_of(settings.source or "", payload["video_path"]),
        clip_id=payload["clip_id"],
        image_url=through_endpoint_of(settings.store, payload["image_url"]),
        image_offset=payload.get("image_offset"),
        image_size_bytes=payload["image_size_bytes"],
    )
