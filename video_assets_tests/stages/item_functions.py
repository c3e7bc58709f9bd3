"""A function for worker processes that does what its task says, the bad things too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from video_assets.embedding.errors import EmbedderUnavailable
from video_assets.stages.clips import ClipTask, make_clip
from video_assets.stages.frames import FramesTask, make_frames
from video_assets.stages.items import Outcome
from video_assets.storage.object_store import StoreUnavailable
from video_assets.tables import CLIPS, OK
from video_assets.video.errors import NotAVideo
from video_assets_tests.work.worker_functions import misbehave

WAYS = {"segfault": "segfault", "hang": "sleep", "hog": "eat memory", "leave": "exit 0"}
"""Cameras whose clips do to their worker what `misbehave` calls so."""

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


def clip_or_misbehave(task: ClipTask) -> Outcome:
    """As the stage, unless the clip's camera is named for something else."""
    _misbehave_as(task.video_path)
    return make_clip(task)


def frames_or_misbehave(task: FramesTask) -> Outcome:
    """As the stage, unless the clip's camera is named for something else."""
    _misbehave_as(task.label)
    return make_frames(task)


def _misbehave_as(video_path: str) -> None:
    camera = PurePosixPath(video_path).parent.name
    if camera in WAYS:
        misbehave(WAYS[camera])


def frames_and_peak(task: FramesTask) -> tuple[Outcome, int]:
    """What the stage makes of a clip, and the most memory (bytes) that this worker has had at any time."""
    outcome = make_frames(task)
    status = Path("/proc/self/status").read_text()
    return outcome, int(status.partition("VmHWM:")[2].split()[0]) * 1024
