"""A small Alibaba OSS server for tests, on loopback and in memory, strict where the service is strict.

Answers what an unmodified alibabacloud-oss-v2 sends for objects (put, append, get, head, copy, delete, delete
multiple), uploads in parts and listings (version 2). Signatures of version 4 are verified, in headers and in presigned
URLs; `x-oss-hash-crc64ecma` is always sent. Buckets are addressed by path (`/bucket/key`) and by host
(`bucket.<endpoint>`). Anything else is a 400 or 405 that says what was asked.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from video_assets_tests.servers.loopback import LoopbackServer
from video_assets_tests.servers.oss_server_bucket import Bucket, StoredObject, crc64, md5_etag
from video_assets_tests.servers.oss_server_errors import OssError
from video_assets_tests.servers.oss_server_signature import Account, SignedRequest, check_signature

_KEPT_HEADERS = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language")


@dataclass
class Fault:
    """What happens to the next requests instead of, or on top of, their answer.

    Attributes:
        operation: which operation it befalls ("GetObject"); empty for any.
        times: how many requests it befalls.
        status: answer with this status and `code`, before anything is done.
        truncate_at: send so many bytes of the body under its full Content-Length, then close.
        corrupt: turn one byte of the body over; headers say what it was.
        corrupt_upload: turn one byte of the request's body over before anything is done with it.
        delay_s: wait before the answer.
        reset: reset the connection instead of answering; the operation is not done.
        lose_answer: do the operation, then reset the connection.
    """

    operation: str = ""
    times: int = 1
    status: int = 0
    code: str = "InternalError"
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate_at: int | None = None
    corrupt: bool = False
    corrupt_upload: bool = False
    delay_s: float = 0.0
    reset: bool = False
    lose_answer: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it was understood. `query` is decoded, header names are in lower case."""

    method: str
    bucket: str | None
    key: str | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def flag(self, name: str) -> bool:
        """Whether a header says true."""
        return self.headers.get(name, "").lower() == "true"


