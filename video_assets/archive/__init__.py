"""Footage laid out by vehicle and date in numbered folders of a limited size, to be moved to a disk (SPEC I4)."""
