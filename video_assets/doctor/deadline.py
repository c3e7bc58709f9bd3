"""An end to checks that would wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from video_assets.errors import VideoAssetsError

Found = TypeVar("Found")

LIMIT_S = 60.0
"""For one check; a bucket that does not answer is told within 10 s by its own."""


class CheckTookTooLong(VideoAssetsError):
    """A check was not done in time."""


def within(limit_s: float, component: str, check: Callable[[], Found]) -> Found:
    """What the check finds. One that takes longer is left alone, in a thread that ends with the process.

    Raises:
        CheckTookTooLong: there was nothing after `limit_s` seconds.
    """
    outcome: list[Found | BaseException] = []

    def run() -> None:
        try:
            outcome.append(check())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name=f"doctor: {component}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise CheckTookTooLong(
            component, f"nothing was found out in {limit_s:g} s", "Look at its network and its disk."
        )
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
