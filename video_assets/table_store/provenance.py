"""What a committed partition was made of and how: what makes it stale when it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a stage makes rows, as far as it decides them: the version of its code, and its parameters by name."""

    code_version: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a partition's rows are, and what they were made of.

    Attributes:
        data_version: of the rows themselves; the next stage compares what it was made of with it.
        upstream_version: the data version of what they were made of; None where that is nothing that has one.
        seconds: what the items took when they were made, all together; no part of what the rows are.
    """

    data_version: str
    upstream_version: str | None
    recipe: Recipe
    seconds: float = field(default=0.0, compare=False)

    def dump(self) -> str:
        """As text, for a store to keep."""
        # A sum of no seconds is the integer 0, and would be another text.
        return json.dumps({**asdict(self), "seconds": float(self.seconds)}, sort_keys=True)

    def dump_without_seconds(self) -> str:
        """As text that is the same for the same work."""
        return replace(self, seconds=0.0).dump()

    @classmethod
    def parse(cls, text: str | bytes) -> Provenance | None:
        """What `dump` gave; None for anything else, as another version or a stranger may have written it."""
        try:
            stored = json.loads(text)
            recipe = stored["recipe"]
            parameters = {str(name): str(value) for name, value in recipe["parameters"].items()}
            upstream = stored["upstream_version"]
            return cls(
                str(stored["data_version"]),
                None if upstream is None else str(upstream),
                Recipe(str(recipe["code_version"]), parameters),
                float(stored["seconds"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
