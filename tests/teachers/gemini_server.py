"""A local HTTP server that speaks Gemini's REST protocol (models.generateContent) and misbehaves as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """An HTTP answer. ``reset`` cuts the connection, ``delay`` waits before answering, both in place of good manners."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    delay: float = 0.0

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def says(text: str, *, finish: str = "STOP", model: str = "gemini-3.6-flash", tokens: tuple[int, int] = (100, 20)) -> Answer:
    """A candidate with this text."""
    candidate: dict[str, Any] = {"finishReason": finish, "index": 0}
    if text:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    usage = {"promptTokenCount": tokens[0], "candidatesTokenCount": tokens[1], "totalTokenCount": sum(tokens)}
    return Answer({"candidates": [candidate], "usageMetadata": usage, "modelVersion": model})


def error(status: int, message: str = "no", *, code: str = "", headers: dict[str, str] | None = None, details: Any = ()) -> Answer:
    """An error in Google's form."""
    body = {"error": {"code": status, "message": message, "status": code, "details": list(details)}}
    return Answer(body, status, {"Content-Type": "application/json", **(headers or {})})


Behaviour = Callable[[int, dict[str, Any]], Answer]


@dataclass
class Server:
    """``requests`` holds path, headers, body, and time of every call; ``behaviour(n, body)`` answers the n-th (from 0)."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0

    def prompts(self) -> list[str]:
        return [request["body"]["contents"][0]["parts"][0]["text"] for request in self.requests]


@contextmanager
def gemini(behaviour: Behaviour | Answer) -> Iterator[Server]:
    """Serve on a free port of this machine until the block ends."""
    lock = threading.Lock()
    busy = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body go out at once, not 40 ms apart

        def do_POST(self) -> None:
            nonlocal busy
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body, "time": time.monotonic()})
                busy += 1
                server.most_at_once = max(server.most_at_once, busy)
            try:
                answer = behaviour if isinstance(behaviour, Answer) else behaviour(number, body)
                time.sleep(answer.delay)
                if answer.reset:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                payload = answer.bytes()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with lock:
                    busy -= 1

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
