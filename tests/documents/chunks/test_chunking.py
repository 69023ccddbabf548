from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.documents import Chunk, Document, Page, Recursive, Section, Sentences, Splitter, Structure
from runner.documents.markdown import sections
from runner.errors import InputError

WORDS = "alpha beta gamma delta epsilon "
PAPERS = Path("../shared/data/ai_papers")
TOKENIZERS = Path("../shared/data/models/tokenizers")

#: Pieces of which hostile texts are made.
MORSELS = st.sampled_from(
    ["a", "b", " ", "  ", ".", "Word. ", "et al. ", "\n", "\n\n", "# H\n", "H\n==\n", "\n- ", "\n1. ", "> ", "é", "e\u0301", "👩‍👩‍👧", "🇫🇷",
     "مرحبا. ", "汉字。", "`", "|", "-", "$", "$x. Y$", "$$\nz\n\n$$\n", "\n| a | b |\n|--|--|\n| c | d |\n",
     "```\nx = 1\n\ny\n```\n", "\t", "\u2028", "\0"]
)  # fmt: skip


def document(text: str, **more: object) -> Document:
    return Document(**{"id": "d.md", "source": "d.md", "title": "T", "format": "text", "text": text, "sha256": "0", **more})  # type: ignore[arg-type]


def markdown(text: str) -> Document:
    return document(text, format="markdown", sections=sections(text))


def texts(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


@given(st.lists(MORSELS, max_size=40).map("".join), st.integers(1, 40), st.integers(0, 39))
def test_chunks_are_the_spans_that_they_name_and_leave_nothing_out(text: str, size: int, overlap: int) -> None:
    for by in (Structure("markdown"), Structure("text"), Sentences("markdown"), Sentences("text")):
        chunks = list(Splitter(size, min(overlap, size - 1), by).split(markdown(text)))
        for chunk in chunks:
            assert chunk.text == text[chunk.start : chunk.end]
            assert 0 < len(chunk.text) <= size
            assert chunk.text.strip()
        for before, after in pairwise(chunks):
            assert before.start < after.start
            assert before.end < after.end
            assert before.end - after.start < size
            assert before.end - after.start <= overlap
        covered = {place for chunk in chunks for place in range(chunk.start, chunk.end)}
        lost = {place for place, sign in enumerate(text) if not sign.isspace() and place not in covered}
        headings = {place for section in sections(text) for place in range(section.start, section.start + len(section.title) + 8)}
        assert lost <= headings


def test_chunks_overlap_by_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} says something." for n in range(60))
    for by in (Structure(), Sentences()):
        plain, lapped = (list(Splitter(200, overlap, by).split(document(text))) for overlap in (0, 80))
        assert " ".join(texts(plain)) == text
        assert len(lapped) > len(plain)
        assert all(60 < before.end - after.start <= 80 for before, after in pairwise(lapped))
        assert all(chunk.text.startswith("Sentence") and chunk.text.endswith(".") for chunk in lapped)
    assert [chunk.id for chunk in plain[:2]] == ["d.md#0", "d.md#1"]


def test_sections_and_pages_of_chunks() -> None:
    text = "# T\n\nintro\n\n## A\n\n### B\n\nunder b\n\n## C\n\nunder c"
    pages = [Page(1, 0, 0), Page(2, 0, 30), Page(3, 30, len(text))]
    found = list(Splitter(22, by=Structure("markdown")).split(document(text, sections=sections(text), pages=pages)))
    assert [(chunk.text, chunk.section, chunk.page) for chunk in found] == [
        ("# T\n\nintro", "T", 2),
        ("## A\n\n### B\n\nunder b", "A", 2),
        ("## C\n\nunder c", "C", 3),
    ]


def test_small_sections_stay_together_and_large_ones_end_where_they_end() -> None:
    text = "# A\n\n" + "one two three. " * 5 + "\n\n# B\n\nb\n\n# C\n\nc"
    assert texts(list(Splitter(60).split(markdown(text))))[-1] == "# B\n\nb\n\n# C\n\nc"
    assert all(chunk.count("#") <= 1 for chunk in texts(list(Splitter(60, by=Sentences()).split(markdown(text)))))


def test_headings_of_a_document_without_markup_count_too() -> None:
    text = "Intro\nThis begins the paper.\n\nIt goes on.\n\nMethod\n\nThis is how."
    sections_ = [Section(1, "Intro", 0), Section(1, "Method", text.index("Method"))]
    found = list(Splitter(55).split(document(text, format="pdf", sections=sections_)))
    assert [(chunk.section, chunk.text.split()[0]) for chunk in found] == [("Intro", "Intro"), ("Method", "Method")]


