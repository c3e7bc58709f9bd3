"""What is wrong with a deployment's variables, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic.fields import FieldInfo

from video_assets.environment import SettingsError

PREFIX = "VIDEO_ASSETS_"


_BOUNDS = {
    "greater_than": "too small: it must be greater than {gt:g}",
    "greater_than_equal": "too small: the least is {ge:g}",
    "less_than": "too large: it must be less than {lt:g}",
    "less_than_equal": "too large: the most is {le:g}",
    "finite_number": "no finite number",
    "float_parsing": "no number",
    "int_parsing": "no whole number",
    "int_from_float": "no whole number",
    "literal_error": "none of {expected}",
    "date_from_datetime_parsing": "no date",
    "date_parsing": "no date",
}
_UNQUOTED = {
    "source",
    "inventory",
    "video_list",
    "store",
    "index",
    "fleet_url",
    "odps_endpoint",
    "odps_tunnel_endpoint",
}
"""URIs, which may hold a password."""


def cause(fault: Any, field: str, info: FieldInfo) -> str:
    """What is wrong with a value, with the value itself and one that would do."""
    value, words = fault["input"], str(fault["msg"])
    hidden = field in _UNQUOTED or "SecretStr" in str(info.annotation)
    shown = "the value" if hidden or not isinstance(value, str | int | float) else repr(value)
    if fault["type"] == "value_error":
        words = words.removeprefix("Value error, ")
        return words if shown == "the value" or shown in words else f"{words} (it is {shown})"
    fault_words = _BOUNDS.get(fault["type"], "no value for it").format(**fault.get("ctx", {}))
    return f"{shown} is {fault_words}" + (f". Write for example {info.examples[0]}" if info.examples else "")


def refuse_unknown(names: Iterable[str], known: set[str]) -> None:
    """A misspelt setting would be ignored in silence.

    Raises:
        SettingsError: naming those that are not known, and what was meant.
    """
    unknown = {name: _meant(name, known) for name in sorted(names) if name not in known}
    unknown = {name: near for name, near in unknown.items() if near is not None or name.startswith(PREFIX)}
    if not unknown:
        return
    fault = "is no setting of video_assets" if len(unknown) == 1 else "are no settings of video_assets"
    meant = [f"{near} for {name}" if len(unknown) > 1 else near for name, near in unknown.items() if near]
    remedy = f"Did you mean {', '.join(meant)}?" if meant else "Remove it; docs/settings.md lists the settings."
    raise SettingsError(", ".join(unknown), fault, remedy)


def _meant(name: str, known: set[str]) -> str | None:
    """The setting that a name is a misspelling of; None for a name of something else."""
    if name.startswith(PREFIX):
        # The prefix is alike in all of them, and would make any two look alike.
        near = difflib.get_close_matches(name.removeprefix(PREFIX), [n.removeprefix(PREFIX) for n in known], 1, 0.7)
        return near[0] if near and near[0] in known else PREFIX + near[0] if near else None
    close = difflib.get_close_matches(name, known, 1, 0.93) if name.startswith("VIDEO") else []
    return close[0] if close else None
