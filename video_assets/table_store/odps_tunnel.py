"""Rows in and out of MaxCompute by the Arrow tunnel.

pyodps' own sessions try again after 429 for ever and after 5xx for two minutes a call; ours follow `patiently`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pyarrow as pa

from video_assets.table_store.odps_errors import OdpsUnavailable
from video_assets.table_store.odps_handle import patiently

BATCH_ROWS = 50_000
"""Rows handed to the tunnel at a time; it sends a block whenever it has some 20 MiB of them."""

_TRIES = 3
"""How often rows are read anew when someone replaces them meanwhile."""


class RowsMissing(OdpsUnavailable):
    """A stream ended before all its rows had come, and said nothing."""


def upload(handle: Any, table_name: str, spec: str | None, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Replaces the rows of a partition (of a table without, all rows) in one step; returns how many there are now.

    Blocks go up as the batches come; nobody sees them before the last step. A partition that is not there is made.
    """
    session = _open_upload(handle, table_name, spec)
    count = 0
    with session.open_arrow_writer() as writer:
        for batch in batches:
            writer.write(batch)
            count += batch.num_rows
        if not count:
            # A session without a block would commit nothing; a block without rows empties the partition.
            writer.write(pa.RecordBatch.from_pylist([], schema=schema))
    try:
        session.commit(writer.get_blocks_written())
    except Exception:
        # The answer may have been lost on the way back.
        with contextlib.suppress(Exception):
            session.reload()
        if session.status != type(session).Status.Closed:
            raise
    return count


def download(handle: Any, table_name: str, spec: str | None) -> pa.Table:
    """All rows of a partition (of a table without, of the table), as of one moment."""
    for left in reversed(range(_TRIES)):
        try:
            return _download(handle, table_name, spec)
        except Exception as error:
            if not left or not (isinstance(error, RowsMissing) or getattr(error, "code", None) == "TableModified"):
                raise
    raise AssertionError


def count_rows(handle: Any, table_name: str, spec: str | None) -> int:
    """How many rows the partition has."""
    return int(_open_download(handle, table_name, spec).count)


def _download(handle: Any, table_name: str, spec: str | None) -> pa.Table:
    from odps.config import option_context
    from odps.tunnel.io.types import odps_schema_to_arrow_schema

    session = _open_download(handle, table_name, spec)
    schema = odps_schema_to_arrow_schema(session.schema)
    batches = []
    # pyodps would ask for the machine's zone, and fail where it is set in two ways; our times are UTC without it.
    with option_context({"local_timezone": False}):
        if session.count:
            reader = session.open_arrow_reader(0, session.count)
            while (batch := reader.read_next_batch()) is not None:
                batches.append(batch)
    rows = pa.Table.from_batches(batches, schema)
    if len(rows) != session.count:
        raise RowsMissing(f"ODPS table {table_name}", f"gave {len(rows)} rows of {session.count}", "Run it again.")
    return rows


def _open_upload(handle: Any, table_name: str, spec: str | None) -> Any:
    kind, _ = _sessions()
    return kind(*_place(handle, table_name), spec, overwrite=True, create_partition=spec is not None)


def _open_download(handle: Any, table_name: str, spec: str | None) -> Any:
    _, kind = _sessions()
    return kind(*_place(handle, table_name), spec)


def _place(handle: Any, table_name: str) -> tuple[Any, Any]:
    """The tunnel's client, and the table as it addresses it."""
    from odps.models import Projects
    from odps.tunnel import TableTunnel

    client = TableTunnel(handle).tunnel_rest
    return client, Projects(client=client)[handle.project].tables[table_name]


@cache
def _sessions() -> tuple[Any, Any]:
    """pyodps' sessions for uploads and downloads, with our patience."""
    from odps.tunnel import TableDownloadSession, TableUploadSession
    from odps.tunnel.retry import RetryContext, TunnelRetryHandler

    class Patient(TunnelRetryHandler):  # type: ignore[misc]
        def execute_with_retry_ctx(
            self, action: Callable[[Any], Any], on_error_status: Any = None, on_exception: Any = None
        ) -> Any:
            context = RetryContext()

            def attempt() -> Any:
                nonlocal context
                current, context = context, context.next()
                return action(current)

            return patiently(attempt)

    class PatientUpload(TableUploadSession):  # type: ignore[misc]
        retry_handler = property(lambda self: Patient())

    class PatientDownload(TableDownloadSession):  # type: ignore[misc]
        retry_handler = property(lambda self: Patient())

    return PatientUpload, PatientDownload
