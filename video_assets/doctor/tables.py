"""Checks of where tables live, if that is ODPS (MaxCompute)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from video_assets.doctor.finding import Finding
from video_assets.plural import counted
from video_assets.settings import Settings
from video_assets.stages.flat_manifest import FLAT_MANIFEST
from video_assets.table_store.odps import make_table
from video_assets.table_store.odps_errors import in_words
from video_assets.table_store.odps_handle import open_handle, patiently
from video_assets.table_store.odps_schema import missing_columns
from video_assets.table_store.odps_tunnel import download, upload
from video_assets.table_store.registry import odps_name
from video_assets.tables import ALL, VIDEO_MANIFEST, Column, Table

PROBE = Table(
    "doctor_probe",
    "Made and dropped by `video-assets doctor`.",
    ("number",),
    (Column("number", pa.int64(), "A number."),),
    partitioned_by=(),
)


def tables_finding(settings: Settings) -> Finding:
    """Whether tables can be made, written, read and dropped, and whether those that are there are ours."""
    if settings.tables == "parquet":
        return Finding("tables", "ok", "Parquet files in the store")
    handle = open_handle(settings)
    place = f"project {settings.odps_project} at {settings.odps_endpoint}"
    with in_words(place, handle):
        patiently(handle.get_project().reload)
    name = f"{settings.table_prefix}{PROBE.name}_{os.getpid()}"
    with in_words(f"ODPS table {name}", handle):
        if not _round_trip(handle, name):
            return Finding("tables", "failed", f"{place} does not give back what was written", "Ask its operators.")
    there = 0
    for table, ours, found in _made(settings, handle):
        there += 1
        with in_words(f"ODPS table {ours}", handle):
            missing_columns(table, found, ours)
        if table is VIDEO_MANIFEST and (found.lifecycle or 0) != settings.manifest_lifecycle:
            kept = f"{found.lifecycle} days" if (found.lifecycle or 0) > 0 else "for ever"
            text = f"{place}: {ours} keeps rows {kept}, and MANIFEST_LIFECYCLE is {settings.manifest_lifecycle}"
            remedy = f"Run: ALTER TABLE {ours} SET LIFECYCLE {settings.manifest_lifecycle}; or change the setting."
            return Finding("tables", "warning", text, remedy)
    return Finding("tables", "ok", f"{place}: tables can be made, written, read and dropped; {counted(there, 'table')}")


def _round_trip(handle: Any, name: str) -> bool:
    rows = PROBE.rows([{"number": os.getpid()}])
    try:
        make_table(handle, name, PROBE, lifecycle=1)
        upload(handle, name, None, rows.to_batches(), rows.schema)
        return bool(download(handle, name, None).equals(rows))
    finally:
        # With a lifecycle of a day, it goes by itself where it may not be dropped.
        handle.delete_table(name, if_exists=True)


def _made(settings: Settings, handle: Any) -> Iterator[tuple[Table, str, Any]]:
    """The tables that are there already: what they should be, their name, and what they are."""
    named = {odps_name(settings, table): table for table in ALL}
    if settings.flat_table is not None:
        named[settings.flat_table] = FLAT_MANIFEST
    for name, table in named.items():
        with in_words(f"ODPS table {name}", handle):
            if patiently(lambda name=name: handle.exist_table(name)):  # type: ignore[misc]
                yield table, name, handle.get_table(name)
