"""Checks of how frames are sampled and embedded."""

from __future__ import annotations

from video_assets.doctor.finding import Finding
from video_assets.settings import Settings


def sampling_finding(settings: Settings) -> Finding:
    """Whether the rule of sampling can be met."""
    from video_assets.stages.frames import require_sampling

    require_sampling(settings)
    return Finding("sampling", "ok", settings.frames_sampling)


def model_finding(name: str, settings: Settings) -> Finding:
    """Whether a model loads and embeds."""
    import numpy as np

    from video_assets.embedding.embedder import open_embedder

    embedder = open_embedder(name, model_cache=settings.model_cache)
    vector = embedder.embed_images([np.full((64, 64, 3), 128, np.uint8)])[0]
    return Finding(f"model {name}", "ok", f"version {embedder.version}, {len(vector)} dimensions")
