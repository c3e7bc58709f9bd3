"""The code location without its sensors, which would begin the work that a benchmark is to begin."""

from __future__ import annotations

import dagster as dg

from video_assets.definitions import defs as _defs

defs = dg.Definitions(assets=_defs.assets, resources=_defs.resources, jobs=_defs.jobs, executor=_defs.executor)