@dataclass(frozen=True)
class Answer:
    """One answer. `Content-Length`, `Date` and the request's id are added."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class OssServer(LoopbackServer):
    """A server; use it as a context manager.

    Args:
        buckets: the names of the buckets there are.
        accounts: by access key id.
        region: what requests must be signed for.

    Attributes:
        requests: the operation of each request so far, refused ones included, and its key or prefix.
        ranges: the header Range of each GetObject so far.
        faults: what befalls the next requests; see `Fault`.
        denied: operations that no account may do: (operation, bucket or "").
        elsewhere: buckets that lie in another region, and that region's endpoint.
        clock_ahead: how far this server's clock is ahead of ours.
    """

    def __init__(
        self,
        buckets: Iterable[str] = ("fleet",),
        accounts: Mapping[str, Account] | None = None,
        region: str = "cn-test",
    ) -> None:
        self.accounts = dict(accounts or {})
        self.region = region
        self.buckets = {name: Bucket(name) for name in buckets}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()
        self.elsewhere: dict[str, str] = {}
        self.clock_ahead = timedelta()
        self._guard = threading.Lock()
        super().__init__(_handler_of(self))

    @property
    def endpoint(self) -> str:
        """What stands in a URI: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    def count(self, operation: str) -> int:
        """How many requests asked for an operation."""
        return sum(name == operation for name, _ in self.requests)

    def next_fault(self, operation: str) -> Fault:
        """The fault that befalls this request; one of no effect mostly."""
        with self._guard:
            for fault in self.faults:
                if fault.operation in ("", operation) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault()

    def answer(self, request: Request, raw_query: str, note: Callable[[str], Fault]) -> Answer:
        """What OSS answers; `note` hears the operation's name as soon as it is known, and gives its fault.

        Raises:
            OssError: an answer other than success.
        """
        operation, function = _route(request)
        with self._guard:
            self.requests.append((operation, request.key or request.query.get("prefix", "")))
            if operation == "GetObject":
                self.ranges.append(request.headers.get("range", ""))
        if note(operation).corrupt_upload:
            request = replace(request, body=_damaged(request.body))
        signed = SignedRequest(request.method, request.bucket, request.key, raw_query, request.headers)
        check_signature(signed, self.accounts, self.region, datetime.now(UTC) + self.clock_ahead)
        assert request.bucket is not None
        if request.bucket in self.elsewhere:
            message = "The bucket you are attempting to access must be addressed using the specified endpoint. "
            message += "Please send all future requests to this endpoint."
            said = {"Bucket": request.bucket, "Endpoint": self.elsewhere[request.bucket]}
            raise OssError(403, "AccessDenied", message, "0003-00001403", said)
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            said = {"BucketName": request.bucket}
            raise OssError(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101", said)
        if {(operation, request.bucket), (operation, "")} & self.denied:
            message = "You have no right to access this object because of bucket acl."
            raise OssError(403, "AccessDenied", message, "0003-00000001")
        return function(bucket, request)


Operation = Callable[[Bucket, Request], Answer]


def _route(request: Request) -> tuple[str, Operation]:
    """The operation that a method, its path and its query ask for."""
    if request.bucket is None:
        raise OssError(400, "InvalidArgument", f"this server answers for buckets only: {request.method}")
    for method, is_object, marks, name, function in _ROUTES:
        if (method, is_object) == (request.method, request.key is not None) and marks <= _marks(request):
            return name, function
    asked = f"{request.method} {request.bucket}/{request.key or ''}?{request.query}"
    raise OssError(405, "MethodNotAllowed", f"no such call here: {asked}")


def _marks(request: Request) -> set[str]:
    marks = set(request.query)
    if "x-oss-copy-source" in request.headers:
        marks.add("x-oss-copy-source")
    if request.query.get("list-type") == "2":
        marks.add("list-type=2")
    return marks


def _list_objects(bucket: Bucket, request: Request) -> Answer:
    query = request.query
    max_keys = _whole(query.get("max-keys", "100"))
    if not 1 <= max_keys <= 1000:
        raise OssError(400, "InvalidArgument", f"Argument max-keys must be an integer between 1 and 1000: {max_keys}")
    prefix, delimiter, token = query.get("prefix", ""), query.get("delimiter", ""), query.get("continuation-token")
    try:
        after = base64.b64decode(token, validate=True) if token else query.get("start-after", "").encode()
    except ValueError:
        raise OssError(400, "InvalidArgument", "The continuation token provided is incorrect.") from None
    page = bucket.page(prefix, delimiter, after, max_keys)
    text = _quoted if query.get("encoding-type") == "url" else escape
    said = [("Name", bucket.name), ("Prefix", text(prefix)), ("StartAfter", text(query.get("start-after", "")))]
    said += [("MaxKeys", str(max_keys)), ("Delimiter", text(delimiter))]
    said += [("IsTruncated", str(page.next_after is not None).lower())]
    said += [("EncodingType", "url")] if query.get("encoding-type") == "url" else []
    if page.next_after is not None:
        said.append(("NextContinuationToken", base64.b64encode(page.next_after).decode()))
    said += [("Contents", _content(bucket, key, text)) for key in page.keys]
    said += [("CommonPrefixes", f"<Prefix>{text(common)}</Prefix>") for common in page.prefixes]
    said.append(("KeyCount", str(len(page.keys) + len(page.prefixes))))
    return _xml("ListBucketResult", said)


def _content(bucket: Bucket, key: str, text: Callable[[str], str]) -> str:
    stored = bucket.get(key)
    return (
        f"<Key>{text(key)}</Key><LastModified>{_iso(stored.modified_at)}</LastModified>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag><Type>{stored.kind}</Type><Size>{len(stored.data)}</Size>"
        "<StorageClass>Standard</StorageClass>"
    )


def _get_object(bucket: Bucket, request: Request) -> Answer:
    stored = bucket.get(request.key or "")
    _check_conditions(stored, request.headers)
    headers = _object_headers(stored)
    said = request.headers.get("range")
    span = _span(said, len(stored.data), strict=request.headers.get("x-oss-range-behavior") == "standard")
    if span is None:
        return Answer(200, headers, stored.data)
    start, end = span
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(stored.data)}"
    return Answer(206, headers, stored.data[start:end])


def _span(said: str | None, size: int, *, strict: bool) -> tuple[int, int] | None:
    """Start and end of a range; None for the whole, which is OSS's answer to a bad range unless `strict`."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", said or "")
    if match is None or match[0] == "bytes=-":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
    if start >= size or end <= start:
        if strict:
            raise OssError(416, "InvalidRange", "The requested range cannot be satisfied", "0016-00000801")
        return None
    if end > size and not strict:
        return None
    return start, min(end, size)


def _check_conditions(stored: StoredObject, headers: Mapping[str, str], of: str = "") -> None:
    """`of` is "x-oss-copy-source-" for those of a copy's source."""
    wanted = headers.get(f"{of}if-match")
    if wanted is not None and wanted.strip('"') != stored.etag:
        message = "At least one of the pre-conditions you specified did not hold."
        raise OssError(412, "PreconditionFailed", message, "0016-00000401", {"Condition": "If-Match"})
    refused = headers.get(f"{of}if-none-match")
    if refused is not None and refused.strip('"') == stored.etag:
        raise OssError(304, "NotModified", "")


