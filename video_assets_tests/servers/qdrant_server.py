"""A small Qdrant server for tests: Qdrant's REST API over Qdrant Edge, on loopback.

Answers what an unmodified `QdrantClient(url=…)` sends for collections (list, exists, create, info,
delete), payload indexes, points (upsert, retrieve, delete, count, scroll, query). Filters: `must` with
match value and any, range, has_id, nested filters. Anything else is a 400 or 404 that says what was asked.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import qdrant_edge as edge

from video_assets_tests.servers.loopback import LoopbackServer

Json = Any


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class QdrantServer(LoopbackServer):
    """A server of the collections below `directory`; start it again there and they are back.

    Args:
        directory: holds one folder a collection.
        api_key: what requests must carry in the header `api-key`, where given.

    Attributes:
        requests: method and path of every request so far.
        faults: answers to give instead of the next requests', first one first.
    """

    def __init__(self, directory: Path, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.requests: list[str] = []
        self.faults: list[Refused] = []
        self._store = _Store(directory)
        super().__init__(_handler_of(self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._store.close()

    def answer(self, method: str, target: str, api_key: str | None, body: Json) -> Json:
        """The `result` of a request, or `Refused`."""
        path = urlsplit(target).path
        self.requests.append(f"{method} {path}")
        if self.faults:
            raise self.faults.pop(0)
        if self.api_key is not None and api_key != self.api_key:
            raise Refused(401, "Must provide an API key or an Authorization bearer token")
        return self._store.answer(method, path, body)


def _handler_of(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                result = server.answer(self.command, self.path, self.headers.get("api-key"), json.loads(raw or b"{}"))
                self._send(200, {"result": result, "status": "ok", "time": 0.0}, {})
            except Refused as refused:
                self._send(refused.status, {"status": {"error": str(refused)}, "time": 0.0}, refused.headers)
            except Exception as error:
                # The engine says with plain exceptions what it does not take.
                self._send(400, {"status": {"error": f"Wrong input: {error}"}, "time": 0.0}, {})

        do_GET = do_PUT = do_POST = do_DELETE = _respond

        def _send(self, status: int, answer: Json, headers: dict[str, str]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class _Store:
    """The collections: one open shard each, one request at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._shards = {path.name: edge.EdgeShard.load(str(path)) for path in directory.iterdir()}
        self._routes: list[tuple[str, str, Callable[..., Json]]] = [
            ("GET", "/collections", self._list),
            ("GET", "/collections/{}", self._info),
            ("PUT", "/collections/{}", self._create),
            ("DELETE", "/collections/{}", self._drop),
            ("GET", "/collections/{}/exists", self._exists),
            ("PUT", "/collections/{}/index", self._index_field),
            ("PUT", "/collections/{}/points", self._upsert),
            ("POST", "/collections/{}/points", self._retrieve),
            ("POST", "/collections/{}/points/delete", self._delete),
            ("POST", "/collections/{}/points/count", self._count),
            ("POST", "/collections/{}/points/scroll", self._scroll),
            ("POST", "/collections/{}/points/query", self._query),
        ]

    def answer(self, method: str, path: str, body: Json) -> Json:
        for verb, template, answer in self._routes:
            found = re.fullmatch(template.replace("{}", "([^/]+)"), path)
            if verb == method and found:
                with self._lock:
                    return answer(*(unquote(part) for part in found.groups()), body)
        raise Refused(404, f"no such call here: {method} {path}")

    def close(self) -> None:
        with self._lock:
            for shard in self._shards.values():
                shard.flush()
                shard.close()

    def _shard(self, name: str) -> edge.EdgeShard:
        if name not in self._shards:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._shards[name]

    def _list(self, _body: Json) -> Json:
        return {"collections": [{"name": name} for name in self._shards]}

    def _exists(self, name: str, _body: Json) -> Json:
        return {"exists": name in self._shards}

    def _create(self, name: str, body: Json) -> Json:
        if name in self._shards:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        vectors = edge.EdgeVectorParams(
            size=body["vectors"]["size"], distance=getattr(edge.Distance, body["vectors"]["distance"])
        )
        self._shards[name] = edge.EdgeShard.create(str(self._directory / name), edge.EdgeConfig(vectors=vectors))
        return True

    def _drop(self, name: str, _body: Json) -> Json:
        self._shard(name).close()
        del self._shards[name]
        return True

    def _info(self, name: str, _body: Json) -> Json:
        info = self._shard(name).info()
        config = json.loads((self._directory / name / "edge_config.json").read_text())
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
        optimizers = {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "config": {
                "params": {"vectors": config["vectors"][""], "shard_number": 1, "replication_factor": 1},
                "hnsw_config": hnsw,
                "optimizer_config": optimizers,
            },
            "payload_schema": {
                field: {"data_type": str(schema.data_type).split(".")[-1].lower(), "points": schema.points}
                for field, schema in info.payload_schema.items()
            },
        }

    def _index_field(self, name: str, body: Json) -> Json:
        kind = getattr(edge.PayloadSchemaType, body["field_schema"].capitalize())
        return self._update(name, edge.UpdateOperation.create_field_index(body["field_name"], kind))

    def _upsert(self, name: str, body: Json) -> Json:
        if "batch" in body:
            batch = body["batch"]
            rows = zip(batch["ids"], batch["vectors"], batch["payloads"], strict=True)
        else:
            rows = ((point["id"], point["vector"], point["payload"]) for point in body["points"])
        return self._update(name, edge.UpdateOperation.upsert_points([edge.Point(*row) for row in rows]))

    def _delete(self, name: str, body: Json) -> Json:
        if "points" in body:
            return self._update(name, edge.UpdateOperation.delete_points(body["points"]))
        return self._update(name, edge.UpdateOperation.delete_points_by_filter(_filter(body["filter"])))

    def _retrieve(self, name: str, body: Json) -> Json:
        records = self._shard(name).retrieve(
            body["ids"], body.get("with_payload", True), body.get("with_vector", False)
        )
        return [_record(record) for record in records]

    def _count(self, name: str, body: Json) -> Json:
        request = edge.CountRequest(exact=body.get("exact", True), filter=_filter(body.get("filter")))
        return {"count": self._shard(name).count(request)}

    def _scroll(self, name: str, body: Json) -> Json:
        records, offset = self._shard(name).scroll(
            edge.ScrollRequest(
                offset=body.get("offset"),
                limit=body.get("limit", 10),
                filter=_filter(body.get("filter")),
                with_payload=body.get("with_payload", True),
                with_vector=body.get("with_vector", False),
            )
        )
        return {
            "points": [_record(record) for record in records],
            "next_page_offset": None if offset is None else str(offset),
        }

    def _query(self, name: str, body: Json) -> Json:
        query = body["query"]
        vector = query["nearest"] if isinstance(query, dict) else query
        hits = self._shard(name).query(
            edge.QueryRequest(
                limit=body.get("limit", 10),
                query=edge.Query.Nearest(vector),
                filter=_filter(body.get("filter")),
                with_payload=body.get("with_payload", False),
            )
        )
        return {"points": [{**_record(hit), "score": hit.score, "version": hit.version} for hit in hits]}

    def _update(self, name: str, operation: edge.UpdateOperation) -> Json:
        self._shard(name).update(operation)
        return {"operation_id": 0, "status": "completed"}


def _record(record: edge.Record | edge.ScoredPoint) -> Json:
    return {"id": str(record.id), "payload": record.payload, "vector": record.vector}


def _filter(body: Json) -> edge.Filter | None:
    if body is None:
        return None
    unknown = {key for key, value in body.items() if value} - {"must"}
    if unknown:
        raise Refused(400, f"filters of this server take must only, not {unknown}")
    return edge.Filter(must=[_condition(condition) for condition in body["must"]])


def _condition(body: Json) -> edge.ConditionType:
    given = {key: value for key, value in body.items() if value is not None}
    match given:
        case {"key": key, "match": {"value": value}}:
            return edge.FieldCondition(key=key, match=edge.MatchValue(value))
        case {"key": key, "match": {"any": values}}:
            return edge.FieldCondition(key=key, match=edge.MatchAny(values))
        case {"key": key, "range": bounds}:
            return edge.FieldCondition(key=key, range=edge.RangeFloat(**bounds))
        case {"has_id": ids}:
            return edge.HasIdCondition(set(ids))
        case {"must": _}:
            return _filter(body)
    raise Refused(400, f"a condition that this server does not take: {body}")
