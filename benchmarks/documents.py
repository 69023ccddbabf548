"""Reading and cutting PDFs beside pypdf with LangChain's loader and splitter: speed, and reading order on marked sentences.

``python benchmarks/documents.py [FOLDER] [--rounds N] [--peers PYTHON]``. FOLDER holds PDFs, by default those of ../shared/data/ai_papers.
Without ``--peers`` the peers are installed from PyPI into a throw-away environment. Both read and cut the same files into chunks of
1000 characters with 150 of overlap, in one process on one core, taking turns; times leave out the start of Python and imports, and
the best of the rounds is compared. Reading order is the share of hand-marked sentences over ends of columns and pages, and of pairs
of places, that come out in order (tests/documents/pdf/reading_order.json); white space, hyphens and ligatures count for nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import unicodedata
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARKED = ROOT / "tests" / "documents" / "pdf" / "reading_order.json"

#: Each contender is a program that reads paths, one a line, and answers each round with {seconds, chunks, texts}.
OWN = """
from pathlib import Path
from runner.documents import File, Reading, Splitter, read_document
splitter = Splitter(size=1000, overlap=150)
def work(paths):
    texts, chunks = {}, 0
    for path in paths:
        document, verdict = read_document(File(Path(path), Path(path).name), Reading(pdf=ENGINE))
        assert document is not None, verdict
        texts[path] = document.text
        chunks += sum(1 for _ in splitter.split(document))
    return texts, chunks
"""
PEER = """
import warnings
warnings.simplefilter("ignore")
from langchain_community.document_loaders import PyPDFLoader
from langchain_text_splitters import RecursiveCharacterTextSplitter
splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=150)
def work(paths):
    texts, chunks = {}, 0
    for path in paths:
        pages = PyPDFLoader(path).load()
        texts[path] = "\\n".join(page.page_content for page in pages)
        chunks += len(splitter.split_documents(pages))
    return texts, chunks
"""
LOOP = """
import json, sys, time
paths = json.loads(sys.stdin.readline())
work(paths[:1])  # what is imported late
print(flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    texts, chunks = work(paths)
    print(json.dumps({"seconds": time.perf_counter() - began, "chunks": chunks, "texts": texts}), flush=True)
"""


class Contender:
    """A program that waits for its turn."""

    def __init__(self, python: str, program: str, paths: Sequence[Path]) -> None:
        self.process = subprocess.Popen(
            [python, "-c", program + LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        self.times: list[float] = []
        self.last: dict[str, Any] = {}
        self._ask(json.dumps([str(path) for path in paths]))

    def turn(self) -> None:
        self.last = json.loads(self._ask("go"))
        self.times.append(self.last["seconds"])

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args} ended with status {self.process.wait()}")  # type: ignore[str-bytes-safe]
        return answer


def bare(text: str) -> str:
    return re.sub(r"[\s\-\u00ad\u2010]+", "", unicodedata.normalize("NFKC", text)).lower()


def in_order(texts: Mapping[str, str]) -> tuple[int, int, int, int]:
    """Sentences that are whole, of how many; pairs in order, of how many. Of files that were not read, nothing counts."""
    marked = json.loads(MARKED.read_text())
    pages = {Path(path).name: bare(text) for path, text in texts.items()}
    sentences = [item for item in marked["sentences"] if item["file"] in pages]
    pairs = [item for item in marked["pairs"] if item["file"] in pages]
    whole = sum(bare(item["before"] + item["after"]) in pages[item["file"]] for item in sentences)
    ordered = sum(0 <= pages[item["file"]].find(bare(item["first"])) < pages[item["file"]].find(bare(item["second"])) for item in pairs)
    return whole, len(sentences), ordered, len(pairs)


def pages_of(paths: Sequence[Path]) -> int:
    import pypdfium2

    return sum(len(pypdfium2.PdfDocument(path)) for path in paths)


def peers(folder: Path) -> Path:
    """Install the peers; their Python."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/pip", "install", "-q", "pypdf", "langchain-community", "langchain-text-splitters"], check=True)
    return folder / "bin/python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT.parent / "shared" / "data" / "ai_papers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, help="a Python that has pypdf, langchain-community and langchain-text-splitters")
    parser.add_argument("--pymupdf", action="store_true", help="our reader with the PyMuPDF engine as well")
    asked = parser.parse_args()
    paths = sorted(asked.folder.glob("*.pdf"))
    if not paths:
        sys.exit(f"{asked.folder} holds no PDF")
    megabytes, count = sum(path.stat().st_size for path in paths) / 1e6, pages_of(paths)
    with tempfile.TemporaryDirectory() as name:
        python = str(asked.peers or peers(Path(name)))
        contenders = {"recipe-runner": Contender(sys.executable, "ENGINE = 'pypdfium2'" + OWN, paths)}
        if asked.pymupdf:
            contenders["  with PyMuPDF"] = Contender(sys.executable, "ENGINE = 'pymupdf'" + OWN, paths)
        contenders["pypdf + LangChain"] = Contender(python, PEER, paths)
        for _ in range(asked.rounds):
            for contender in contenders.values():
                contender.turn()
        for contender in contenders.values():
            contender.process.kill()
            contender.process.wait()
    own = min(contenders["recipe-runner"].times)
    print(f"{len(paths)} files, {count} pages, {megabytes:.1f} MB, read and cut, one core, best of {asked.rounds} rounds in turn")
    print(f"{'':18} {'pages/s':>8} {'MB/s':>6} {'time':>6} {'chunks':>7} {'sentences':>10} {'pairs':>7}")
    for label, contender in contenders.items():
        best = min(contender.times)
        whole, sentences, ordered, pairs = in_order(contender.last["texts"])
        print(
            f"{label:18} {count / best:8.1f} {megabytes / best:6.2f} {best / own:5.2f}x {contender.last['chunks']:7} "
            f"{f'{whole}/{sentences}':>10} {f'{ordered}/{pairs}':>7}"
        )


if __name__ == "__main__":
    main()
