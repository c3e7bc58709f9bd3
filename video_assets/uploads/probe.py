"""What a video says about itself, looked up in a process of its own: a damaged file may crash the decoder's library.

python -m video_assets.uploads.probe FILE
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 30.0

NOTHING = {"duration_s": None, "codec": None, "width": None, "height": None, "created_at": None}
"""What is said of a file that cannot be looked into."""


class Probe:
    """Looks into a file while it is sent. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "video_assets.uploads.probe", str(path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def result(self) -> dict[str, Any]:
        """Duration in seconds, codec, width and height in pixels, and the time that the file says it was made at; each
        None where it is not known.
        """
        with contextlib.suppress(subprocess.SubprocessError, OSError, ValueError):
            said = json.loads(self._process.communicate(timeout=TIMEOUT_S)[0])
            return {name: said.get(name) for name in NOTHING}
        return dict(NOTHING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _probe(path: str) -> dict[str, Any]:
    import av

    with av.open(path) as container:
        stream = next(iter(container.streams.video), None)
        created_at = container.metadata.get("creation_time")
        duration_s = round(container.duration / 1_000_000, 3) if container.duration else None
        if stream is None:
            return {"duration_s": duration_s, "created_at": created_at}
        size = {"width": stream.codec_context.width or None, "height": stream.codec_context.height or None}
        return {"duration_s": duration_s, "codec": stream.codec_context.name, **size, "created_at": created_at}


if __name__ == "__main__":
    print(json.dumps(_probe(sys.argv[1])))
