"""Writes plain data as YAML that the loader reads back to the same values: whatever another YAML reader might mistake is quoted."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_/][\w./ +-]*[\w./+]|[A-Za-z_]|\.{1,2}/[\w./+-]*")
_WORDS = {"yes", "no", "on", "off", "y", "n", "true", "false", "null"}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    style = None if plain else "|" if "\n" in value and value == value.strip() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _number(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    mantissa, e, exponent = repr(value).partition("e")
    sign = "" if not e or exponent[0] in "+-" else "+"
    text = (mantissa if "." in mantissa else f"{mantissa}.0") + e + sign + exponent  # as every YAML reader takes it for a number
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def dump(data: Any) -> str:
    return yaml.dump(data, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=120)
