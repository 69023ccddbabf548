"""Pinned downloads: bytes from a URL, known by their SHA-256, kept in a folder for all who want them later."""

from __future__ import annotations

import contextlib
import email.utils
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from runner.errors import InputError, StepError

#: Answers after which a second try may go better.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
#: Seconds: for a connection and each piece of an answer; the longest wait that a server may ask for.
_SILENCE, _LONGEST_WAIT = 30.0, 120.0
_PIECE = 1 << 16


@dataclass(frozen=True)
class PinnedUrl:
    """A URL and the SHA-256 of what it gives, in hex. ``name`` is the document's id: ``host/path``, if nothing else is said."""

    url: str
    sha256: str
    name: str = ""

    @property
    def id(self) -> str:
        parts = urlsplit(self.url)
        query = f"?{parts.query}" if parts.query else ""
        return self.name or unquote(f"{parts.hostname or ''}{parts.path}{query}").strip("/")

    def fault(self) -> tuple[str, str, str] | None:
        """What is wrong with it, if anything: the field, the finding, what would be right. Never says a password."""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            return "url", "no URL", "http://... or https://..."
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or (port is not None and not port)
            or re.search(r"[\s\x00-\x1f]", self.url)
        ):
            return "url", "no URL of the web", "http://... or https://..."
        if parts.username is not None or parts.password is not None:
            return "url", "a URL with a user or password in it", "a URL that anybody may read"
        if not self.sha256:
            return "sha256", "the URL is not pinned", f"the SHA-256 of what it gives: `curl -sSL '{self.url}' | sha256sum`"
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            return "sha256", "no SHA-256", "64 digits of 0-9 and a-f"
        if self.name and (self.name.startswith("/") or ".." in self.name.split("/") or not self.name.isprintable()):
            return "name", "no name of a file", "a relative name with an extension, as in papers/lora.pdf"
        return None


