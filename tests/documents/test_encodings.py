from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.documents.encodings import decode, known


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]).filter(lambda c: c != "\ufeff")),
    st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-8"]),
)
def test_what_marks_itself_is_read_back(text: str, codec: str) -> None:
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert decode(text.encode(codec)) == (expected, "")
    assert decode(text.encode(codec), "windows-1252") == (expected, "")


@given(st.binary())
def test_no_bytes_make_it_fail(data: bytes) -> None:
    for html in (False, True):
        text, reason = decode(data, html=html)
        assert (text is None) == bool(reason)
        if text is not None:
            text.encode()


def test_reasons_name_the_line() -> None:
    assert decode(b"a\nb\ncaf\xe9\n")[1].startswith("not UTF-8: byte 0xe9 in line 3; declare what it is")
    assert decode(b"caf\x81", "windows-1252")[1] == "not UTF-8: byte 0x81 in line 1"


@pytest.mark.parametrize(
    ("name", "there"),
    [("utf-8", True), ("windows-1252", True), ("base64", False), ("rot13", False), ("klingon", False), ("", False), ("a\0b", False)],
)
def test_encodings_of_text_are_known(name: str, there: bool) -> None:
    assert known(name) is there
