"""A hub on this machine: the part of the Hugging Face hub's protocol that fetching a model needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """``files`` of the one model that it has; ``requests`` lists what was asked for."""

    url: str
    model: str
    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main", "v1", COMMIT)
    requests: list[str] = field(default_factory=list)


@contextmanager
def hub(model: str, files: dict[str, bytes]) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(with_body=True)

        def do_HEAD(self) -> None:
            self.reply(with_body=False)

        def reply(self, *, with_body: bool) -> None:
            here.requests.append(f"{self.command} {self.path}")
            path = self.path.split("?")[0]
            revision = path.split("/revision/")[-1].split("/resolve/")[-1].split("/")[0] if "/re" in path else "main"
            if here.model not in path:
                return self.send({"X-Error-Code": "RepoNotFound"}, b"", 404)
            if revision not in here.revisions:
                return self.send({"X-Error-Code": "RevisionNotFound"}, b"", 404)
            if path.startswith("/api/models/"):
                siblings = [{"rfilename": name, "size": len(data)} for name, data in here.files.items()]
                body = json.dumps({"id": here.model, "sha": COMMIT, "siblings": siblings}).encode()
                return self.send({"Content-Type": "application/json"}, body if with_body else b"")
            name = path.rsplit("/", 1)[-1]
            if name not in here.files:
                return self.send({"X-Error-Code": "EntryNotFound"}, b"", 404)
            data = here.files[name]
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return self.send(headers, data if with_body else b"", length=len(data))

        def send(self, headers: dict[str, str], body: bytes, status: int = 200, length: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Hub(f"http://127.0.0.1:{server.server_address[1]}", model, files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
