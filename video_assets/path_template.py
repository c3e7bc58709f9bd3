"""Object key ↔ vehicle, date, camera and start time, by the template that a deployment sets.

A template is a path with fields: `{vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}`.

| field | matches |
|---|---|
| `{vehicle}`, `{camera}` | an id within one path segment |
| `{date:FORMAT}` | a calendar date, by strptime directives |
| `{start:FORMAT}` | a time of day, or a whole date and time |
| `{ext}` | one of the video extensions, in any case |
| `{any}` | anything within one path segment |
| `{rest}` | anything at all, slashes too |

Without `{date}` and without a date in `{start}`, the day is that of the upload. A key that can be read in two ways is
not guessed at: it does not match.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from video_assets.errors import VideoAssetsError
from video_assets.keys import InvalidId, Partition, check_id

_DIRECTIVES = {
    "Y": r"[0-9]{4}",
    "m": r"[0-9]{2}",
    "d": r"[0-9]{2}",
    "H": r"[0-9]{2}",
    "M": r"[0-9]{2}",
    "S": r"[0-9]{2}",
    "f": r"[0-9]{1,6}",
    "y": r"[0-9]{2}",
    "j": r"[0-9]{3}",
    "%": "%",
}
_DATE_DIRECTIVES = (set("Ymd"), set("ymd"), set("Yj"), set("yj"))
_ONCE = ("vehicle", "camera", "date", "start", "ext", "rest")
_FIELDS = (*_ONCE, "any")
_DAY = set("Ymdyj")
_EXAMPLE = "Write for example {vehicle}/{date:%Y-%m-%d}/{camera}/{start:%H%M%S}{ext}."


class TemplateError(VideoAssetsError):
    """A path template that cannot be used."""


class Unmatched(VideoAssetsError):
    """A key that the template does not read; `cause` becomes the reason in the table `unmatched`.

    What stands before a cause's first colon is of few kinds, so that reasons can be counted.
    """


@dataclass(frozen=True, slots=True)
class KeyFields:
    """What a key says of its video. `start_time` is UTC; None where the path names no time of day."""

    partition: Partition
    camera: str | None
    start_time: datetime | None


@dataclass(frozen=True)
class PathTemplate:
    """A parsed template. `path_zone` is the zone of the times in paths, `fleet_zone` that of a partition's day.

    Raises:
        TemplateError: unknown or repeated fields, formats that name no date or time, fields that touch.
    """

    template: str
    extensions: tuple[str, ...]
    path_zone: ZoneInfo
    fleet_zone: ZoneInfo

    def __post_init__(self) -> None:
        names = [name for _, name, _ in self._tokens if name]
        folders = self.template.split("/")
        if "" in folders or {".", ".."} & set(folders):
            raise self._error(
                "begins or ends with '/', or has an empty, '.' or '..' folder", "Keys have none of these."
            )
        for name in names:
            if name in _ONCE and names.count(name) > 1:
                raise self._error(f"names the field {{{name}}} more than once")
        for folder in folders:
            if len(re.findall(r"\{(?:vehicle|camera|any|rest)", folder)) > 3:
                raise self._error(
                    "has more than three free fields in one folder", "Such names can be read in many ways."
                )
        if "vehicle" not in names:
            raise self._error("has no field {vehicle}", "Every key must say its vehicle.")
        for (_, left, _), (literal, right, _) in zip(self._tokens, self._tokens[1:], strict=False):
            if not literal and {left, right} <= {"vehicle", "camera", "any", "rest"}:
                raise self._error(f"has nothing between {{{left}}} and {{{right}}}", "Put a separator between.")
        re.compile(self._pattern(lazy=False))

    def match(self, key: str, last_modified: datetime) -> KeyFields:
        """Reads a key of the source, relative to the source's root.

        Args:
            key: the object key.
            last_modified: when it was uploaded (aware), the fallback for the day.

        Raises:
            Unmatched: with the reason.
        """
        groups = self._groups(key)
        try:
            vehicle = check_id("vehicle", groups["vehicle"])
            camera = check_id("camera", groups["camera"]) if "camera" in groups else None
        except InvalidId as error:
            raise Unmatched(key, f"has no usable id: {error.item} {error.cause}", error.remedy) from None
        try:
            day, start = self._when(key, groups)
            local = (start or last_modified).astimezone(self.fleet_zone)
        except OverflowError:
            raise Unmatched(key, "names a time beyond the calendar") from None
        return KeyFields(Partition(day if day and not start else local.date().isoformat(), vehicle), camera, start)

    def format(self, vehicle: str, camera: str, start: datetime, ext: str = ".mp4") -> str:
        """The key that a video of this vehicle, camera and start time (aware) has under the template.

        Raises:
            TemplateError: if the template has `{any}` or `{rest}`, or the key would not be read back as the same.
        """
        local = start.astimezone(self.path_zone)
        values = {"vehicle": vehicle, "camera": camera, "ext": ext}
        parts = []
        for literal, name, spec in self._tokens:
            if name in ("any", "rest"):
                raise self._error(f"has {{{name}}}, so no key can be made from it")
            parts += [literal, local.strftime(spec) if name in ("date", "start") else values.get(name, "")]
        key = "".join(parts)
        fields = self.match(key, start)
        if fields.partition.vehicle != vehicle or ("camera" in self._names and fields.camera != camera):
            raise self._error(f"cannot tell vehicle {vehicle!r} and camera {camera!r} apart in {key!r}")
        return key

    def walks(self, partition: Partition) -> list[list[str | re.Pattern[str]]]:
        """How to walk to a partition's keys: per day that a path may name, each directory level's name or pattern.

        Ends before the file name and before `{rest}`. A listing that descends only into what fits reads no other
        partition's keys wherever the path itself tells them apart.
        """
        return [self._walk(partition.vehicle or "", day) for day in self._path_days(partition)]

    @cached_property
    def parts_folders(self) -> bool:
        """Whether every partition has folders of its own: those of a key name its vehicle and its whole day."""
        day = Date(2026, 1, 3)
        others = [day.replace(day=4), day.replace(month=2), day.replace(year=2027)]
        walks = [self._walk("a", day), self._walk("b", day), *(self._walk("a", other) for other in others)]
        return len({repr(walk) for walk in walks}) == len(walks)

    def _walk(self, vehicle: str, day: Date) -> list[str | re.Pattern[str]]:
        return self.day_walk(day, vehicle)[0]

    def day_walk(self, day: Date, vehicle: str | None = None) -> tuple[list[str | re.Pattern[str]], str]:
        """One of `walks`: for a day as paths name it, and a vehicle, or (None) any.

        Returns:
            The directory levels, and the fixed text that the next name begins with, which may be empty.
        """
        done: list[str | re.Pattern[str]] = []
        name, pattern, head = "", "", ""
        plain = True
        for piece, fixed in self._pieces(vehicle, day):
            if piece == "/" and fixed:
                done.append(name if plain else re.compile(pattern, re.S))
                name, pattern, head, plain = "", "", "", True
            else:
                name, plain = name + piece, plain and fixed
                head += piece if plain else ""
                pattern += re.escape(piece) if fixed else piece
        return done, head

    def _pieces(self, vehicle: str | None, day: Date) -> Iterator[tuple[str, bool]]:
        """The template as single fixed characters and patterns: (text, whether it is fixed)."""
        for literal, name, spec in self._tokens:
            yield from ((char, True) for char in literal)
            if name == "rest":
                return
            if name == "vehicle" and vehicle is not None:
                yield vehicle, True
            elif name in ("date", "start"):
                for directive, char in re.findall(r"%(.)|(.)", spec, flags=re.S):
                    if directive in _DAY and (name == "date" or self._start_has_date):
                        yield day.strftime("%" + directive), True
                    else:
                        yield (_DIRECTIVES[directive], False) if directive else (char, True)
            elif name:
                yield self._field_pattern(name, spec, lazy=False), False

    @cached_property
    def _tokens(self) -> list[tuple[str, str, str]]:
        """(literal before, field name, format) in order."""
        try:
            parsed = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise self._error(self._brace_fault() or f"is no template: {error}", _EXAMPLE) from None
        tokens = []
        for literal, name, spec, conversion in parsed:
            if conversion or (name is not None and name not in _FIELDS):
                known = ", ".join(f"{{{field}}}" for field in _FIELDS)
                raise self._error(f"has the unknown field {{{name}}}", f"Known are {known}.")
            self._check_format(name, spec or "")
            tokens.append((literal, name or "", spec or ""))
        return tokens

    def _brace_fault(self) -> str:
        """What is wrong with the braces; empty where nothing is seen."""
        if found := re.search(r"\{[^{}/]*(?![^{}]*\})", self.template):
            return f"is no template: {found[0]!r} is not closed with '}}'"
        if re.search(r"(?:^|\})[^{}]*\}", self.template):
            return "is no template: a '}' closes nothing"
        return ""

    @cached_property
    def _names(self) -> set[str]:
        return {name for _, name, _ in self._tokens}

    def _check_format(self, name: str | None, spec: str) -> None:
        named = re.findall(r"%(.)", spec)
        directives = set(named)
        if name in ("date", "start"):
            if twice := [directive for directive in directives - {"%"} if named.count(directive) > 1]:
                raise self._error(f"has a {{{name}}} that names %{min(twice)} twice", _EXAMPLE)
            if unknown := directives - set(_DIRECTIVES):
                raise self._error(
                    f"uses %{min(unknown)} in {{{name}}}",
                    f"Known are {' '.join('%' + d for d in _DIRECTIVES)}.",
                )
            if name == "date" and not any(wanted <= directives for wanted in _DATE_DIRECTIVES):
                raise self._error("has a {date} without year, month and day", "Write {date:%Y-%m-%d}.")
            if name == "start" and "H" not in directives:
                raise self._error("has a {start} without an hour", "Write {start:%H%M%S}.")
        elif spec:
            raise self._error(f"gives {{{name}}} a format", "Only {date:…} and {start:…} take one.")

    @cached_property
    def _start_has_date(self) -> bool:
        return any(
            wanted <= set(re.findall(r"%(.)", spec))
            for _, name, spec in self._tokens
            if name == "start"
            for wanted in _DATE_DIRECTIVES
        )

    def _pattern(self, lazy: bool, tokens: int | None = None) -> str:
        parts = []
        for literal, name, spec in self._tokens[:tokens]:
            parts.append(re.escape(literal))
            if name:
                pattern = self._field_pattern(name, spec, lazy)
                parts.append(pattern if name == "any" else f"(?P<{name}>{pattern})")
        return "".join(parts)

    def _field_pattern(self, name: str, spec: str, lazy: bool) -> str:
        if name == "ext":
            return "(?i:" + "|".join(re.escape(ext) for ext in self.extensions) + ")"
        if name in ("date", "start"):
            return re.sub(r"%(.)|(.)", lambda m: _DIRECTIVES[m[1]] if m[1] else re.escape(m[2]), spec, flags=re.S)
        some = ".+" if name == "rest" else "[^/]+"
        return some + "?" if lazy else some

    @cached_property
    def _readings(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return re.compile(self._pattern(lazy=False), re.S), re.compile(self._pattern(lazy=True), re.S)

    def _groups(self, key: str) -> dict[str, str]:
        greedy, lazy = (reading.fullmatch(key) for reading in self._readings)
        if greedy is None or lazy is None:
            raise Unmatched(key, f"does not fit: {self._misfit(key)}")
        if greedy.groupdict() != lazy.groupdict():
            raise Unmatched(key, f"can be read in two ways: by {self.template!r}")
        return greedy.groupdict()

    def _misfit(self, key: str) -> str:
        """Where a key stops fitting, as far as it can be read from the left."""
        if found := re.match(self._pattern(lazy=False), key, re.S):
            return f"the template ends before {key[found.end() :]!r}"
        for count in range(len(self._tokens), 0, -1):
            literal, name, spec = self._tokens[count - 1]
            head = self._pattern(lazy=False, tokens=count - 1)
            if found := re.match(head + re.escape(literal), key, re.S):
                rest = key[found.end() :].partition("/")[0]
                field = f"{{{name}:{spec}}}" if spec else f"{{{name}}}"
                return f"where the template has {field}, the key has {rest!r}"
            if literal and (found := re.match(head, key, re.S)):
                return f"the template has {literal!r} after {found[0].rpartition('/')[2]!r}"
        return f"the template begins with {self._tokens[0][0]!r}"

    def _when(self, key: str, groups: dict[str, str]) -> tuple[str | None, datetime | None]:
        """The day in the path's zone, and the start in UTC, each None where the path does not say."""
        specs = {name: spec for _, name, spec in self._tokens if name in ("date", "start")}
        times = {name: self._time(key, name, groups[name], spec) for name, spec in specs.items()}
        date, start = times.get("date"), times.get("start")
        if start is not None and not self._start_has_date:
            start = datetime.combine(date.date(), start.time()) if date else None
        if start is not None and date is not None and start.date() != date.date():
            raise Unmatched(key, f"names two days: {date.date()} and {start.date()}")
        utc = start.replace(tzinfo=self.path_zone).astimezone(UTC) if start else None
        return (date.date().isoformat() if date else None), utc

    def _time(self, key: str, name: str, text: str, spec: str) -> datetime:
        try:
            return _read_time(text, spec)
        except ValueError:
            meant = "date" if name == "date" else "date and time" if self._start_has_date else "time of day"
            raise Unmatched(key, f"has an impossible date or time: {text} is no {meant} by {spec}") from None

    def _path_days(self, partition: Partition) -> list[datetime]:
        """The days that a path of this partition may name: two where the zones of path and fleet differ."""
        day = datetime.fromisoformat(partition.date)
        if "start" not in self._names or self.path_zone.key == self.fleet_zone.key:
            return [day]
        first = day.replace(tzinfo=self.fleet_zone).astimezone(self.path_zone).date()
        last = (day + timedelta(days=1)).replace(tzinfo=self.fleet_zone) - timedelta(microseconds=1)
        span = (last.astimezone(self.path_zone).date() - first).days
        return [datetime.combine(first + timedelta(days=n), datetime.min.time()) for n in range(span + 1)]

    def _error(self, cause: str, remedy: str = "") -> TemplateError:
        return TemplateError(f"path template {self.template!r}", cause, remedy)


@lru_cache(maxsize=8192)
def _read_time(text: str, spec: str) -> datetime:
    """Days and times of day come again and again in a listing, and strptime is most of what a key costs."""
    return datetime.strptime(text, spec)
