"""Documents: files read into clean text with pages and sections, and cut into chunks.

from runner.documents import PdfReader, Splitter, document_ids, read_documents

with PdfReader() as pdf:
    for document, verdict in read_documents(document_ids(files, ["papers/**/*.pdf"], root), ["whitespace"], pdf=pdf):
        ...
chunks = Splitter(size=1000, overlap=150).split(document)
"""

from __future__ import annotations

from runner.documents.chunking import Chunk, Splitter
from runner.documents.cleaning import RULES, clean
from runner.documents.ingest import FORMATS, read_document, read_documents
from runner.documents.isolated import PdfReader
from runner.documents.model import Document, Page, Section, Verdict
from runner.documents.names import document_ids

__all__ = [
    "FORMATS", "RULES", "Chunk", "Document", "Page", "PdfReader", "Section", "Splitter", "Verdict",
    "clean", "document_ids", "read_document", "read_documents",
]  # fmt: skip
