from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.errors import InputError, StepError
from runner.steps import ingest
from tests.steps.local_context import LocalContext

Rows = list[dict[str, Any]]


def run(
    tmp_path: Path, files: dict[str, bytes | str], resources: dict[str, Any] | None = None, *, preview: int | None = None, **params: Any
) -> tuple[Rows, Rows, LocalContext]:
    given = msgspec.convert({"paths": ["corpus/**/*"], **params}, ingest.Params)
    for name, data in files.items():
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = sorted({p for pattern in given.paths for p in tmp_path.glob(pattern) if p.is_file()})
    ctx = LocalContext(
        tmp_path / "ctx", tmp_path, msgspec.convert(resources or {}, ingest.Resources), {"paths": found}, secrets={"PAPERS": "foo"}
    )
    ctx.offline = False
    ctx.preview = preview
    out = tmp_path / "out"
    ingest.run(given, {}, out, ctx)
    rows = [[json.loads(line) for line in (out / "main" / name).read_text().splitlines()] for name in ("documents.jsonl", "files.jsonl")]
    return rows[0], rows[1], ctx


TWO = {"a.md": "# A\n\n<b>bold</b>  ● x", "b.txt": "plain", "LICENSE": "x"}

PAGE = b"<!doctype html><title>Web</title><p>on the web"
SHA = hashlib.sha256(PAGE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A web server on this machine; the address of a folder of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


#: A field of Params -> two values of it that must give different outputs (or one of them an error). WEB stands for the server.
CASES: dict[str, tuple[Any, Any]] = {
    "paths": (["corpus/a.md"], ["corpus/b.txt"]),
    "urls.url": ([{"url": "WEB/x", "sha256": SHA}], [{"url": "WEB/y", "sha256": SHA}]),
    "urls.sha256": ([{"url": "WEB/x", "sha256": SHA}], [{"url": "WEB/x", "sha256": "0" * 64}]),
    "urls.name": ([{"url": "WEB/x", "sha256": SHA}], [{"url": "WEB/x", "sha256": SHA, "name": "x.txt"}]),
    "clean": ([], ["html", "whitespace", "special-symbols"]),
    "pdf": ("pypdfium2", "pymupdf"),
    "encoding": (None, "windows-1252"),
    "on_unreadable": ("fail", "skip"),
}
PROVED: set[str] = {field.partition(".")[0] for field in CASES}
#: What a case needs besides TWO.
MORE: dict[str, dict[str, bytes | str]] = {"on_unreadable": {"c.md": ""}, "encoding": {"c.md": b"caf\xe9"}}


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_output(tmp_path: Path, field: str, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if field == "pdf":  # both libraries may read a page alike: what counts is which one is asked for
        import runner.documents as documents

        asked: list[Any] = []
        real = documents.read_documents
        monkeypatch.setattr(
            documents, "read_documents", lambda files, reading, **limits: asked.append(reading.pdf) or real(files, **limits)
        )
    seen: list[Any] = []
    for number, value in enumerate(CASES[field]):
        given = [{**url, "url": url["url"].replace("WEB", web)} for url in value] if field.startswith("urls.") else value
        try:
            documents_, files, _ = run(tmp_path / str(number), {**TWO, **MORE.get(field, {})}, **{field.split(".")[0]: given})
            seen.append((documents_, files))
        except InputError as error:
            seen.append(str(error))
    assert seen[0] != seen[1] if field != "pdf" else asked == list(CASES["pdf"])


def test_documents_are_as_the_artifact_says(tmp_path: Path) -> None:
    documents, files, ctx = run(tmp_path, TWO, clean=["html", "special-symbols", "whitespace"])
    assert documents[0] == {
        "id": "a.md", "source": "corpus/a.md", "title": "A", "format": "markdown", "text": "# A\n\nbold ● x", "pages": [],
        "sections": [{"level": 1, "title": "A", "start": 0}], "sha256": documents[0]["sha256"],
    }  # fmt: skip
    assert [row["id"] for row in documents] == ["a.md", "b.txt"]
    assert files[1] == {"path": "corpus/b.txt", "verdict": "read", "reason": "", "pages": 0, "characters": 5}
    assert ctx.facts == {"documents": 2, "characters": 18}
    assert ctx.messages == ["1 of 3 files have no known extension and are left out"]
    assert ctx.last_progress == (2, 2, "files")


def test_a_file_without_text_fails_or_is_left_out_and_said(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.md": "text", "b.pdf": b"none", "c.txt": ""}
    with pytest.raises(InputError) as caught:
        run(tmp_path, files)
    assert str(caught.value) == (
        "paths: 2 files give no text\n"
        "  corpus/b.pdf: damaged: not a PDF, or its structure is damaged\n"
        "  corpus/c.txt: empty: the file has no bytes\n"
        "  mend the files, leave them out, or set `on_unreadable: skip`"
    )
    documents, verdicts, ctx = run(tmp_path, files, on_unreadable="skip")
    assert [row["id"] for row in documents] == ["a.md"]
    assert [row["verdict"] for row in verdicts] == ["read", "damaged", "empty"]
    assert len(ctx.warnings) == 2


def test_nothing_readable_is_an_error_under_skip_too(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no document could be read"):
        run(tmp_path, {"c.txt": ""}, on_unreadable="skip")
    with pytest.raises(StepError, match=r"known extensions are \.htm, \.html, \.markdown"):
        run(tmp_path / "2", {"c.zip": "x"})


def test_a_file_that_is_named_must_have_a_known_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus/LICENSE: unsupported: the formats are"):
        run(tmp_path, TWO, paths=["corpus/LICENSE"])


def test_same_bytes_are_warned_about(tmp_path: Path) -> None:
    _, _, ctx = run(tmp_path, {"a.md": "text", "b.md": "text"})
    assert ctx.warnings == ["corpus/b.md has the same bytes as corpus/a.md"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    pdf = (Path(__file__).parents[2] / "recipes" / "corpus" / "heron-cluster.pdf").read_bytes()
    texts = []
    for number in range(2):
        run(tmp_path / str(number), {**TWO, "p.pdf": pdf})
        texts.append((tmp_path / str(number) / "out" / "main" / "documents.jsonl").read_bytes())
    assert texts[0] == texts[1]


def test_resources_reach_the_reading_and_the_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: str) -> None:
    import runner.documents as documents

    seen: list[dict[str, Any]] = []
    reading, downloads = documents.read_documents, documents.Downloads
    monkeypatch.setattr(documents, "read_documents", lambda *given, **limits: seen.append(limits) or reading(*given, **limits))
    monkeypatch.setattr(documents, "Downloads", lambda *given, **limits: seen.append(limits) or downloads(*given, **limits))
    own = {"concurrency": 2, "file_timeout": 7, "file_memory": 777, "download_timeout": 8, "download_size": 9, "download_retries": 1}
    run(tmp_path, TWO, own, urls=[{"url": web + "/x", "sha256": SHA}])
    given = {name: value for limits in seen for name, value in limits.items() if isinstance(value, (int, float))}
    assert given == {"seconds": 7, "megabytes": 777, "concurrency": 2, "retries": 1, "offline": False}
    assert (seen[0]["seconds"], seen[0]["megabytes"]) == (8, 9)


def test_a_url_is_a_document(tmp_path: Path, web: str) -> None:
    urls = [{"url": f"{web}/papers/x", "sha256": SHA}, {"url": f"{web}/y", "sha256": SHA, "name": "web/y.htm"}]
    documents, files, ctx = run(tmp_path, {}, paths=[], urls=urls)
    assert [(row["id"], row["source"], row["format"], row["text"]) for row in documents] == [
        (f"{web.removeprefix('http://').split(':')[0]}/papers/x", f"{web}/papers/x", "html", "on the web"),
        ("web/y.htm", f"{web}/y", "html", "on the web"),
    ]
    assert files[0] == {"path": f"{web}/papers/x", "verdict": "read", "reason": "", "pages": 0, "characters": 10}
    assert [path.name for path in ctx.cache("downloads").iterdir()] == [SHA]
    assert ctx.warnings == [f"{web}/y has the same bytes as {web}/papers/x"]


def test_a_url_whose_format_cannot_be_told_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: str) -> None:
    monkeypatch.setitem(globals(), "PAGE", b"plain words")
    sha256 = hashlib.sha256(b"plain words").hexdigest()
    with pytest.raises(InputError, match="unsupported: the formats are"):
        run(tmp_path, {}, paths=[], urls=[{"url": web + "/x", "sha256": sha256}])
    documents, _, _ = run(tmp_path, {}, paths=[], urls=[{"url": web + "/x", "sha256": sha256, "name": "x.txt"}])
    assert documents[0]["text"] == "plain words"


def test_a_file_and_a_url_of_one_id_are_refused(tmp_path: Path, web: str) -> None:
    with pytest.raises(InputError, match=r"corpus/a\.md and http.*/x would both be the document `a\.md`"):
        run(tmp_path, TWO, urls=[{"url": web + "/x", "sha256": SHA, "name": "a.md"}])


def test_a_preview_reads_a_few_files(tmp_path: Path, web: str) -> None:
    documents, files, _ = run(tmp_path, TWO, preview=1, urls=[{"url": "http://127.0.0.1:9/never-asked", "sha256": SHA}])
    assert [row["id"] for row in documents] == ["a.md"]
    assert len(files) == 1


def faults(**params: Any) -> list[tuple[str, str]]:
    return [(fault.path, fault.found) for fault in ingest.check(msgspec.convert(params, ingest.Params), {})]


def test_what_is_wrong_is_said_before_anything_runs() -> None:
    assert faults() == [("paths", "nothing to read")]
    assert faults(paths=["a"], encoding="klingon") == [("encoding", "no encoding `klingon` is known")]
    urls = [
        {"url": "https://h/x"},
        {"url": "https://u:hunter2@h/x", "sha256": SHA},
        {"url": "https://h/x", "sha256": SHA},
        {"url": "http://h/x", "sha256": SHA},
    ]
    assert faults(urls=urls) == [
        ("urls[0]", "the URL is not pinned"),
        ("urls[1].url", "a URL with a user or password in it"),
        ("urls[3]", "has the id `h/x`, as urls[2] has"),
    ]
    assert "hunter2" not in str(list(ingest.check(msgspec.convert({"urls": urls}, ingest.Params), {})))
    assert faults(urls=urls[2:3]) == []


ENCRYPTED = Path(__file__).parents[3] / "shared" / "data" / "pdf_odd" / "pdfminer.six" / "aes-128.pdf"


@pytest.mark.shared
def test_passwords_are_names_of_variables(tmp_path: Path) -> None:
    if not ENCRYPTED.exists():
        pytest.skip("../shared is missing")
    files: dict[str, bytes | str] = {"deep/a.pdf": ENCRYPTED.read_bytes(), "b.md": "text"}
    with pytest.raises(InputError, match=r"corpus/deep/a\.pdf: encrypted: .*password"):
        run(tmp_path / "without", files)
    for number, pattern in enumerate(["corpus/deep/a.pdf", "corpus/*.pdf", "./corpus/deep/a.pdf"]):
        entries = [{"files": pattern, "password_env": "PAPERS"}, {"files": "*.pdf", "password_env": "NOT_SET"}]
        documents, _, ctx = run(tmp_path / str(number), files, {"passwords": entries})
        assert [row["id"] for row in documents] == ["b.md", "deep/a.pdf"]
        assert ctx.warnings == ["passwords: no file is left for `*.pdf`"]
    with pytest.raises(StepError, match="NOT_SET is not set"):
        run(tmp_path / "unset", files, {"passwords": [{"files": "*.pdf", "password_env": "NOT_SET"}]})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"files": "x", "password_env": "a literal!"}, ingest.Password)
