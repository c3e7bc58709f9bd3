"""What tables, columns and indexes of a catalogue are called, put into SQL as identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from video_assets.settings import Settings

if TYPE_CHECKING:
    from psycopg.sql import Composed

PIPELINE = "video_assets"
"""Our row in `extraction_checkpoints`."""


@dataclass(frozen=True)
class Names:
    """The names of one catalogue. `table` is `table` or `schema.table`; our own tables are in the same schema."""

    table: str
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """The names that a deployment sets."""
        return cls(settings.catalogue_table, tuple(settings.column_names().items()))

    def compose(self, text: str) -> Composed:
        """SQL with `{content}`, `{attempts}`, `{checkpoints}`, `{id}` and the like replaced. Values stay parameters."""
        from psycopg import sql

        *schema, name = self.table.split(".")
        names = {
            "content": [*schema, name],
            "attempts": [*schema, "extraction_attempts"],
            "checkpoints": [*schema, "extraction_checkpoints"],
            **{ours: [theirs] for ours, theirs in self.columns},
            **{index: [f"{name}_{index}"] for index in ("unextracted", "unembedded", "news", "published")},
            "attempts_done": ["extraction_attempts_done"],
            "attempts_failed": ["extraction_attempts_failed"],
        }
        # Every statement is a file or a constant of this package.
        statement = sql.SQL(text)
        return statement.format(**{key: sql.Identifier(*parts) for key, parts in names.items()})
