"""What can go wrong with a model."""

from __future__ import annotations

from typing import ClassVar

from video_assets.errors import VideoAssetsError


class UnknownEmbedder(VideoAssetsError):
    """No model has this name."""


class EmbedderUnavailable(VideoAssetsError):
    """The model is known, but its package or its files are not on this machine."""

    stage: ClassVar[str] = "model"


class TextNotUnderstood(VideoAssetsError):
    """The model cannot make a vector of this text; the remedy says which texts it can."""


class EmbeddingFailed(VideoAssetsError):
    """The model was given no picture, or gave back no usable vector for one."""
