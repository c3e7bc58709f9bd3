"""A fleet's batch API over HTTP: ask for a vehicle's footage of a window, wait until it is ready, fetch the bag.

`GET /v1/video?vehicle&camera&startTime&endTime` (epoch seconds) names a bag, `/v1/download?filename` gives it, or leads
to where it lies. The token is sent to the service alone, never to where it leads.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from video_assets.sources.fleet.errors import BrokenDownload, FleetError, FleetStopped, NotReady, UnexpectedReply
from video_assets.sources.fleet.pace import pace_of
from video_assets.sources.fleet.replies import URL_BYTES, bag_name, checked_url, presigned_url, quoted
from video_assets.sources.fleet.token import FleetToken

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")

NO_FOOTAGE = (400, 404)
NOT_YET = (404, 500, 503)
REDIRECTS = (301, 302, 303, 307, 308)
FIRST_SLEEP_S, SLEEP_GROWTH, LONGEST_SLEEP_S = 3.0, 1.5, 30.0
ATTEMPTS = 5
MOST_RETRY_AFTER_S = 300.0


class _TryAgain(FleetError):
    """Not served this time: 5xx, 429, a time limit, a broken connection."""


@dataclass(frozen=True)
class FleetClient:
    """The service, for any number of threads.

    Args:
        base_url: of the service, without `/v1`.
        token: sent with each request to it.
        interval_s: least time between two requests to it, for the whole process.
        max_wait_s: how long a bag may take to get ready.
        min_valid_bytes: a smaller bag is refused.
        timeout_s: of a connection, and of a silence within a reply.
    """

    base_url: str
    token: FleetToken
    interval_s: float = 0.2
    max_wait_s: float = 100.0
    min_valid_bytes: int = 1_000_000
    timeout_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def find(self, vehicle: str, camera: str, start_s: int, end_s: int) -> str | None:
        """The name of the bag with this footage; None where there is none.

        Raises:
            FleetError: the service does not answer, or not in a form that is known.
            FleetStopped: the token is not taken.
        """
        query = {"vehicle": vehicle, "camera": camera, "startTime": str(start_s), "endTime": str(end_s)}

        def ask() -> str | None:
            with self._asked("GET", "/v1/video", query) as reply:
                body = _head(reply.iter_raw())
                if reply.status_code in NO_FOOTAGE:
                    return None
                if reply.status_code != 200:
                    raise _unexpected("/v1/video", reply, body)
                return bag_name(_type(reply), body)

        return self._patiently(ask)

    def fetch(self, name: str, path: Path) -> int:
        """Waits until a bag is ready and writes it to `path`, whole or not at all. Returns its size in bytes.

        Raises:
            NotReady, BrokenDownload, UnexpectedReply, FleetError, FleetStopped.
        """
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                size = self.fetch_into(name, file)
            os.replace(part, path)  # noqa: PTH105
        finally:
            part.unlink(missing_ok=True)
        return size

    def fetch_into(self, name: str, file: BinaryIO) -> int:
        """Waits until a bag is ready and writes it to an empty, seekable file, where an error may leave a part of it.

        Raises:
            NotReady, BrokenDownload, UnexpectedReply, FleetError, FleetStopped.
        """
        self._wait_until_ready(name)
        begun = _Begun(file)
        size = self._patiently(lambda: self._fetch_once(name, begun))
        if size < self.min_valid_bytes:
            cause = f"has {size} bytes, fewer than {self.min_valid_bytes}"
            raise BrokenDownload(name, cause, "It is taken for an error of the service; ask again later.")
        return size

    def _wait_until_ready(self, name: str) -> None:
        deadline, pause, method = time.monotonic() + self.max_wait_s, FIRST_SLEEP_S, "HEAD"
        while True:
            with self._asked(method, "/v1/download", {"filename": name}) as reply:
                status = reply.status_code
                if method == "HEAD":
                    _head(reply.iter_raw())
            if status == 405 and method == "HEAD":
                method = "GET"
                continue
            if status not in NOT_YET:
                if status < 400:
                    return
                raise UnexpectedReply(name, f"/v1/download replies with status {status}", "Ask the service's owner.")
            if time.monotonic() + pause > deadline:
                cause = f"is not ready after {self.max_wait_s:g} s (status {status})"
                raise NotReady(name, cause, "Run again later, or raise VIDEO_ASSETS_FLEET_MAX_WAIT_S.")
            self.sleep(pause)
            pause = min(pause * SLEEP_GROWTH, LONGEST_SLEEP_S)

    def _fetch_once(self, name: str, begun: _Begun) -> int:
        """One try; what an earlier one left is gone on with where the server has ranges."""
        with self._asked("GET", "/v1/download", {"filename": name}) as reply:
            chunks = reply.iter_raw()
            head = _head(chunks)
            url = self._where_it_lies(name, reply, head)
            if url is None:
                return begun.take(reply, chain([head], chunks), name)
        pace_of(urlsplit(url).netloc, self.interval_s).wait()
        with _honest(name, url), self._http.stream("GET", url, headers=begun.range()) as reply:
            if reply.status_code not in (200, 206):
                raise _status(name, reply)
            return begun.take(reply, reply.iter_raw(), name)

    def _where_it_lies(self, name: str, reply: httpx.Response, head: bytes) -> str | None:
        """The URL that a reply leads to; None where it is the bag."""
        if reply.status_code in REDIRECTS:
            return checked_url(str(reply.next_request.url) if reply.next_request else "", _type(reply), b"")
        if reply.status_code != 200:
            raise _status(name, reply)
        return presigned_url(_type(reply), head)

    @contextlib.contextmanager
    def _asked(self, method: str, path: str, query: dict[str, str]) -> Iterator[httpx.Response]:
        """The reply to one request to the service, its body unread; at its turn, and with the token."""
        pace = pace_of(urlsplit(self.base_url).netloc, self.interval_s)
        headers = {"Authorization": f"Bearer {self.token.value()}"}
        pace.wait()
        with _honest(path, self.base_url):
            url = self.base_url.rstrip("/") + path
            with self._http.stream(method, url, params=query, headers=headers) as reply:
                if reply.status_code in (401, 403):
                    cause = f"is not taken by the service (status {reply.status_code})"
                    raise FleetStopped(self.token.where, cause, "Renew it and run again: what is done stays done.")
                if reply.status_code == 429:
                    seconds = _retry_after(reply)
                    pace.hold(seconds)
                    raise _TryAgain(path, f"asks to wait {seconds:g} s (status 429)", "Lower the rate of requests.")
                if reply.status_code >= 500 and (path != "/v1/download" or reply.status_code not in NOT_YET):
                    raise _status(path, reply)
                yield reply

    @cached_property
    def _http(self) -> httpx.Client:
        """One for all threads; it holds no token, since it goes to other hosts too."""
        import httpx

        # Bytes as they are: lengths are counted, and what broke off is gone on with.
        headers = {"Accept-Encoding": "identity"}
        return httpx.Client(timeout=self.timeout_s, follow_redirects=False, trust_env=False, headers=headers)

    def close(self) -> None:
        """Closes the connections; the client may be used again."""
        if client := self.__dict__.pop("_http", None):
            client.close()

    def _patiently(self, once: Callable[[], _T]) -> _T:
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            sleep=self.sleep,
            retry_error_callback=_give_up,
        )
        return retrying(once)


@dataclass
class _Begun:
    """A file under way over several tries. It is gone on with only where the server says that it is the same one."""

    file: BinaryIO
    etag: str = ""

    def range(self) -> dict[str, str]:
        """The headers that ask for the rest."""
        offset = self._size()
        return {"Range": f"bytes={offset}-", "If-Range": self.etag} if offset and self.etag else {}

    def take(self, reply: httpx.Response, chunks: Iterable[bytes], name: str) -> int:
        """Writes the body, also what arrives before a break, and holds it against the length that was announced.

        Returns the size of the whole.
        """
        offset = self._size() if reply.status_code == 206 else 0
        if reply.status_code == 206 and not reply.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            self.etag = ""
            raise _TryAgain(name, "another range than the one asked for arrived", "Ask again.")
        self.etag = reply.headers.get("etag", "")
        length = reply.headers.get("content-length", "")
        self.file.seek(offset)
        self.file.truncate()
        for chunk in chunks:
            self.file.write(chunk)
        size = self.file.tell()
        whole = reply.headers.get("content-range", "").rpartition("/")[2] if offset else length
        if whole.isdigit() and size != int(whole):
            raise _TryAgain(name, f"{size} bytes of {whole} arrived", "Ask again.")
        return size

    def _size(self) -> int:
        return self.file.seek(0, os.SEEK_END)


def _give_up(state: RetryCallState) -> Any:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, FleetError)
    raise FleetError(error.item, f"{error.cause}, {ATTEMPTS} times", "Run again later: what is done stays done.")


@contextlib.contextmanager
def _honest(item: str, url: str) -> Iterator[None]:
    """A connection that fails is no news of the footage; its words are without what the URL may hold."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        host = urlsplit(url).netloc.rpartition("@")[2]
        cause = f"no whole reply from {host}: {type(error).__name__}"
        raise _TryAgain(item, cause, "Look at the network, and at the service.") from error


def _head(chunks: Iterator[bytes]) -> bytes:
    """The beginning of a body, enough for a name or a URL. A connection whose body was read to its end is kept."""
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > URL_BYTES:
            break
    return body


def _type(reply: httpx.Response) -> str:
    return str(reply.headers.get("content-type", ""))


def _status(item: str, reply: httpx.Response) -> FleetError:
    kind = _TryAgain if reply.status_code >= 500 or reply.status_code in (408, 404) else UnexpectedReply
    return kind(item, f"is answered with status {reply.status_code}", "Look at the service.")


def _unexpected(path: str, reply: httpx.Response, body: bytes) -> UnexpectedReply:
    cause = f"has status {reply.status_code}: {quoted(_type(reply), body)}"
    return UnexpectedReply(f"reply to {path}", cause, "Compare it with the service's documentation.")


def _retry_after(reply: httpx.Response) -> float:
    """Seconds (RFC 9110, the form without a date); 5 where the server does not say."""
    text = reply.headers.get("retry-after", "")
    return min(float(text), MOST_RETRY_AFTER_S) if text.isdigit() else 5.0
