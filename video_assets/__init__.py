"""Fleet video to searchable, trustworthy frames: a Dagster project."""

__version__ = "0.1.0"
