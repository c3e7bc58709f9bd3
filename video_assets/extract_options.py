"""What `video-assets frames extract` is asked for and says, without Typer; the plainest spelling of it is read here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from video_assets.plural import counted

if TYPE_CHECKING:
    from video_assets.stages.extraction import Extraction
    from video_assets.video.image import ImageFormat

SMALLEST_SIDE = 16
"""Pixels: the least `longest_side`."""

_TEXTS = {"--out": "out", "--fps": "fps", "--every": "every", "--crop": "crop", "--format": "image_format"}
_NUMBERS = {"--count": ("count", 1), "--longest-side": ("longest_side", SMALLEST_SIDE)}
_FLAGS = {"--keyframes": "keyframes", "--scenes": "scenes", "--shard": "shard", "--json": "as_json"}


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What one extraction is asked for, in words; by default as the command has it."""

    video: str
    out: Path
    fps: str | None = None
    every: str | None = None
    count: int | None = None
    keyframes: bool = False
    scenes: bool = False
    image_format: ImageFormat = "jpeg"
    shard: bool = False
    longest_side: int | None = None
    crop: str | None = None
    as_json: bool = False

    def prepare(self) -> Callable[[], Extraction]:
        """The extraction, to be called: all that it needs is imported.

        Raises:
            ValueError: the options make no sense; it says why.
        """
        from video_assets.stages.extraction import extract_to_folder
        from video_assets.video.crop import parse_crop
        from video_assets.video.image import ImageOptions
        from video_assets.video.sampling import parse_policy

        given = {"fps": self.fps, "every_s": self.every, "count": self.count}
        forms = [f"{name}={number}" for name, number in given.items() if number is not None]
        forms += ["keyframes"] * self.keyframes + ["scene"] * self.scenes
        if len(forms) != 1:
            raise ValueError("give one of --fps, --every, --count, --keyframes and --scenes")
        try:
            policy = parse_policy(forms[0])
            box = parse_crop(self.crop) if self.crop is not None else None
        except ValueError as error:
            raise ValueError(self._sampling_fault() or str(error)) from None
        images = ImageOptions(self.image_format, longest_side=self.longest_side)
        return lambda: extract_to_folder(self.video, self.out, policy, images, crop=box, shard=self.shard)

    def _sampling_fault(self) -> str:
        """What is wrong with a rate or a distance, by its option; empty where neither was given or both are good."""
        from video_assets.video.sampling import exact

        for option, text, unit in (("--every", self.every, "seconds"), ("--fps", self.fps, "frames per second")):
            try:
                good = text is None or exact(text) > 0
            except ValueError:
                good = False
            if not good:
                return f"{option} {text}: give {unit} above 0, such as 0.5 or 1/3"
        return ""


def in_words(result: Extraction, *, as_json: bool) -> str:
    """What the command prints of a result; its `error_msg` is told apart."""
    if as_json:
        import json

        return json.dumps(asdict(result), indent=2, default=str, ensure_ascii=False) + "\n"
    if result.error_msg and not result.frames:
        return ""
    return f"{counted(result.frames, 'frame')} in {result.seconds:.2f} s: {result.table}\n"


def read_plainly(arguments: list[str]) -> ExtractOptions | None:
    """The options of a command line that Typer would take, if it is one of the plainest spelling; else None.

    That is `frames extract`, one local file, and each option at most once, in full and apart from its value.
    """
    if arguments[:2] != ["frames", "extract"]:
        return None
    found: dict[str, Any] = {}
    rest = iter(arguments[2:])
    for word in rest:
        name, value = _option(word, rest)
        if name in found or value is None:
            return None
        found[name] = value
    return ExtractOptions(**found) if {"video", "out"} <= found.keys() else None


def _option(word: str, rest: Iterator[str]) -> tuple[str, Any]:
    """The name and value of the option that begins with `word`; a value of None where Typer has to look at it."""
    if word in _FLAGS:
        return _FLAGS[word], True
    text = word if not word.startswith("-") else next(rest, "")
    if not text or text.startswith("-"):
        return word, None
    if text is word:
        return "video", None if ":" in word else word
    if word in _NUMBERS:
        name, least = _NUMBERS[word]
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
        return name, number if number >= least else None
    if word == "--out":
        return "out", Path(text)
    if word == "--format" and text not in ("jpeg", "png"):
        return word, None
    return _TEXTS.get(word, word), text if word in _TEXTS else None
