"""Dagster's view of the table store, nothing more."""
