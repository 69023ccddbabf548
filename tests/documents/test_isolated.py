from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runner.documents import PdfReader

CORPUS = Path(__file__).parents[2] / "recipes" / "corpus"


def test_one_process_reads_many_files_and_ends_with_the_reader() -> None:
    with PdfReader() as reader:
        first = reader.read(CORPUS / "heron-cluster.pdf")
        process = reader._process
        assert process is not None
        again = reader.read(CORPUS / "heron-cluster.pdf")
        assert reader._process is process
    assert first == again
    assert (first["verdict"], first["pages"]) == ("read", 2)
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Make the reading process misbehave on files that are called bad.pdf, as a hostile PDF would make it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'runner.documents.isolated' in sys.orig_argv:\n"
        "    import runner.documents.pdf as pdf\n"
        "    real = pdf.read_pdf\n"
        f"    def bad(path):\n        {body}\n"
        "    pdf.read_pdf = lambda path: bad(path) if path.name == 'bad.pdf' else real(path)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the PDF library crashed on it (SIGSEGV)"),
        ("import os; os._exit(3)", "the PDF library ended with status 3"),
        ("raise ValueError('odd')", "the PDF library failed on it: ValueError: odd"),
        ("x = bytearray(10**10)", "reading it takes more than 600 MB"),
        ("import time; time.sleep(99)", "reading it takes more than 1 s"),
        ("exec('while True: pass')", "reading it takes more than 1 s"),
    ],
)
def test_a_file_that_crashes_hangs_or_bloats_the_library_harms_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    stub(tmp_path, monkeypatch, body)
    started = time.monotonic()
    with PdfReader(seconds=1, megabytes=600) as reader:
        assert reader.read(tmp_path / "bad.pdf")["verdict"] == "damaged"
        assert reader.read(tmp_path / "bad.pdf")["reason"] == reason
        assert reader.read(CORPUS / "heron-cluster.pdf")["verdict"] == "read"
    assert time.monotonic() - started < 15
