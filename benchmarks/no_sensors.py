"""The code location without its sensors, which would begin the work that a benchmark is to begin."""

from __future__ import annotations

from dataclasses import replace

from video_assets.definitions import defs as _defs

defs = replace(_defs, sensors=[])