class Downloads:
    """Fetches URLs into ``folder``, where a file is named by the SHA-256 of its bytes and is there only when it is whole.

    ``seconds`` bounds one try, ``megabytes`` the size, ``retries`` the tries after the first; between them it waits as the server asks
    (Retry-After) or 1, 2, 4 ... seconds. ``progress`` hears of bytes and, where known, of how many there will be; it is called several
    times a second, and what it raises ends the work. One process fetches a file, others that want it wait.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = 600,
        megabytes: int = 1024,
        retries: int = 4,
        offline: bool = False,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> None:
        self.folder, self.seconds, self.megabytes, self.retries, self.offline = folder, seconds, megabytes, retries, offline
        self._progress = progress or (lambda done, total: None)

    def fetch(self, pinned: PinnedUrl) -> Path:
        """The file with the bytes of a URL. InputError when they are others, StepError when there are none."""
        if fault := pinned.fault():
            raise InputError(fault[1], where=fault[0], remedy=fault[2])
        target = self.folder / pinned.sha256
        if _holds(target, pinned.sha256):
            return target
        if self.offline:
            raise StepError(
                "is not among the downloads, and --offline refuses to fetch it", where=pinned.url, remedy="run once without --offline"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._part(pinned.sha256) as part:
            if not _holds(target, pinned.sha256):  # another process may have brought it meanwhile
                self._download(pinned, part)
                os.replace(part.name, target)
        return target

    @contextlib.contextmanager
    def _part(self, sha256: str) -> Iterator[IO[bytes]]:
        """A file to write to that is this process's alone. What a killed one has left in it is overwritten."""
        path = self.folder / f"{sha256}.part"
        while True:
            with open(path, "ab") as part:
                try:
                    fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._progress(0, None)
                    time.sleep(0.1)
                    continue
                if not _same(path, part):  # it was finished or given up since it was opened
                    continue
                try:
                    yield part
                finally:
                    if _same(path, part):
                        path.unlink()
                return

    def _download(self, pinned: PinnedUrl, part: IO[bytes]) -> None:
        import requests

        with requests.Session() as session:
            session.trust_env = True
            session.auth = _nobody  # or the user's .netrc would be used
            session.headers["User-Agent"] = "recipe-runner"
            session.headers["Accept-Encoding"] = "identity"  # the digest is that of the bytes themselves
            for attempt in range(self.retries + 1):
                try:
                    found = self._attempt(session, pinned.url, part)
                    break
                except _Passing as error:
                    if attempt == self.retries:
                        tries = f" ({attempt + 1} tries)" if attempt else ""
                        raise StepError(f"{error}{tries}", where=pinned.url, remedy="try again later; what is fetched is kept") from error
                    self._sleep(min(error.wait if error.wait is not None else 2.0**attempt, _LONGEST_WAIT))
        if found != pinned.sha256:
            raise InputError(
                f"gives other bytes than the recipe says: SHA-256 {found}, not {pinned.sha256}",
                where=pinned.url,
                remedy="look at what it gives now; if that is what you want, pin the new digest",
            )
        part.flush()
        os.fsync(part.fileno())

    def _attempt(self, session: Any, url: str, part: IO[bytes]) -> str:
        """Fetch into ``part``; the SHA-256 of what came. _Passing when it may go better next time."""
        import requests
        import urllib3

        part.truncate(0)
        deadline = time.monotonic() + self.seconds
        try:
            with session.get(url, stream=True, timeout=min(_SILENCE, self.seconds)) as answer:
                if answer.status_code in _PASSING:
                    raise _Passing(f"the server answers {answer.status_code} {answer.reason}", _wait(answer.headers.get("Retry-After")))
                if answer.status_code != 200:
                    raise StepError(
                        f"the server answers {answer.status_code} {answer.reason}", where=url, remedy="mend the URL, or leave it out"
                    )
                return self._save(answer, url, part, deadline)
        except (requests.TooManyRedirects, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
            what = (
                "leads in a circle of redirects" if isinstance(error, requests.TooManyRedirects) else "leads to what is no page of the web"
            )
            raise StepError(what, where=url, remedy="mend the URL, or leave it out") from error
        except requests.exceptions.SSLError as error:
            raise StepError(f"the server's certificate is not accepted: {_words(error)}", where=url) from error
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise _Passing("the server does not answer in time") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _Passing(f"the connection fails: {_words(error)}") from error

    def _save(self, answer: Any, url: str, part: IO[bytes], deadline: float) -> str:
        length = str(answer.headers.get("Content-Length", ""))
        total = int(length) if length.isdecimal() else None
        digest, size = hashlib.sha256(), 0
        largest = self.megabytes * 1_000_000
        if total is None or total <= largest:
            # Not iter_content: it waits for whole pieces, however slowly they drip in.
            while piece := answer.raw.read1(_PIECE, decode_content=False):
                size += len(piece)
                if size > largest:
                    break
                if time.monotonic() > deadline:
                    raise _Passing(f"the download takes more than {self.seconds:g} s")
                part.write(piece)
                digest.update(piece)
                self._progress(size, total)
        if size > largest or (total or 0) > largest:
            raise StepError(f"is larger than {self.megabytes} MB", where=url, remedy="raise `resources.download_size`, or leave it out")
        if total is not None and size < total:
            raise _Passing(f"the connection ends after {size} of {total} bytes")
        return digest.hexdigest()

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._progress(0, None)
            time.sleep(min(0.2, left))


class _Passing(Exception):
    """What may go better at the next try, after ``wait`` seconds where the server says so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _nobody(request: Any) -> Any:
    return request


def _wait(header: str | None) -> float | None:
    """Seconds that a Retry-After asks for: a number, or a date."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return None


def _words(error: BaseException) -> str:
    """The innermost reason of a failed connection, without the layers of objects around it."""
    seen: BaseException = error
    while (inner := getattr(seen, "reason", None) or (seen.args[-1] if seen.args else None)) is not None and isinstance(
        inner, BaseException
    ):
        seen = inner
    return re.sub(r"<[^<>]*>:?\s*|\w+Connection\([^()]*\):\s*", "", str(seen))[:200]


def _holds(path: Path, sha256: str) -> bool:
    """Whether a file is there and holds what its name says."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _same(path: Path, file: IO[bytes]) -> bool:
    try:
        here, there = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
