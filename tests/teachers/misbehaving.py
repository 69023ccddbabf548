"""A local HTTP server that takes JSON by POST and misbehaves as a test tells it to; the protocols are in the modules beside it."""

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
    """An HTTP answer. ``reset`` cuts the connection, ``delay`` waits before answering, ``cut`` ends amid the body it announced,
    ``drip`` is how many seconds long blanks are sent before the body.
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    delay: float = 0.0
    cut: bool = False
    drip: float = 0.0

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Behaviour = Callable[[int, dict[str, Any]], Answer]


@dataclass
class Server:
    """``requests`` holds path, headers, body, and time of every call; ``behaviour(n, body)`` answers the n-th (from 0)."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0

    def prompts(self) -> list[str]:
        """What was asked, in Gemini's form or OpenAI's."""
        bodies = [request["body"] for request in self.requests]
        return [body["messages"][0]["content"] if "messages" in body else body["contents"][0]["parts"][0]["text"] for body in bodies]


@contextmanager
def serve(behaviour: Behaviour | Answer) -> Iterator[Server]:
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
                blanks = round(answer.drip / 0.05)
                payload = answer.bytes()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(blanks + len(payload)))
                self.end_headers()
                for _ in range(blanks):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)
                self.wfile.write(payload[: len(payload) // 2] if answer.cut else payload)
                self.close_connection = self.close_connection or answer.cut
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
