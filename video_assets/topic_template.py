"""Topic of a recording → camera, by the template that a deployment sets: `/{camera}/{rest}`."""

from __future__ import annotations

import re
import string

from video_assets.path_template import TemplateError

_FIELDS = {"camera": r"(?P<camera>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})", "any": "[^/]+", "rest": ".+"}


def camera_pattern(template: str) -> re.Pattern[str]:
    """What topics of images look like; its group `camera` is the camera's name.

    `{camera}` is an id within one level, `{any}` anything within one, `{rest}` anything at all.

    Raises:
        TemplateError: unknown fields, or not one `{camera}`.
    """
    example = "Write for example /{camera}/{rest}."
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise TemplateError(template, f"is no template: {error}", example) from None
    names = [name for _, name, _, _ in parts if name is not None]
    if unknown := set(names) - set(_FIELDS):
        raise TemplateError(template, f"has the unknown field {{{min(unknown)}}}", example)
    if names.count("camera") != 1:
        raise TemplateError(template, "must have the field {camera} once", example)
    return re.compile("".join(re.escape(text) + (_FIELDS[name] if name else "") for text, name, _, _ in parts))
