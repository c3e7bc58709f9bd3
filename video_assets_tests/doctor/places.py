"""What doctor says of source and store, as it stands on the terminal."""

from __future__ import annotations

import re

from video_assets.doctor.examine import examine
from video_assets.settings import load_settings
from video_assets.storage.oss_client import close_connections
from video_assets.storage.s3_clients import connect

VIDEO = "veh-1/2026-01-05/front/083000.mp4"

PUT_AND_LOCKED = "; ".join(
    (
        "a byte was put, read and deleted",
        "it refuses to overwrite where asked",
        "a lock was taken and freed",
        "nothing made yet",
    )
)


def said() -> dict[str, str]:
    """`verdict text. remedy` of each finding about source and store; ports, times and ids of requests are replaced."""
    connect.cache_clear()
    close_connections()
    found = {}
    for finding in examine(load_settings()):
        if finding.component == "index":
            break
        text = f"{finding.verdict} {finding.text}. {finding.remedy}".strip().removesuffix(".")
        text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
        found[finding.component] = re.sub(r", request [0-9A-F]{24}", "", text)
    return {name: text for name, text in found.items() if name.split()[0] in ("source", "store")}
