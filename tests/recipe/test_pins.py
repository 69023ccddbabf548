from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RecipeError, StepError
from runner.recipe import load, pin, render_problems, unlisted

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]
COMMIT = "0123456789" * 4


class _Hub(BaseHTTPRequestHandler):
    """The part of the hub's REST interface that tells revisions."""

    asked: list[str] = []

    def do_GET(self) -> None:
        _Hub.asked.append(self.path)
        known = self.path.startswith(("/api/models/org/base", "/api/models/org/other"))
        if self.path.startswith("/api/models/org/broken"):
            self._send(500, {"error": "broken"})
        elif known and "/revision/nope" in self.path:
            self._send(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        elif known:
            self._send(200, {"id": "org/base", "sha": COMMIT})
        else:
            self._send(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _Hub.asked.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield _Hub.asked
    server.shutdown()
    server.server_close()
    thread.join()


RECIPE = """
steps:
  a: {uses: model, with: {pretrained: {id: org/base}}}
  b: {uses: model, with: {pretrained: {id: org/other, revision: main}}}
  c: {uses: model}
"""


def test_pin_and_load(write: Write, hub: list[str]) -> None:
    file = write(RECIPE)
    assert load(file).pins == {}
    lock, pins = pin(file)
    assert lock == file.with_suffix(".lock")
    assert pins == {"org/base": COMMIT, "org/other": COMMIT}
    assert lock.read_text(encoding="utf-8") == (
        "# Revisions of models and data sets, read from the hub by `recipe pin`. Not to be written by hand.\n"
        f'org/base: "{COMMIT}"\norg/other: "{COMMIT}"\n'
    )
    assert any("/api/models/org/other/revision/main" in path for path in hub)
    recipe = load(file)
    assert recipe.pins == pins
    assert recipe.instances["a"].params.pretrained.revision == COMMIT  # type: ignore[attr-defined]
    assert recipe.instances["b"].params.pretrained.revision == COMMIT  # type: ignore[attr-defined]
    assert unlisted(recipe) == []
    before = lock.read_bytes()
    pin(file)  # asks for the newest again, not for what the lock says
    assert lock.read_bytes() == before
    assert not any("/revision/0123" in path for path in hub)
    assert len([path for path in hub if "/api/models/org/other/revision/main" in path]) == 2


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("id: org/none", "model org/none: the hub does not have it, or not for you\n  check the id; for a gated one set HF_TOKEN"),
        ("id: org/base, revision: nope", "model org/base: the hub has no revision `nope` of it"),
        ("id: org/broken", "model org/broken: the hub answers 500\n  try again later"),
        ("id: a/b/c", "model a/b/c: is no id of the hub\n  owner/name"),
    ],
)
def test_what_the_hub_does_not_have(write: Write, hub: list[str], use: str, message: str) -> None:
    file = write(f"steps: {{a: {{uses: model, with: {{pretrained: {{{use}}}}}}}}}\n")
    with pytest.raises(StepError) as caught:
        pin(file)
    assert str(caught.value) == message
    assert not file.with_suffix(".lock").exists()


def test_no_hub(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StepError) as caught:
        pin(write(RECIPE))
    assert str(caught.value) == "model org/base: the hub cannot be reached\n  `recipe pin` needs the network"


def test_a_lock_written_by_hand(write: Write) -> None:
    file = write(RECIPE)
    file.with_suffix(".lock").write_text("org/base: main\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(file)
    assert render_problems(caught.value.problems).splitlines()[0] == "recipes/r.lock:1:11  org/base  is no commit of the hub"
