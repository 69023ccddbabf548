"""A hub on this machine: the part of the Hugging Face hub's protocol that loading a data set needs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OLD, NEW = "0123456789abcdef0123456789abcdef01234567", "f" * 40  # commits


@dataclass
class Hub:
    """``files`` of the one data set that it has, by commit and by branch; ``requests`` lists what was asked for."""

    url: str
    dataset: str
    files: dict[str, dict[str, bytes]]
    requests: list[str] = field(default_factory=list)
    sent: int = 0  # bytes of answers


def _shallow(entries: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Files and folders right below a folder."""
    start = len(folder) + 1 if folder else 0
    folders = {entry["path"][: start + entry["path"][start:].index("/")] for entry in entries if "/" in entry["path"][start:]}
    files = [entry for entry in entries if "/" not in entry["path"][start:]]
    return [*({"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)), *files]


@contextmanager
def hub(dataset: str, files: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    def commit_of(revision: str) -> str:
        return next(name for name, held in here.files.items() if len(name) == 40 and held == here.files[revision])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply()

        def do_HEAD(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: Any = None) -> None:
            path = self.path.split("?")[0]
            here.requests.append(f"{self.command} {self.path}")
            if f"/{here.dataset}" not in path:
                return self.send({"X-Error-Code": "RepoNotFound"}, b"", 404)
            found = re.search(r"/(revision|resolve|tree|paths-info)/([^/]+)/?(.*)", path)
            action, revision, name = found.groups() if found else ("revision", "main", "")
            if revision not in here.files:
                return self.send({"X-Error-Code": "RevisionNotFound"}, b"", 404)
            held = here.files[revision]
            if action == "resolve":
                return self.file(held.get(name), commit_of(revision))
            entries = [{"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in sorted(held.items())]
            if action == "tree":
                below = [entry for entry in entries if not name or str(entry["path"]).startswith(name + "/")]
                if name and not below:
                    return self.send({"X-Error-Code": "EntryNotFound"}, b"", 404)
                return self.json(below if "recursive=true" in self.path.lower() else _shallow(below, name))
            if action == "paths-info":
                return self.json([entry for entry in entries if entry["path"] in body["paths"]])
            siblings = [{"rfilename": entry["path"], "size": entry["size"]} for entry in entries]
            return self.json({"id": here.dataset, "sha": commit_of(revision), "siblings": siblings, "private": False, "tags": []})

        def file(self, data: bytes | None, commit: str) -> None:
            if data is None:
                return self.send({"X-Error-Code": "EntryNotFound"}, b"", 404)
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if wanted is None:
                return self.send(headers, data)
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            return self.send({**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1], 206)

        def json(self, value: Any) -> None:
            self.send({"Content-Type": "application/json"}, json.dumps(value).encode())

        def send(self, headers: dict[str, str], body: bytes, status: int = 200) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            with suppress(ConnectionError):  # who streams goes when it has enough
                for start in range(0, len(body), 1 << 16):
                    here.sent += self.wfile.write(body[start : start + (1 << 16)])

        def log_message(self, *arguments: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here = Hub(f"http://127.0.0.1:{server.server_address[1]}", dataset, files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
