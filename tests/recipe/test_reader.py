from __future__ import annotations

import time
from typing import Any

import pytest

from runner.recipe.problems import Findings, render_problems
from runner.recipe.reader import Unreadable, read


def data(text: str | bytes) -> Any:
    findings = Findings()
    node = read(text, "r.yaml", findings)
    assert not findings.problems()
    return node.data()


def refusal(text: str | bytes) -> str:
    findings = Findings()
    started = time.perf_counter()
    with pytest.raises(Unreadable):
        read(text, "r.yaml", findings)
    assert time.perf_counter() - started < 2
    return render_problems(findings.problems())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2e-4", 2e-4), ("1E5", 1e5), (".5", 0.5), ("-3", -3), ("+3", 3), ("0", 0), ("0x1F", 31),
        ("0o17", 15), ("5.", 5.0), ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("010", "010"),
        ("-010", "-010"), ("12:30", "12:30"), ("1_000", "1_000"), ("2026-11-20", "2026-11-20"), ("1e", "1e"),
        ("0b11", "0b11"), ("=", "="), ("true", True), ("FALSE", False), ("~", None), ("null", None), ("", None),
        ("'1'", "1"), ('"true"', "true"), ("'~'", "~"), ("1.2.3", "1.2.3"), ("é", "é"), ("12e03", 12e3),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)  # fmt: skip
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    found = data(f"a: {text}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text() -> None:
    assert data("1: a\ntrue: b\nnull: c\n") == {"1": "a", "true": "b", "null": "c"}


def test_bom_and_crlf() -> None:
    text = b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n"
    assert data(text) == {"a": 1, "b": ["x"]}
    findings = Findings()
    node = read(text, "r.yaml", findings)
    assert (node.value["b"].value[0].where.line, node.value["b"].value[0].where.column) == (3, 5)


def test_positions_count_characters() -> None:
    node = read("日本: {é: 'x'}\n", "r.yaml", Findings())
    inner = node.value["日本"]
    assert (node.keys["日本"].column, inner.keys["é"].column, inner.value["é"].where.column, inner.value["é"].where.width) == (1, 6, 9, 3)


def test_tabs_inside_of_strings_and_comments() -> None:
    assert data('a: "x\ty" # a\tcomment\nb: |\n  1\t2\n#\t\n') == {"a": "x\ty", "b": "1\t2\n"}


def test_aliases_below_the_cap() -> None:
    assert data("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n") == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: " + "{a: " * 100_000, "- " * 100_000, "? " * 100_000, "a: " + "[" * 100_000 + "]" * 100_000]
)
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested more than 50 deep" in refusal(text) or "a key that is a list or a map" in refusal(text)


def test_alias_bomb_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, after in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]")
    assert "aliases that expand to more than 50000 values" in refusal("\n".join(lines))


def test_many_aliases_are_refused() -> None:
    assert "more than 200 aliases" in refusal("a: &a 1\nb: [" + "*a, " * 201 + "]")


def test_large_files_are_refused() -> None:
    assert "is larger than 1 MiB" in refusal(b"#" * (1 << 20) + b"#")
    assert "more than 50000 values" in refusal("[" + "1," * 60_000 + "]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: \xff", "r.yaml:1:4  is not UTF-8 here"),
        ("a: 1".encode("utf-16"), "r.yaml  is UTF-16\n      expected UTF-8"),
        ("%YAML 1.1\n---\na: 1\n", "r.yaml:1:1  a YAML directive"),
        ("%TAG ! tag:x:\n---\na: 1\n", "r.yaml:1:1  a YAML directive"),
        ("a: 111111111111111111111111\n", "expected a number of at most 20 digits"),
        ("a: 0x" + "f" * 5000, "expected a number of at most 20 digits"),
        ("'': 1\n", "an empty key"),
        ("a: &x 1\n*x : 2\n", "a key that is an alias"),
        ("a: !x 1\n", "the tag `!x`"),
        ("a: ! 1\n", "the tag `!`"),
        ("a: [1, 2\n", "r.yaml:1:"),
    ],
)
def test_refusals(text: str | bytes, message: str) -> None:
    assert message in refusal(text)
