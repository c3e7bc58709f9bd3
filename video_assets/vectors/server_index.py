"""The vector index on a Qdrant server, over REST."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from video_assets.vectors.collection import (
    DELETE_BATCH,
    INDEXED_FIELDS,
    SCROLL_PAGE,
    batches,
    check_dim,
    check_id,
    check_limit,
    check_name,
    check_vector,
    is_collection_name,
    mismatch_error,
    missing_error,
    plain_payload,
)
from video_assets.vectors.index_errors import IndexDeniedError, IndexUnreachableError, VectorIndexError
from video_assets.vectors.ranking import as_hit, best_hits
from video_assets.vectors.vector_index import EVERYTHING, Hit, Point, PointFilter

if TYPE_CHECKING:
    from qdrant_client import models

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 30
ATTEMPTS = 4
RETRY_BUDGET_S = 60.0

# A float32 as JSON writes it: up to 17 digits, sign, point, exponent, comma.
_JSON_BYTES_PER_NUMBER = 24
_LONGEST_RETRY_AFTER_S = 30.0
_back_off = wait_random_exponential(multiplier=0.5, max=5.0)


class ServerIndex:
    """See `VectorIndex`. Every call is idempotent and is tried `ATTEMPTS` times while the server is away."""

    def __init__(self, url: str, api_key: SecretStr | None) -> None:
        from qdrant_client import QdrantClient

        self._url = url
        self._dims: dict[str, int] = {}
        self._client = QdrantClient(
            url=url,
            api_key=None if api_key is None else api_key.get_secret_value(),
            timeout=TIMEOUT_S,
            # Its check is a request from a thread of its own that can only warn.
            check_compatibility=False,
        )

    def ensure(self, collection: str, dim: int) -> None:
        from qdrant_client import models

        check_name(collection)
        check_dim(dim)
        if not self._call(collection, self._client.collection_exists, collection):
            self._create(collection, dim)
        info = self._call(collection, self._client.get_collection, collection)
        vectors = info.config.params.vectors
        if (
            not isinstance(vectors, models.VectorParams)
            or vectors.size != dim
            or vectors.distance != models.Distance.COSINE
        ):
            raise mismatch_error(collection, self._url, f"{vectors!r}", dim)
        for field in INDEXED_FIELDS.keys() - info.payload_schema.keys():
            kind = models.PayloadSchemaType(INDEXED_FIELDS[field])
            self._call(collection, self._client.create_payload_index, collection, field, kind, wait=True)

    def partition_points(self, collection: str, date: str, vehicle: str) -> dict[str, str]:
        check_name(collection)
        partition = rest_filter(PointFilter(date=date, vehicle=vehicle))
        found: dict[str, str] = {}
        offset = None
        while True:
            page, offset = self._call(
                collection,
                self._client.scroll,
                collection,
                scroll_filter=partition,
                limit=SCROLL_PAGE,
                offset=offset,
                with_payload=["row_hash"],
            )
            found.update((str(record.id), str((record.payload or {}).get("row_hash", ""))) for record in page)
            if offset is None:
                return found

    def upsert(self, collection: str, points: Iterable[Point]) -> int:
        from qdrant_client import models

        written = 0
        dim = self._dim(collection)
        for batch in batches(points, collection, dim, bytes_per_number=_JSON_BYTES_PER_NUMBER):
            request = models.Batch(
                ids=[point.id for point in batch],
                vectors=[point.vector.tolist() for point in batch],
                payloads=[plain_payload(point.payload) for point in batch],
            )
            self._call(collection, self._client.upsert, collection, request, wait=True)
            written += len(batch)
        return written

    def delete(self, collection: str, ids: Iterable[str], *, where: PointFilter = EVERYTHING) -> int:
        from qdrant_client import models

        self._dim(collection)
        chosen = sorted(set(ids))
        for point in chosen:
            check_id(point)
        removed = 0
        for first in range(0, len(chosen), DELETE_BATCH):
            among = models.HasIdCondition(has_id=[*chosen[first : first + DELETE_BATCH]])
            matching = models.Filter(must=[among, *rest_conditions(where)])
            removed += self._count(collection, matching)
            selector = models.FilterSelector(filter=matching)
            self._call(collection, self._client.delete, collection, selector, wait=True)
        return removed

    def query(
        self,
        collection: str,
        vector: NDArray[np.float32],
        *,
        limit: int,
        where: PointFilter = EVERYTHING,
    ) -> list[Hit]:
        check_limit(limit)
        check_vector("query", vector, collection, self._dim(collection))
        nearest = vector.tolist()
        matching = rest_filter(where)

        def search(count: int) -> list[Hit]:
            response = self._call(
                collection,
                self._client.query_points,
                collection,
                query=nearest,
                query_filter=matching,
                limit=count,
                with_payload=True,
            )
            return [as_hit(str(found.id), found.score, found.payload) for found in response.points]

        return best_hits(search, limit)

    def count(self, collection: str, *, where: PointFilter = EVERYTHING) -> int:
        check_name(collection)
        return self._count(collection, rest_filter(where))

    def collections(self) -> list[str]:
        found = self._call("", self._client.get_collections).collections
        return sorted(entry.name for entry in found if is_collection_name(entry.name))

    def session(self, collection: str) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self._client.close()

    def _create(self, collection: str, dim: int) -> None:
        from qdrant_client import models

        try:
            self._call(
                collection,
                self._client.create_collection,
                collection,
                vectors_config=models.VectorParams(size=dim, distance=models.Distance.COSINE),
            )
        except VectorIndexError as error:
            # Another process was first, or an answer to an earlier attempt got lost.
            if _status(error.__cause__) != 409:
                raise

    def _dim(self, collection: str) -> int:
        """The collection's dimension, asked for once; raises where there is no such collection."""
        from qdrant_client import models

        check_name(collection)
        if collection not in self._dims:
            info = self._call(collection, self._client.get_collection, collection)
            vectors = info.config.params.vectors
            if not isinstance(vectors, models.VectorParams):
                raise mismatch_error(collection, self._url, f"{vectors!r}", "one")
            self._dims[collection] = vectors.size
        return self._dims[collection]

    def _count(self, collection: str, matching: models.Filter | None) -> int:
        counted = self._call(collection, self._client.count, collection, count_filter=matching, exact=True)
        return counted.count

    def _call(self, collection: str, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the client, again while the server is away; its errors become typed ones."""
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(RETRY_BUDGET_S),
            wait=_wait_s,
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        try:
            return retrying(method, *args, **kwargs)
        except Exception as error:
            raise self._typed(collection, error) from error

    def _typed(self, collection: str, error: Exception) -> VectorIndexError:
        status = _status(error)
        if status in (401, 403):
            return IndexDeniedError(
                self._url,
                f"the server refused the API key ({status})",
                "Set the key that the server expects.",
            )
        if status == 404 and collection:
            return missing_error(collection, self._url)
        message = " ".join(str(getattr(error, "source", error)).split())
        if _is_transient(error):
            return IndexUnreachableError(
                self._url,
                f"no usable answer in {ATTEMPTS} attempts: {message}",
                "Check that the Qdrant server runs and that the URL is right.",
            )
        item = f"collection {collection}" if collection else self._url
        return VectorIndexError(item, f"the server refused the request: {message}")


def rest_conditions(where: PointFilter) -> list[models.Condition]:
    """The REST form of what a filter asks for, all of which must hold."""
    from qdrant_client import models

    conditions: list[models.Condition] = [
        models.FieldCondition(key=field, match=models.MatchValue(value=value))
        for field, value in where.equals().items()
    ]
    start, end = where.captured_bounds()
    if start is not None or end is not None:
        # Exact as floats: epoch microseconds stay below 2**53 until the year 2255.
        conditions.append(models.FieldCondition(key="captured_at", range=models.Range(gte=start, lt=end)))
    return conditions


def rest_filter(where: PointFilter) -> models.Filter | None:
    """The REST form of a filter, None where it asks for nothing."""
    from qdrant_client import models

    conditions = rest_conditions(where)
    return models.Filter(must=conditions) if conditions else None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind a client's error, None where there was no answer."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import UnexpectedResponse

    if isinstance(error, ResourceExhaustedResponse):
        return 429
    return error.status_code if isinstance(error, UnexpectedResponse) else None


def _is_transient(error: BaseException) -> bool:
    import httpx
    from qdrant_client.http.exceptions import ResponseHandlingException

    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    status = _status(error)
    return status is not None and (status in (408, 429) or status >= 500)


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked_s = getattr(error, "retry_after_s", 0)
    return max(_back_off(state), min(float(asked_s), _LONGEST_RETRY_AFTER_S))
