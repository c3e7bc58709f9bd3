"""The tunnel of the MaxCompute test server: rows in by upload sessions, rows out by download sessions."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from video_assets_tests.servers.odps_server_errors import OdpsServerError, not_understood
from video_assets_tests.servers.odps_server_service import Answer, Service
from video_assets_tests.servers.odps_server_sql import result_schema
from video_assets_tests.servers.odps_server_types import OdpsSchema
from video_assets_tests.servers.odps_server_warehouse import (
    StoredPartition,
    StoredTable,
    Upload,
    Values,
    Warehouse,
)
from video_assets_tests.servers.odps_server_wire import (
    decode_arrow,
    decode_records,
    encode_arrow,
    encode_records,
    with_split_times,
)


@dataclass(frozen=True)
class Download:
    """A download session: the rows as they were when it began. Of a table, it ends when these are replaced."""

    schema: OdpsSchema
    rows: pa.Table
    source: tuple[StoredTable, Values, StoredPartition] | None = None

    def check(self) -> None:
        """Raises OdpsServerError where the rows are no longer the table's."""
        if self.source is not None:
            table, values, partition = self.source
            if table.partitions.get(values) is not partition:
                raise OdpsServerError(
                    400, "TableModified", "The specified table has been modified since the download initiated."
                )


class Tunnel:
    """What lies below the tunnel's endpoint."""

    def __init__(self, project: str, warehouse: Warehouse, service: Service) -> None:
        self._project = project
        self._warehouse = warehouse
        self._service = service
        self.uploads: dict[str, Upload] = {}
        self._downloads: dict[str, Download] = {}

    def operation(self, method: str, path: Sequence[str], query: Mapping[str, str]) -> str:
        """What a request asks for."""
        kind = path[2] if len(path) == 4 else ""
        known = {
            ("POST", "uploads"): "CreateUpload",
            ("PUT", "blockid"): "PutBlock",
            ("GET", "uploadid"): "GetUpload",
            ("POST", "uploadid"): "CommitUpload",
            ("POST", "downloads"): "CreateDownload",
            ("GET", "data"): "ReadRows",
            ("GET", "downloadid"): "GetDownload",
        }
        for (verb, flag), operation in known.items():
            if kind in ("tables", "instances") and method == verb and flag in query:
                return operation if kind == "tables" else f"{operation}OfInstance"
        raise not_understood(f"{method} /{'/'.join(path)}?{query}")

    def do(
        self, operation: str, path: Sequence[str], query: Mapping[str, str], body: bytes, denied: set[str]
    ) -> Answer:
        """Raises OdpsServerError."""
        privilege = "Update" if "Upload" in operation or operation == "PutBlock" else "Download"
        if privilege in denied:
            raise OdpsServerError(
                403, "NoPermission", f"ODPS-0420095: Access Denied - You have NO privilege 'odps:{privilege}'"
            )
        if operation == "CreateUpload":
            return self._create_upload(path[3], query)
        if operation in ("PutBlock", "GetUpload", "CommitUpload"):
            return self._upload(operation, query, body)
        if operation.startswith("CreateDownload"):
            return self._create_download(path, query, of_instance=operation.endswith("OfInstance"))
        session = self._downloads.get(query["downloadid"])
        if session is None:
            raise OdpsServerError(404, "NoSuchDownload", f"no download session {query['downloadid']}")
        if operation.startswith("GetDownload"):
            return _described_download(query["downloadid"], session)
        return _rows(session, query, of_instance=operation.endswith("OfInstance"))

    def _create_upload(self, name: str, query: Mapping[str, str]) -> Answer:
        with self._warehouse.guard:
            table = self._warehouse.table(name)
            if table.view is not None:
                raise OdpsServerError(400, "InvalidArgument", f"ODPS-0420411: {name} is a view: it takes no rows")
            values = table.values(query.get("partition", ""))
            if query.get("create_partition") == "true":
                table.partitions.setdefault(values, StoredPartition(table.schema.arrow.empty_table()))
            table.partition(values)
        upload_id = uuid.uuid4().hex
        self.uploads[upload_id] = Upload(table, values, query.get("overwrite") == "true")
        return _described_upload(upload_id, self.uploads[upload_id])

    def _upload(self, operation: str, query: Mapping[str, str], body: bytes) -> Answer:
        upload = self.uploads.get(query["uploadid"])
        if upload is None:
            raise OdpsServerError(404, "NoSuchUpload", f"no upload session {query['uploadid']}")
        if operation == "GetUpload":
            return _described_upload(query["uploadid"], upload)
        if upload.status != "NORMAL":
            raise OdpsServerError(400, "StatusConflict", "the upload session is closed")
        if operation == "CommitUpload":
            self._warehouse.commit(upload)
        else:
            schema = upload.table.schema
            rows = decode_arrow(body, schema.arrow) if "arrow" in query else decode_records(body, schema)
            upload.blocks[int(query["blockid"])] = rows
        return _described_upload(query["uploadid"], upload)

    def _create_download(self, path: Sequence[str], query: Mapping[str, str], *, of_instance: bool) -> Answer:
        download_id = uuid.uuid4().hex
        if of_instance:
            rows = self._service.instances[path[3]].rows
            if rows is None:
                raise OdpsServerError(400, "InvalidArgument", "ODPS-0420411: the instance has no result of a SELECT")
            schema = result_schema(rows)
            session = Download(schema, rows.cast(schema.arrow))
        else:
            table = self._warehouse.table(path[3])
            if table.view is not None:
                raise OdpsServerError(400, "InvalidArgument", f"ODPS-0420411: {path[3]} is a view: SELECT from it")
            values = table.values(query.get("partition", ""))
            partition = table.partition(values)
            session = Download(table.schema, partition.rows, (table, values, partition))
        self._downloads[download_id] = session
        return _described_download(download_id, session)


def _rows(session: Download, query: Mapping[str, str], *, of_instance: bool) -> Answer:
    session.check()
    match = re.fullmatch(r"\((\d+),(\d+)\)", query["rowrange"])
    assert match is not None
    rows = session.rows.slice(int(match[1]), int(match[2]))
    wanted = query["columns"].split(",") if query.get("columns") else rows.column_names
    columns = [column for column in session.schema.columns if column.name in wanted]
    rows = rows.select([column.name for column in columns])
    if "arrow" in query:
        return Answer(body=encode_arrow(with_split_times(rows) if of_instance else rows))
    return Answer(body=encode_records(rows, columns))


def _described_upload(upload_id: str, upload: Upload) -> Answer:
    return _json(
        {
            "UploadID": upload_id,
            "Status": upload.status,
            "Schema": upload.table.schema.described(),
            "UploadedBlockList": [{"BlockID": number} for number in sorted(upload.blocks)],
            "MaxFieldSize": 8 << 20,
        }
    )


def _described_download(download_id: str, session: Download) -> Answer:
    session.check()
    return _json(
        {
            "DownloadID": download_id,
            "Status": "NORMAL",
            "RecordCount": len(session.rows),
            "Schema": session.schema.described(),
        }
    )


def _json(said: Mapping[str, object]) -> Answer:
    return Answer(body=json.dumps(said).encode(), headers={"Content-Type": "application/json"})