def _head_object(bucket: Bucket, request: Request) -> Answer:
    stored = bucket.get(request.key or "")
    _check_conditions(stored, request.headers)
    return Answer(200, _object_headers(stored), stored.data)


def _object_headers(stored: StoredObject) -> dict[str, str]:
    headers = {"Content-Type": "application/octet-stream", **stored.headers, "ETag": f'"{stored.etag}"'}
    headers |= {"Last-Modified": format_datetime(stored.modified_at, usegmt=True), "Accept-Ranges": "bytes"}
    headers |= {"x-oss-object-type": stored.kind, "x-oss-hash-crc64ecma": stored.crc}
    if stored.kind == "Appendable":
        headers["x-oss-next-append-position"] = str(len(stored.data))
    return headers


def _put_object(bucket: Bucket, request: Request) -> Answer:
    _check_md5(request)
    stored = StoredObject.of(request.body, _kept(request.headers))
    bucket.put(request.key or "", stored, forbid_overwrite=request.flag("x-oss-forbid-overwrite"))
    return Answer(200, {"ETag": f'"{stored.etag}"', "x-oss-hash-crc64ecma": stored.crc, **_version(bucket)})


def _append_object(bucket: Bucket, request: Request) -> Answer:
    position = _whole(request.query.get("position", ""))
    stored = bucket.append(request.key or "", request.body, position, _kept(request.headers))
    headers = {"ETag": f'"{stored.etag}"', "x-oss-hash-crc64ecma": stored.crc}
    return Answer(200, {**headers, "x-oss-next-append-position": str(len(stored.data))})


def _copy_object(bucket: Bucket, request: Request) -> Answer:
    where = unquote(request.headers["x-oss-copy-source"]).removeprefix("/")
    name, _, key = where.partition("/")
    if name != bucket.name:
        raise OssError(400, "InvalidArgument", "this server copies within one bucket only")
    source = bucket.get(key)
    _check_conditions(source, request.headers, "x-oss-copy-source-")
    if source.kind == "Appendable":
        raise OssError(400, "NotSupported", "An appendable object cannot be copied.")
    stored = StoredObject.of(source.data, source.headers, etag=source.etag)
    bucket.put(request.key or "", stored, forbid_overwrite=request.flag("x-oss-forbid-overwrite"))
    said = [("ETag", f"&quot;{stored.etag}&quot;"), ("LastModified", _iso(stored.modified_at))]
    return _xml("CopyObjectResult", said, {"x-oss-hash-crc64ecma": stored.crc})


def _delete_object(bucket: Bucket, request: Request) -> Answer:
    bucket.delete(request.key or "")
    return Answer(204)


def _delete_multiple(bucket: Bucket, request: Request) -> Answer:
    if "content-md5" not in request.headers:
        raise OssError(
            400, "MissingArgument", "Missing Some Required Arguments.", fields={"ArgumentName": "Content-MD5"}
        )
    _check_md5(request)
    keys = [element.findtext("Key", "") for element in _parsed(request.body).iter("Object")]
    if not 1 <= len(keys) <= 1000:
        raise OssError(400, "MalformedXML", "The XML you provided was not well-formed.")
    for key in keys:
        bucket.delete(key)
    return _xml("DeleteResult", [("EncodingType", "url")] + [("Deleted", f"<Key>{_quoted(key)}</Key>") for key in keys])


def _initiate(bucket: Bucket, request: Request) -> Answer:
    upload_id = bucket.initiate(request.key or "", _kept(request.headers))
    said = [("Bucket", bucket.name), ("Key", _quoted(request.key or "")), ("UploadId", upload_id)]
    return _xml("InitiateMultipartUploadResult", [("EncodingType", "url"), *said])


def _upload_part(bucket: Bucket, request: Request) -> Answer:
    _check_md5(request)
    number = _whole(request.query["partNumber"])
    etag = bucket.write_part(request.key or "", request.query["uploadId"], number, request.body)
    return Answer(200, {"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": crc64(request.body)})


