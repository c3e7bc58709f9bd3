"""Footage that a fleet's batch API gives on request."""
