"""The one base of every error this package raises on purpose."""

from __future__ import annotations

from typing import NoReturn


class VideoAssetsError(Exception):
    """Something a person can mend: names the item, the cause and the way out.

    Args:
        item: what it happened to: a file, a key, a setting, a partition.
        cause: what is wrong with it, in one sentence without a final full stop.
        remedy: what to do about it; empty where nothing but a repair of the item helps.

    Errors cross process boundaries, so every subclass keeps this signature.
    """

    def __init__(self, item: str, cause: str, remedy: str = "") -> None:
        super().__init__(item, cause, remedy)
        self.item = item
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.item}: {self.cause}"
        return f"{text}. {self.remedy}" if self.remedy else text


def raise_alone(error: VideoAssetsError) -> NoReturn:
    """Raises an error without the one being handled, for a pickle as for an eye.

    For errors of an SDK that quote a service's answer, session token and all. `raise … from None` hides the other
    error and keeps it; packages that teach exceptions to be pickled (pyodps brings one) would write it out.
    """
    try:
        raise error from None
    finally:
        error.__context__ = None