def _complete(bucket: Bucket, request: Request) -> Answer:
    said = [
        (_whole(part.findtext("PartNumber", "")), part.findtext("ETag", "").strip('"'))
        for part in _parsed(request.body).iter("Part")
    ]
    forbid = request.flag("x-oss-forbid-overwrite")
    stored = bucket.complete(request.key or "", request.query["uploadId"], said, forbid_overwrite=forbid)
    fields = [("Bucket", bucket.name), ("Key", _quoted(request.key or "")), ("ETag", f"&quot;{stored.etag}&quot;")]
    headers = {"x-oss-hash-crc64ecma": stored.crc, **_version(bucket)}
    return _xml("CompleteMultipartUploadResult", [("EncodingType", "url"), *fields], headers)


def _abort(bucket: Bucket, request: Request) -> Answer:
    bucket.abort(request.key or "", request.query["uploadId"])
    return Answer(204)


def _list_parts(bucket: Bucket, request: Request) -> Answer:
    upload = bucket.upload(request.key or "", request.query["uploadId"])
    after, most = _whole(request.query.get("part-number-marker", "0")), _whole(request.query.get("max-parts", "1000"))
    numbers = [number for number in sorted(upload.parts) if number > after]
    parts = [
        f"<PartNumber>{number}</PartNumber><LastModified>{_iso(at)}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(data)}</Size><HashCrc64ecma>{crc64(data)}</HashCrc64ecma>"
        for number, (data, etag, at) in ((number, upload.parts[number]) for number in numbers[:most])
    ]
    said = [("Bucket", bucket.name), ("Key", _quoted(upload.key)), ("UploadId", request.query["uploadId"])]
    said += [("NextPartNumberMarker", str(numbers[:most][-1] if numbers else 0)), ("MaxParts", str(most))]
    said += [("IsTruncated", str(len(numbers) > most).lower()), ("EncodingType", "url")]
    return _xml("ListPartsResult", said + [("Part", part) for part in parts])


def _list_uploads(bucket: Bucket, request: Request) -> Answer:
    query = request.query
    prefix, most = query.get("prefix", ""), _whole(query.get("max-uploads", "1000"))
    after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    found = sorted((u.key, i, u.initiated_at) for i, u in list(bucket.uploads.items()) if u.key.startswith(prefix))
    # Without an upload id, the key marker means: beyond all uploads of that key.
    found = [entry for entry in found if (entry[:2] > after if after[1] else entry[0] > after[0] or not after[0])]
    uploads = [
        f"<Key>{_quoted(key)}</Key><UploadId>{upload_id}</UploadId><Initiated>{_iso(at)}</Initiated>"
        for key, upload_id, at in found[:most]
    ]
    said = [("Bucket", bucket.name), ("EncodingType", "url"), ("IsTruncated", str(len(found) > most).lower())]
    if len(found) > most:
        last = found[most - 1]
        said += [("NextKeyMarker", _quoted(last[0])), ("NextUploadIdMarker", last[1])]
    return _xml("ListMultipartUploadsResult", said + [("Upload", upload) for upload in uploads])


def _get_versioning(bucket: Bucket, request: Request) -> Answer:
    return _xml("VersioningConfiguration", [("Status", bucket.versioning)] if bucket.versioning else [])


_ROUTES: list[tuple[str, bool, set[str], str, Operation]] = [
    ("GET", False, {"list-type=2"}, "ListObjectsV2", _list_objects),
    ("GET", False, {"uploads"}, "ListMultipartUploads", _list_uploads),
    ("GET", False, {"versioning"}, "GetBucketVersioning", _get_versioning),
    ("POST", False, {"delete"}, "DeleteMultipleObjects", _delete_multiple),
    ("POST", True, {"uploads"}, "InitiateMultipartUpload", _initiate),
    ("POST", True, {"append"}, "AppendObject", _append_object),
    ("POST", True, {"uploadId"}, "CompleteMultipartUpload", _complete),
    ("PUT", True, {"partNumber", "uploadId"}, "UploadPart", _upload_part),
    ("PUT", True, {"x-oss-copy-source"}, "CopyObject", _copy_object),
    ("PUT", True, set(), "PutObject", _put_object),
    ("GET", True, {"uploadId"}, "ListParts", _list_parts),
    ("GET", True, set(), "GetObject", _get_object),
    ("HEAD", True, set(), "HeadObject", _head_object),
    ("DELETE", True, {"uploadId"}, "AbortMultipartUpload", _abort),
    ("DELETE", True, set(), "DeleteObject", _delete_object),
]
"""Method, whether a key is named, what the query (or a header) must hold, and the operation; the first that fits."""


