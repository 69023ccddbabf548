"""Reads YAML into positioned nodes, from PyYAML's event stream: YAML 1.2 core scalars, everything ambiguous refused, sizes capped."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from typing import Any

import yaml

from runner.errors import Where
from runner.recipe.nodes import Node
from runner.recipe.problems import Findings

MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_ALIASES = 1 << 20, 50, 50_000, 200

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_ODD_SPACE = re.compile(r"^ *([\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Unreadable(Exception):
    """The text is no YAML that the language takes; the problem is in the findings."""


def read(text: bytes | str, name: str, findings: Findings) -> Node:
    """The one document of a text. ``name`` is how the file is called in messages. Raises Unreadable."""
    if len(text) > MAX_BYTES:
        _refuse(findings, Where(name), f"is larger than {MAX_BYTES >> 20} MiB", "a recipe, not data")
    source = text if isinstance(text, str) else _decode(text, name, findings)
    source = source.removeprefix("\ufeff")
    findings.lines[name] = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if (bad := _CONTROL.search(source)) is not None:
        line, column = _position(source, bad.start())
        _refuse(findings, Where(name, line, column), f"control character U+{ord(bad.group()):04X}", "plain text")
    return _Builder(source, name, findings).build()


def parse_scalar(text: str) -> Any:
    """A plain scalar's value by the YAML 1.2 core schema. ``010``, ``12:30``, ``no`` are strings. Raises ValueError for inf and NaN."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) > 20:
            raise ValueError("a number of at most 20 digits")
        return int(text, 0) if _BASED.fullmatch(text) else int(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a finite number")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("a finite number")
        return number
    return text


def _decode(data: bytes, name: str, findings: Findings) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(findings, Where(name), "is UTF-16", "UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = _position(before, len(before))
        findings.lines[name] = data.decode("utf-8", "replace").split("\n")
        _refuse(findings, Where(name, line, column), "is not UTF-8 here", "UTF-8")
        raise AssertionError from error


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _refuse(findings: Findings, where: Where, found: str, expected: str = "", hint: str = "") -> None:
    findings.add(where, "", found, expected, hint)
    raise Unreadable


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


class _Open:
    """A collection that is still being read."""

    def __init__(self, where: Where, anchor: str | None, is_map: bool) -> None:
        self.where, self.anchor, self.is_map = where, anchor, is_map
        self.entries: dict[str, Node] = {}
        self.keys: dict[str, Where] = {}
        self.elements: list[Node] = []
        self.key: str | None = None
        self.size = 1


class _Builder:
    def __init__(self, source: str, name: str, findings: Findings) -> None:
        self.source, self.name, self.findings = source, name, findings
        self.anchors: dict[str, Node | None] = {}
        self.aliases = self.nodes = 0
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.scalars: list[tuple[int, int]] = []

    def build(self) -> Node:
        documents = 0
        try:
            for event in yaml.parse(self.source, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self.refuse(event, "a second document", "one document per file")
                    if event.version or event.tags:
                        self.refuse(event, "a YAML directive", "none: the language is YAML 1.2")
                elif isinstance(event, yaml.NodeEvent):
                    self.node(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self.close()
        except yaml.MarkedYAMLError as error:
            self.syntax(error)
        except yaml.YAMLError:  # a reader error, which has no mark
            _refuse(self.findings, Where(self.name), "is not YAML")
        if self.root is None or (self.root.value is None and not self.source.strip()):
            _refuse(self.findings, Where(self.name), "the file is empty")
            raise AssertionError
        self.tabs()
        return self.root

    def node(self, event: Any) -> None:
        self.nodes += 1
        where = self.where(event)
        if self.nodes > MAX_NODES:
            _refuse(self.findings, where, f"more than {MAX_NODES} values", "a recipe, not data")
        if getattr(event, "tag", None) is not None:
            self.refuse(event, f"the tag `{event.tag.replace('tag:yaml.org,2002:', '!!')}`", "no tags", "quotes make a string")
        if isinstance(event, yaml.AliasEvent):
            self.add(self.alias(event, where), where)
            return
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            self.scalars.append(_span(event))
            self.scalar(event, where)
            return
        if len(self.stack) >= MAX_DEPTH:
            self.refuse(event, f"nested more than {MAX_DEPTH} deep")
        if self.stack and self.stack[-1].is_map and self.stack[-1].key is None:
            self.refuse(event, "a key that is a list or a map", "a name")
        self.stack.append(_Open(where, event.anchor, isinstance(event, yaml.MappingStartEvent)))

    def alias(self, event: Any, where: Where) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            _refuse(self.findings, where, f"more than {MAX_ALIASES} aliases")
        if event.anchor not in self.anchors:
            _refuse(self.findings, where, f"no anchor `&{event.anchor}` before this alias")
        node = self.anchors[event.anchor]
        if node is None:
            _refuse(self.findings, where, f"the alias `*{event.anchor}` stands inside its own anchor")
            raise AssertionError
        self.nodes += node.size  # counted as if written out: a bomb is refused while it is still small
        if self.nodes > MAX_NODES:
            _refuse(self.findings, where, f"aliases that expand to more than {MAX_NODES} values")
        return node

    def scalar(self, event: Any, where: Where) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_map and top.key is None:
            self.key(top, event, where)
            return
        value: Any = event.value
        if event.implicit[0]:
            try:
                value = parse_scalar(event.value)
            except ValueError as error:
                _refuse(self.findings, where, f"is `{event.value[:40]}`", str(error))
        node = Node(value, where)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self.add(node, where)

    def key(self, top: _Open, event: Any, where: Where) -> None:
        name = event.value
        if name == "<<" and event.implicit[0]:
            _refuse(self.findings, where, "a merge key", "no `<<`", "YAML 1.2 has none; a step starts from another with `like`")
        if not name:
            _refuse(self.findings, where, "an empty key", "a name")
        if name in top.keys:
            self.findings.add(where, "", f"the key `{name}` stands here twice", hint=f"first on line {top.keys[name].line}")
        top.key = name
        top.keys.setdefault(name, where)

    def add(self, node: Node, where: Where) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += node.size
        if not top.is_map:
            top.elements.append(node)
        elif top.key is None:
            _refuse(self.findings, where, "a key that is an alias", "a name")
        else:
            top.entries.setdefault(top.key, node)
            top.key = None

    def close(self) -> None:
        done = self.stack.pop()
        node = Node(done.entries if done.is_map else done.elements, done.where, done.keys, size=done.size)
        if done.anchor is not None:
            self.anchors[done.anchor] = node
        self.add(node, done.where)

    def where(self, event: Any) -> Where:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and start.line == end.line:
            width = end.column - start.column
        elif isinstance(event, yaml.ScalarEvent):
            width = len(self.findings.lines[self.name][start.line].rstrip()) - start.column
        else:
            width = 1
        return Where(self.name, start.line + 1, start.column + 1, max(1, width))

    def refuse(self, event: Any, found: str, expected: str = "", hint: str = "") -> None:
        where = Where(self.name, event.start_mark.line + 1, event.start_mark.column + 1)
        _refuse(self.findings, where, found, expected, hint)

    def syntax(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        where = Where(self.name, mark.line + 1, mark.column + 1) if mark else Where(self.name)
        lines = self.findings.lines[self.name]
        while where.line > 1 and where.line >= len(lines) and not "".join(lines[where.line - 1 :]).strip():
            where = Where(self.name, where.line - 1, len(lines[where.line - 2]) + 1)
        line = lines[where.line - 1] if mark and where.line <= len(lines) else ""
        if ("\t" in line[: where.column + 1] and "tab" in f"{error.problem}") or line[where.column - 1 : where.column] == "\t":
            where = Where(self.name, where.line, line.index("\t") + 1)
            _refuse(self.findings, where, "a tab", "spaces")
        for number in (where.line, where.line - 1):  # a line that looks indented and is not, as when copied from a web page
            if 0 < number <= len(lines) and (odd := _ODD_SPACE.match(lines[number - 1])) is not None:
                place = Where(self.name, number, odd.start(1) + 1)
                _refuse(self.findings, place, f"a space that is none for YAML (U+{ord(odd[1]):04X})", "plain spaces")
        since = error.context_mark
        hint = f"{error.context} from line {since.line + 1}" if error.context and since and since.line + 1 != where.line else error.context
        if line[where.column - 2 : where.column] == "${":
            hint = 'inside of braces and brackets a reference stands in quotes: "${...}"'
        _refuse(self.findings, where, f"{error.problem}", hint=f"{hint or ''}")

    def tabs(self) -> None:
        """Tabs outside of strings and comments: YAML takes some of them, people see other columns than the parser."""
        starts = [start for start, _ in self.scalars]
        offset = self.source.find("\t")
        while offset >= 0:
            before = bisect_right(starts, offset) - 1
            inside = before >= 0 and offset < self.scalars[before][1]
            line = self.source[self.source.rfind("\n", 0, offset) + 1 : offset]
            if not inside and "#" not in line:
                number, column = _position(self.source, offset)
                self.findings.add(Where(self.name, number, column), "", "a tab", "spaces")
            offset = self.source.find("\t", offset + 1)
