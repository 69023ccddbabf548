"""Documents: files read into clean text with pages and sections, and cut into chunks.

from runner.documents import File, Reading, Splitter, document_ids, read_documents

files = [File(path, id) for path, id in document_ids(paths, ["papers/**/*.pdf"], root).items()]
for document, verdict in read_documents(files, Reading(rules=["whitespace"])):
    ...
chunks = Splitter(size=1000, overlap=150).split(document)
"""

from __future__ import annotations

from runner.documents.chunks.chunking import Chunk, Sentences, Splitter, Structure
from runner.documents.chunks.recursive import Recursive
from runner.documents.cleaning import RULES, clean
from runner.documents.fetching import Downloads, PinnedUrl
from runner.documents.ingest import FORMATS, File, Reading, read_document, read_documents
from runner.documents.model import Document, Page, Section, Verdict
from runner.documents.names import document_ids

__all__ = [
    "FORMATS", "RULES", "Chunk", "Document", "Downloads", "File", "Page", "PinnedUrl", "Reading", "Recursive", "Section",
    "Sentences", "Splitter", "Structure", "Verdict",
    "clean", "document_ids", "read_document", "read_documents",
]  # fmt: skip