def _xml(root: str, said: Sequence[tuple[str, str]], headers: Mapping[str, str] | None = None) -> Answer:
    """An XML answer; values are escaped already. OSS sends no namespace."""
    elements = "".join(f"<{name}>{text}</{name}>" for name, text in said)
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{elements}</{root}>'.encode()
    return Answer(200, {"Content-Type": "application/xml", **(headers or {})}, body)


def _parsed(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise OssError(400, "MalformedXML", "The XML you provided was not well-formed.") from None


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise OssError(400, "InvalidArgument", f"{text!r} is not a whole number")
    return int(text)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that an object keeps."""
    return {name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith("x-oss-meta-")}


def _version(bucket: Bucket) -> dict[str, str]:
    versions = {"Enabled": {"x-oss-version-id": uuid.uuid4().hex}, "Suspended": {"x-oss-version-id": "null"}}
    return versions.get(bucket.versioning, {})


def _check_md5(request: Request) -> None:
    said = request.headers.get("content-md5")
    if said is not None and said != base64.b64encode(hashlib.md5(request.body).digest()).decode():
        message = "The Content-MD5 you specified is not valid."
        raise OssError(400, "InvalidDigest", message, fields={"Content-MD5": said, "ETag": md5_etag(request.body)})


def _damaged(body: bytes) -> bytes:
    """The bytes with one bit turned over in their middle."""
    middle = len(body) // 2
    return body[:middle] + bytes(byte ^ 1 for byte in body[middle : middle + 1]) + body[middle + 1 :]


def _handler_of(server: OssServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def _respond(self) -> None:
            request_id = uuid.uuid4().hex[:24].upper()

            def note(name: str) -> Fault:
                nonlocal fault
                fault = server.next_fault(name)
                if fault.reset:
                    raise ConnectionAbortedError
                time.sleep(fault.delay_s)
                if fault.status:
                    raise OssError(fault.status, fault.code, "as the test ordered", headers=fault.headers)
                return fault

            fault = Fault()
            try:
                request, raw_query = self._request()
                answer = server.answer(request, raw_query, note)
                if fault.lose_answer:
                    raise ConnectionAbortedError
            except ConnectionAbortedError:
                self._reset()
                return
            except OssError as error:
                body = error.xml(request_id, self.headers.get("Host", ""))
                headers = {"Content-Type": "application/xml", **error.headers}
                if self.command == "HEAD":
                    headers["x-oss-err"] = base64.b64encode(body).decode()
                answer = Answer(error.status, headers, body if self.command != "HEAD" else b"")
            self._send(answer, fault, request_id)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _respond

        def _request(self) -> tuple[Request, str]:
            if "Transfer-Encoding" in self.headers:
                self.close_connection = True
                raise OssError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionAbortedError  # a client that died keeps nothing here
            parts = urlsplit(self.path if self.path.startswith("http://") else f"http://host{self.path}")
            path, host = unquote(parts.path), self.headers.get("Host", "").rpartition(":")[0]
            bucket, key = _addressed(host, path.removeprefix("/"))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Request(self.command, bucket, key, query, headers, body), parts.query

        def _send(self, answer: Answer, fault: Fault, request_id: str) -> None:
            body = answer.body
            self.send_response(answer.status)
            headers = {"x-oss-request-id": request_id, **answer.headers}
            if answer.status != 204:
                headers["Content-Length"] = str(len(body))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault.corrupt:
                body = _damaged(body)
            if fault.truncate_at is not None:
                body, self.close_connection = body[: fault.truncate_at], True
            self.wfile.write(body)

        def _reset(self) -> None:
            """Closes with a TCP reset, without an answer."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def date_time_string(self, timestamp: float | None = None) -> str:
            now = datetime.now(UTC) if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
            return format_datetime(now + server.clock_ahead, usegmt=True)

        def version_string(self) -> str:
            return "AliyunOSS"

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _addressed(host: str, path: str) -> tuple[str | None, str | None]:
    """Bucket and key: by path where the host is an address or `localhost`, else the host's first label."""
    if host == "localhost" or re.fullmatch(r"[\d.]+", host):
        bucket, _, key = path.partition("/")
        return bucket or None, key or None
    return host.partition(".")[0], path or None
