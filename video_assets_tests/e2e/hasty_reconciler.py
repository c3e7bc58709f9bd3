"""The code location with a reconciler that ticks every few seconds: in the deployment's own it is minutes."""

from video_assets.definitions import defs
from video_assets.defs.reconciler import reconciler

reconciler._min_interval = 5

__all__ = ["defs"]
