"""The order of search results. The engines leave the order of equal scores, and which of them make
the limit, to chance; near-duplicate frames make equal scores common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from video_assets.vectors.vector_index import Hit


def as_hit(point_id: str, score: float, payload: dict[str, Any] | None) -> Hit:
    """A hit with the score in float32 precision, cut to -1..1, so that engine and wire do not show."""
    return Hit(point_id, min(1.0, max(-1.0, float(np.float32(score)))), payload or {})


def best_hits(search: Callable[[int], list[Hit]], limit: int) -> list[Hit]:
    """The `limit` best hits by descending score, then id.

    Args:
        search: called with n, returns the n best points, whichever of equal ones.
    """
    asked = limit + 1
    while True:
        hits = sorted(search(asked), key=lambda hit: (-hit.score, hit.id))
        if len(hits) < asked or hits[-1].score < hits[limit - 1].score:
            return hits[:limit]
        # All the way down to the last place the score is that of the limit: look further.
        asked *= 4
