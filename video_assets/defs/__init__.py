"""The Dagster layer: wiring only."""
