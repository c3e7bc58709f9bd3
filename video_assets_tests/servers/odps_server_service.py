"""The service of the MaxCompute test server: tables, partitions, and instances that run SQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

from video_assets_tests.servers.odps_server_errors import OdpsServerError, not_understood
from video_assets_tests.servers.odps_server_sql import run_sql
from video_assets_tests.servers.odps_server_warehouse import StoredTable, Values, Warehouse, spec_values

PAGE = 1000
"""Partitions a page."""

OWNER = "ALIYUN$test"


@dataclass(frozen=True)
class Answer:
    """One answer. `Content-Length` and the request's id are added."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """A statement that was run: the rows of a SELECT, or why it failed."""

    task: str
    job: str
    rows: pa.Table | None
    error: str = ""


class Service:
    """What lies below the endpoint."""

    def __init__(self, project: str, warehouse: Warehouse) -> None:
        self._project = project
        self._warehouse = warehouse
        self.instances: dict[str, Instance] = {}

    def operation(self, method: str, path: Sequence[str], query: Mapping[str, str]) -> str:
        """What a request asks for."""
        if path[0] in ("logview", "tenants"):
            return "Other"
        match path[2:]:
            case []:
                return "GetProject"
            case ["tunnel"]:
                return "TunnelAddress"
            case ["logs"]:
                return "Other"
            case ["tables", _]:
                if "partitions" in query:
                    return "ListPartitions"
                return "GetPartition" if "partition" in query else "GetTable"
            case ["tables"]:
                return "ListTables"
            case ["instances"] if method == "POST":
                return "CreateInstance"
            case ["instances", _] if method == "GET":
                return "GetInstance"
        raise not_understood(f"{method} /{'/'.join(path)}")

    def do(
        self, operation: str, path: Sequence[str], query: Mapping[str, str], body: bytes, denied: set[str]
    ) -> Answer:
        """Raises OdpsServerError."""
        if operation == "Other":
            return Answer(404)
        if operation == "GetProject":
            said = f"<Project><Name>{self._project}</Name><State>AVAILABLE</State></Project>"
            now = formatdate(usegmt=True)
            headers = {"x-odps-owner": OWNER, "x-odps-creation-time": now, "Last-Modified": now}
            return _xml(said, headers)
        if operation == "CreateInstance":
            return self._run(body, denied)
        if operation == "GetInstance":
            return self._instance(path[3], query)
        if "Describe" in denied:
            raise OdpsServerError(403, "NoPermission", "ODPS-0420095: Access Denied - NO privilege 'odps:Describe'")
        if operation == "ListTables":
            names = "".join(f"<Table><Name>{t.name}</Name></Table>" for t in self._warehouse.tables())
            return _xml(f"<Tables><Marker/><MaxItems>1000</MaxItems>{names}</Tables>")
        table = self._warehouse.table(path[3])
        if operation == "GetTable":
            return _xml(_described(table))
        if operation == "GetPartition":
            return _xml(_described_partition(table, table.values(query["partition"])))
        return self._partitions(table, query)

    def _run(self, body: bytes, denied: set[str]) -> Answer:
        job = ElementTree.fromstring(body)
        name = job.findtext(".//SQL/Name") or ""
        properties = {p.findtext("Name"): p.findtext("Value") for p in job.iterfind(".//SQL/Config/Property")}
        settings = json.loads(properties.get("settings") or "{}")
        statement = job.findtext(".//SQL/Query") or ""
        source = ElementTree.tostring(job, "unicode")
        try:
            with self._warehouse.guard:
                rows = run_sql(self._warehouse, statement, settings, denied)
            instance = Instance(name, source, rows)
        except OdpsServerError as error:
            instance = Instance(name, source, None, error.message)
        instance_id = f"{len(self.instances):017d}g{uuid.uuid4().hex[:8]}"
        self.instances[instance_id] = instance
        return Answer(201, headers={"Location": f"/api/projects/{self._project}/instances/{instance_id}"})

    def _instance(self, instance_id: str, query: Mapping[str, str]) -> Answer:
        if instance_id not in self.instances:
            raise OdpsServerError(404, "NoSuchObject", f"ODPS-0410061: instance {instance_id} not found")
        instance = self.instances[instance_id]
        status = "Failed" if instance.error else "Success"
        task = f'<Task Type="SQL"><Name>{escape(instance.task)}</Name>'
        if "source" in query:
            inner = ElementTree.fromstring(instance.job)
            found = inner.find("Job")
            return _xml(ElementTree.tostring(inner if found is None else found, "unicode"))
        if "result" in query:
            text = escape(instance.error) if instance.error else ""
            said = f"<Tasks>{task}<Result Format='text'>{text}</Result></Task></Tasks>"
        elif "taskstatus" in query:
            said = f"<Status>Terminated</Status><Tasks>{task}<Status>{status}</Status></Task></Tasks>"
        else:
            said = "<Status>Terminated</Status>"
        now = formatdate(usegmt=True)
        headers = {"x-odps-owner": OWNER, "x-odps-start-time": now, "x-odps-end-time": now}
        return _xml(f"<Instance>{said}</Instance>", headers)

    def _partitions(self, table: StoredTable, query: Mapping[str, str]) -> Answer:
        names = [column.name for column in table.schema.partition_columns]
        wanted = spec_values(query.get("partition", ""))
        found = [v for v in sorted(table.partitions) if wanted.items() <= dict(zip(names, v, strict=True)).items()]
        begin = int(query.get("marker") or 0)
        page = found[begin : begin + PAGE]
        marker = str(begin + PAGE) if begin + PAGE < len(found) else ""
        listed = "".join(_listed_partition(table, names, values) for values in page)
        return _xml(f"<Partitions><Marker>{marker}</Marker><MaxItems>{PAGE}</MaxItems>{listed}</Partitions>")


