"""A function for worker processes that does what its task says, the bad things too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from video_assets.embedding.errors import EmbedderUnavailable
from video_assets.stages.items import Outcome
from video_assets.storage.object_store import StoreUnavailable
from video_assets.tables import CLIPS, OK
from video_assets.video.errors import NotAVideo

ERRORS = {
    "ValueError": ValueError("planted"),
    "NotAVideo": NotAVideo("planted", "is no video"),
    "EmbedderUnavailable": EmbedderUnavailable("planted", "is away"),
    "StoreUnavailable": StoreUnavailable("planted", "is away"),
}


@dataclass(frozen=True)
class Behaviour:
    """What an item does: sleep, die by a signal, raise (until a file exists), else succeed."""

    name: str = ""
    log: str = ""
    sleep_s: float = 0
    signal: int = 0
    error: str = ""
    until: str = ""


def behave(task: Behaviour) -> Outcome:
    if task.log:
        with Path(task.log).open("a") as log:
            log.write("made\n")
    time.sleep(task.sleep_s)
    if task.signal:
        os.kill(os.getpid(), task.signal)
        time.sleep(10)
    if task.error and not (task.until and Path(task.until).exists()):
        raise ERRORS[task.error]
    return Outcome(CLIPS.rows([{"clip_id": task.name, "video_path": f"file:///{task.name}", "status": OK}]))