@pytest.mark.parametrize("by", [Structure(), Sentences()])
@pytest.mark.parametrize(
    "whole",
    [
        "```python\nx = 1. Y\n\n\ny = 2\n```",
        "| name | value |\n|---|---|\n" + "\n".join(f"| row {n} | {n}.5 |" for n in range(5)),
        "$$\na = 1. B\n\nc = 2\n$$",
        "It is $p(x) = 1. Q(x) = 2. R$",
    ],
    ids=["code", "table", "formula", "inline"],
)
def test_what_belongs_together_is_not_torn_where_it_fits(by: Structure | Sentences, whole: str) -> None:
    for before in range(0, 130, 7):
        text = f"# T\n\n{'Then. ' * (before // 6)}\n\n{whole}\n\n{'After it. ' * 30}"
        for overlap in (0, len(whole) // 2):
            found = texts(list(Splitter(len(whole) + 5, overlap, by).split(markdown(text))))
            assert any(whole in chunk for chunk in found), found
    longer = texts(list(Splitter(20, by=by).split(markdown(whole))))
    assert all(len(chunk) <= 20 for chunk in longer)


@pytest.mark.parametrize("by", [Structure(), Sentences()])
@pytest.mark.parametrize("rule", ["|---|---|\n", ""])
def test_a_table_of_a_pdf_is_not_torn_where_it_fits(by: Structure | Sentences, rule: str) -> None:
    whole = "| name | says |\n" + rule + "\n".join(f"| row {n} | It is. Then it was {n}. |" for n in range(4))
    for before in range(0, 130, 7):
        text = f"{'Then. ' * (before // 6)}\n\n{whole}\n\n{'After it. ' * 30}"
        for overlap in (0, len(whole) // 2):
            splitter = Splitter(len(whole) + 5, overlap, by)
            assert any(whole in chunk for chunk in texts(list(splitter.split(document(text, format="pdf")))))


@pytest.mark.parametrize(
    "sentence",
    [
        "See Fig. 3 and Eq. (4), e.g. the U.S. one.",
        "Brown et al. (2020) report 3.14 points vs. 2.7 in Sec. 2.1.",
        "So it is, cf. Dr. Smith.",
    ],
)
def test_a_full_stop_of_an_abbreviation_or_number_ends_no_sentence(sentence: str) -> None:
    text = " ".join([sentence, "Next one.", sentence, "The last."])
    found = texts(list(Splitter(len(sentence) + 3, by=Sentences()).split(document(text))))
    assert found == [sentence, "Next one.", sentence, "The last."]


def test_the_language_decides_where_sentences_end() -> None:
    text = "Ja. So war es am 21. August in Bonn."
    found = [texts(list(Splitter(34, by=Sentences(language=language)).split(document(text)))) for language in ("de", "en")]
    assert found == [["Ja.", "So war es am 21. August in Bonn."], ["Ja. So war es am 21.", "August in Bonn."]]


def test_the_format_decides_unless_told_otherwise() -> None:
    text = WORDS + "\n\n```\n" + "a b. C d.\n\n" * 3 + "```"
    found = [texts(list(Splitter(60, by=Structure(markup)).split(markdown(text)))) for markup in ("format", "markdown", "text")]  # type: ignore[arg-type]
    assert found[0] == found[1] != found[2]


def test_a_sign_of_several_characters_is_not_torn() -> None:
    family, flag = "👩‍👩‍👧‍👦", "🇫🇷"
    for by in (Structure(), Sentences()):
        for chunk in Splitter(10, by=by).split(document(family * 5 + flag * 20 + "e\u0301" * 20)):
            assert not chunk.text.replace(family, "").replace(flag, "").replace("e\u0301", "")


def test_a_text_of_spaces_has_no_chunk_and_a_lone_heading_is_one() -> None:
    for by in (Structure(), Sentences(), Recursive()):
        assert list(Splitter(10, by=by).split(document(" \n "))) == []
    assert texts(list(Splitter(10).split(markdown("# T")))) == ["# T"]
    assert texts(list(Splitter(10).split(markdown("words here\n\n# T")))) == ["words here"]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_an_overlap_is_less_than_the_size(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"chunks of {size} with an overlap of {overlap}"):
        Splitter(size, overlap)


@pytest.mark.parametrize("text", [" " * 30_000 + "b", "a\tb\n" + "\t " * 15_000 + "b", "- " + " " * 30_000 + "b"])
@pytest.mark.parametrize("by", [Structure(), Sentences()])
def test_a_stretch_of_white_space_takes_no_quadratic_time(by: Structure | Sentences, text: str) -> None:
    looked = 0

    class Text(str):
        def __getitem__(self, at: object) -> str:
            nonlocal looked
            looked += 1
            assert looked < 10 * len(self)
            return super().__getitem__(at)  # type: ignore[index]

    assert [chunk.text.split()[-1] for chunk in Splitter(500, 100, by).split(markdown(Text(text)))][-1] == "b"


@pytest.mark.parametrize("sort", ["x", "word ", "汉字", "👩‍👩‍👧", "A b. C d. ", "“ ", "| a | b |\n", "` ", "- x\n"])
@pytest.mark.parametrize("by", [Structure("markdown"), Structure("text"), Sentences("text"), Recursive()])
def test_time_grows_with_the_length_and_no_faster(by: Structure | Sentences | Recursive, sort: str) -> None:
    """Row 25 of the faults, counted rather than timed: what is looked at for a chunk does not depend on the text's length."""
    looked: list[int] = []
    for length in (40_000, 80_000):
        splitter, seen = Splitter(1000, 100, by), 0
        counted = splitter.measure.count

        def count(text: str, counted=counted) -> int:  # type: ignore[no-untyped-def]
            nonlocal seen
            seen += len(text)
            return counted(text)

        splitter.measure.count = count  # type: ignore[method-assign]
        chunks = sum(1 for _ in splitter.split(document(sort * (length // len(sort)))))
        assert length / 1000 <= chunks <= length / 700
        looked.append(seen)
    assert looked[1] <= 2.2 * looked[0]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*WORDS.split(), "[UNK]"])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(3)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def test_tokens_are_counted_with_the_named_tokenizer(tokenizer: Path) -> None:
    for by in (Structure(), Sentences()):
        found = list(Splitter(10, 2, by, tokenizer).split(document(WORDS * 8)))
        assert [len(chunk.text.split()) for chunk in found] == [10, 10, 10, 10, 8]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["qwen2.5", "llama3"])
def test_no_chunk_has_more_tokens_than_a_real_tokenizer_counts(name: str) -> None:
    from tokenizers import Tokenizer

    file = TOKENIZERS / name / "tokenizer.json"
    if not file.is_file():
        pytest.skip(f"needs {file} of ../shared")
    counting, text = Tokenizer.from_file(str(file)), (PAPERS / "DeepSeek-R1/README.md").read_text() + "汉字没有空格👩‍👩‍👧‍👦" * 300
    for by in (Structure(), Sentences()):
        chunks = list(Splitter(120, 30, by, file).split(markdown(text)))
        lengths = [len(counting.encode(chunk.text, add_special_tokens=False)) for chunk in chunks]
        assert max(lengths) <= 120
        assert sum(lengths) / len(lengths) > 60
        laps = [text[after.start : before.end] for before, after in pairwise(chunks) if after.start < before.end]
        assert max(len(counting.encode(lap, add_special_tokens=False)) for lap in laps) <= 30


@pytest.mark.shared
def test_real_documents_are_cut_at_their_headings_and_sentences() -> None:
    if not PAPERS.is_dir():
        pytest.skip("needs ../shared")
    for path in PAPERS.glob("*/*.md"):
        found = document(path.read_text(), format="markdown", sections=sections(path.read_text()))
        for chunk in Splitter(1200, 150).split(found):
            assert chunk.text.lstrip().startswith("#") or not any(chunk.start == section.start for section in found.sections)
            ends = found.text[chunk.end : chunk.end + 1]
            assert not ends or ends.isspace(), (path, chunk.text[-80:])


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"(?s)x\.json: not a tokenizer: .*name a tokenizer\.json"):
        Splitter(10, tokenizer=tmp_path / "x.json")


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\u2029", "\u0085"])
def test_white_space_beyond_ascii_does_not_stop_the_sentence_rules(space: str) -> None:
    """sentencex panics at a capital that such white space parts from its full stop."""
    text = f"It was said by Mr B{space}. Nobody heard it. All went home."
    chunks = list(Splitter(40, 0, Sentences()).split(document(text)))
    assert [chunk.text for chunk in chunks] == [f"It was said by Mr B{space}. Nobody heard it.", "All went home."]