def _described(table: StoredTable) -> str:
    modified = max((p.modified for p in table.partitions.values()), default=table.created)
    said = table.schema.described() | {
        "comment": table.comment,
        "owner": OWNER,
        "createTime": table.created,
        "lastDDLTime": table.created,
        "lastModifiedTime": modified,
        "isVirtualView": table.view is not None,
        "size": sum(p.rows.nbytes for p in table.partitions.values()),
        "recordNum": sum(len(p.rows) for p in table.partitions.values()),
    }
    if table.lifecycle is not None:
        said["lifecycle"] = table.lifecycle
    if table.view is not None:
        said["viewText"] = table.view
    kind = "VIRTUAL_VIEW" if table.view is not None else "MANAGED_TABLE"
    schema = f'<Schema format="Json"><![CDATA[{json.dumps(said)}]]></Schema>'
    return f"<Table><Name>{table.name}</Name><TableId>1</TableId><Type>{kind}</Type>{schema}</Table>"


def _described_partition(table: StoredTable, values: Values) -> str:
    partition = table.partition(values)
    said = {
        "createTime": partition.created,
        "lastDDLTime": partition.created,
        "lastModifiedTime": partition.modified,
        "partitionSize": partition.rows.nbytes,
        "partitionRecordNum": len(partition.rows),
    }
    return f'<Partition><Schema format="Json"><![CDATA[{json.dumps(said)}]]></Schema></Partition>'


def _listed_partition(table: StoredTable, names: Sequence[str], values: Values) -> str:
    partition = table.partition(values)
    columns = "".join(
        f"<Column Name={quoteattr(name)} Value={quoteattr(value)}/>" for name, value in zip(names, values, strict=True)
    )
    times = f"<CreationTime>{partition.created}</CreationTime><LastDDLTime>{partition.created}</LastDDLTime>"
    sizes = f"<PartitionSize>{partition.rows.nbytes}</PartitionSize>"
    sizes += f"<PartitionRecordCount>{len(partition.rows)}</PartitionRecordCount>"
    return f"<Partition>{columns}{times}<LastModifiedTime>{partition.modified}</LastModifiedTime>{sizes}</Partition>"


def _xml(body: str, headers: Mapping[str, str] | None = None) -> Answer:
    content = '<?xml version="1.0" encoding="UTF-8"?>\n' + body
    return Answer(200, content.encode(), {"Content-Type": "application/xml", **(headers or {})})
