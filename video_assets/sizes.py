"""Sizes in words."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def in_words(size_bytes: int) -> str:
    """`999 B`, `1.5 MiB`, `10.0 GiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    step = min((size_bytes.bit_length() - 1) // 10, len(_UNITS))
    return f"{size_bytes / 1024**step:.1f} {_UNITS[step - 1]}"
