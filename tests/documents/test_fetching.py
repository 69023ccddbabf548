from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.documents import Downloads, PinnedUrl
from runner.errors import InputError, StepError

BODY = b"# A paper\n\nwith text\n" * 1000
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """A web server on this machine that misbehaves as the path says, and remembers who asked for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.server.headers.append(dict(self.headers))
        times = self.server.seen.count(self.path)
        match self.path.split("/")[1]:
            case "good.md" | "name":
                self.answer(200, BODY)
            case "error-then-good":
                self.answer(*((500, b"no") if times == 1 else (200, BODY)))
            case "busy-then-good":
                self.answer(*((429, b"no", {"Retry-After": "7"}) if times == 1 else (200, BODY)))
            case "cut-then-good":
                self.answer(200, BODY[:100] if times == 1 else BODY, {"Content-Length": str(len(BODY))})
            case "reset-then-good":
                if times == 1:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    self.connection.close()
                else:
                    self.answer(200, BODY)
            case "gone":
                self.answer(404, b"no such page")
            case "down":
                self.answer(503, b"down")
            case "loop":
                self.answer(302, b"", {"Location": "/loop"})
            case "moved":
                self.answer(301, b"", {"Location": "/good.md"})
            case "to-file":
                self.answer(302, b"", {"Location": "file:///etc/passwd"})
            case "huge":
                self.answer(200, b"", {"Content-Length": str(10**10)})
            case "endless":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x" * 100_000)
            case "drip":
                self.send_response(200)
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                for byte in BODY:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            case "silent":
                time.sleep(5)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    made.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_url_is_fetched_once_and_kept_by_its_digest(tmp_path: Path, server: Server) -> None:
    seen: list[tuple[int, int | None]] = []
    downloads = Downloads(tmp_path / "d", progress=lambda done, total: seen.append((done, total)))
    path = downloads.fetch(PinnedUrl(server.url("/good.md"), SHA))
    assert path.read_bytes() == BODY
    assert left(tmp_path / "d") == [SHA]
    assert seen[-1] == (len(BODY), len(BODY))
    assert Downloads(tmp_path / "d", offline=True).fetch(PinnedUrl(server.url("/other-address"), SHA)) == path
    assert server.seen == ["/good.md"]
    assert "Authorization" not in server.headers[0]


def test_a_kept_file_that_was_damaged_is_fetched_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / SHA).write_bytes(b"rot")
    (tmp_path / f"{SHA}.part").write_bytes(b"what a killed process left" * 10_000)
    assert Downloads(tmp_path).fetch(PinnedUrl(server.url("/good.md"), SHA)).read_bytes() == BODY
    assert left(tmp_path) == [SHA]


@pytest.mark.parametrize("path", ["/error-then-good", "/cut-then-good", "/reset-then-good", "/moved"])
def test_what_passes_is_tried_again(tmp_path: Path, server: Server, path: str) -> None:
    assert Downloads(tmp_path).fetch(PinnedUrl(server.url(path), SHA)).read_bytes() == BODY
    assert len(server.seen) == 2


def test_a_busy_server_is_left_alone_as_long_as_it_asks(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Downloads, "_sleep", lambda self, seconds: waits.append(seconds))
    Downloads(tmp_path).fetch(PinnedUrl(server.url("/busy-then-good"), SHA))
    assert waits == [7]
    waits.clear()
    with pytest.raises(StepError, match=r"answers 503 Service Unavailable \(4 tries\)"):
        Downloads(tmp_path / "other", retries=3).fetch(PinnedUrl(server.url("/down"), SHA))
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(
    ("path", "limits", "message"),
    [
        ("/gone", {}, "the server answers 404 Not Found"),
        ("/loop", {}, "leads in a circle of redirects"),
        ("/to-file", {}, "leads to what is no page of the web"),
        ("/huge", {}, "is larger than 1 MB"),
        ("/endless", {}, "is larger than 1 MB"),
        ("/drip", {"seconds": 0.3}, "the download takes more than 0.3 s"),
        ("/silent", {"seconds": 0.3}, "the server does not answer in time"),
    ],
)
def test_what_cannot_be_had_is_said_and_leaves_nothing(
    tmp_path: Path, server: Server, path: str, limits: dict[str, float], message: str
) -> None:
    with pytest.raises(StepError) as caught:
        Downloads(tmp_path, megabytes=1, retries=0, **limits).fetch(PinnedUrl(server.url(path), SHA))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert server.url(path) in str(caught.value)
    assert left(tmp_path) == []
    assert len(server.seen) == (31 if path == "/loop" else 1)


def test_nobody_there_is_said_in_plain_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.md"
        with pytest.raises(StepError) as caught:
            Downloads(tmp_path, retries=0).fetch(PinnedUrl(url, SHA))
    assert "the connection fails: " in str(caught.value)
    assert "object at" not in str(caught.value)
    assert "Connection refused" in str(caught.value)


def test_other_bytes_are_refused_with_both_digests(tmp_path: Path, server: Server) -> None:
    wrong = "0" * 64
    with pytest.raises(InputError) as caught:
        Downloads(tmp_path).fetch(PinnedUrl(server.url("/good.md"), wrong))
    assert f"SHA-256 {SHA}, not {wrong}" in str(caught.value)
    assert left(tmp_path) == []


def test_offline_refuses_what_is_not_there(tmp_path: Path, server: Server) -> None:
    with pytest.raises(StepError, match="--offline refuses to fetch it"):
        Downloads(tmp_path / "d", offline=True).fetch(PinnedUrl(server.url("/good.md"), SHA))
    assert server.seen == []
    assert not (tmp_path / "d").exists()


def test_two_who_want_the_same_fetch_it_once(tmp_path: Path, server: Server) -> None:
    pinned = PinnedUrl(server.url("/good.md"), SHA)
    threads = [threading.Thread(target=lambda: Downloads(tmp_path).fetch(pinned)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.seen == ["/good.md"]
    assert left(tmp_path) == [SHA]


def test_who_waits_may_stop(tmp_path: Path, server: Server) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Downloads(tmp_path, progress=stop).fetch(PinnedUrl(server.url("/down"), SHA))
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "sha256", "field", "found"),
    [
        ("ftp://h/x.md", SHA, "url", "no URL of the web"),
        ("file:///etc/passwd", SHA, "url", "no URL of the web"),
        ("http:///x", SHA, "url", "no URL of the web"),
        ("https://h/a b", SHA, "url", "no URL of the web"),
        ("https://[h/x", SHA, "url", "no URL"),
        ("https://h:99999/x", SHA, "url", "no URL"),
        ("https://user@h/x", SHA, "url", "a URL with a user or password in it"),
        ("https://u:hunter2@h/x", SHA, "url", "a URL with a user or password in it"),
        ("https://h/x", "", "sha256", "the URL is not pinned"),
        ("https://h/x", "abc", "sha256", "no SHA-256"),
    ],
)
def test_what_is_no_pinned_url_is_said(tmp_path: Path, url: str, sha256: str, field: str, found: str) -> None:
    fault = PinnedUrl(url, sha256).fault()
    assert fault is not None
    assert fault[:2] == (field, found)
    assert "hunter2" not in str(fault)
    with pytest.raises(InputError) as caught:
        Downloads(tmp_path).fetch(PinnedUrl(url, sha256))
    assert "hunter2" not in str(caught.value)


def test_a_name_stays_a_name() -> None:
    for name in ("/etc/x.md", "../x.md", "a/../../x.md", "a\nb.md"):
        fault = PinnedUrl("https://h/x", SHA, name).fault()
        assert fault is not None
        assert fault[0] == "name"
    assert PinnedUrl("https://h/x", SHA, "papers/lora..md").fault() is None


def test_a_document_is_called_by_its_address_or_its_name() -> None:
    assert PinnedUrl("https://arxiv.org/pdf/1706.03762", SHA).id == "arxiv.org/pdf/1706.03762"
    assert PinnedUrl("https://h:8080/a%20b/?q=1", SHA).id == "h/a b/?q=1"
    assert PinnedUrl("https://h/x", SHA, "attention.pdf").id == "attention.pdf"
