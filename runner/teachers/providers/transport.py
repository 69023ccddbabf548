"""HTTP as all API teachers use it: one look at every answer before an SDK reads it, no redirects, no retries, no guessing.

The SDKs differ in what they make of a bad answer: one retries, one stumbles over an error in another form, one hands on a login
page as a string. So their transports get a hook that raises :class:`BadAnswer` for whatever is not HTTP 200 with a JSON object; what
becomes of that is said once, in :mod:`runner.teachers.providers.failures`. A redirect ends there too: the SDKs would follow it,
key and all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from runner.errors import StepError
from runner.teachers.providers import Connection

#: Open connections: as many as resources.concurrency may ask for.
_CONNECTIONS = 256


#: Whether the call that this thread makes has been answered with JSON: what an SDK then stumbles over is the server's doing.
answered: ContextVar[bool] = ContextVar("answered", default=False)


class BadAnswer(Exception):
    """An HTTP answer that holds no reply."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.headers, self.text = status, headers, body.decode("utf-8", "replace")

    def data(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none. Google wraps its errors into a list now and then."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        return found if isinstance(found, dict) else {}


def httpx2_client(connection: Connection) -> Any:
    """An ``httpx2.Client`` for the SDKs that take one (google-genai, openai)."""
    import httpx2

    class Bounded(httpx2.SyncByteStream):
        """Some servers send blanks to keep the line open, and a time-out between bytes would wait with them for ever."""

        def __init__(self, stream: httpx2.SyncByteStream) -> None:
            self._stream, self._end = stream, time.monotonic() + connection.timeout

        def __iter__(self) -> Iterator[bytes]:
            for part in self._stream:
                if time.monotonic() > self._end:
                    raise httpx2.ReadTimeout("the body did not come to its end")
                yield part

        def close(self) -> None:
            self._stream.close()

    def look(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = Bounded(response.stream)
        response.read()
        _look(response.status_code, response.headers, response.content)
        response.headers["Content-Type"] = "application/json"  # it is; by another name openai's SDK would not read it

    limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    return httpx2.Client(timeout=connection.timeout, limits=limits, follow_redirects=False, event_hooks={"response": [look]})


def watch(session: Any) -> None:
    """Put the same look into a ``requests.Session`` (google-generativeai)."""
    from requests.adapters import HTTPAdapter

    def look(response: Any, *_: object, **__: object) -> None:
        _look(response.status_code, response.headers, response.content)

    session.hooks["response"].append(look)
    session.auth = lambda request: request  # none: without one, requests looks for a password in ~/.netrc
    for prefix in ("https://", "http://"):
        session.mount(prefix, HTTPAdapter(pool_maxsize=_CONNECTIONS))


def _look(status: int, headers: Mapping[str, str], body: bytes) -> None:
    answer = BadAnswer(status, headers, body)
    data = answer.data()
    error = data.get("error")
    if status == 200 and error:  # some compatible servers pack the error of another server into a 200
        code = error.get("code") if isinstance(error, dict) else None
        answer.status = code if isinstance(code, int) and 400 <= code < 600 else 502
    if answer.status != 200 or not data:
        raise answer
    answered.set(True)


def checked(connection: Connection, *, key_needed: bool = True) -> Connection:
    """The connection, or StepError for a key that no server could take and for an address that is none or holds secrets."""
    key, endpoint = connection.api_key, connection.endpoint
    if key_needed and not key:  # the SDKs would look for another key in the environment
        raise StepError("the API key is empty", remedy="set the variable that resources.api_key_env names")
    if not (key.isascii() and key.isprintable() and " " not in key):  # HTTP libraries quote a bad header in their errors
        raise StepError("the API key holds a space or a character that no key has", remedy="look for a line break at its end")
    if "@" in endpoint or "?" in endpoint:
        raise StepError("resources.endpoint holds credentials or a query", remedy="write the bare address; keys belong into api_key_env")
    if endpoint and not _is_address(endpoint):
        raise StepError(f"resources.endpoint is not an address: {endpoint[:100]}", remedy="write it as https://host/path")
    return connection


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
