"""Counts in words, singular and plural."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 video`, `2 videos`, `0 videos`; `2 partitions`. For nouns whose plural is formed with s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
