"""From bytes to text, strictly: a wrong guess would put wrong letters into every later step, so there is none."""

from __future__ import annotations

import codecs
import re

#: Byte-order marks and the codecs that take them off.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)", re.I)
#: What the WHATWG's encoding standard makes of declarations that pages get wrong as a rule.
_MEANT = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
    "gb2312": "gb18030", "gbk": "gb18030",
}  # fmt: skip


def known(encoding: str) -> bool:
    """Whether Python has an encoding of texts by this name."""
    try:
        "".encode(encoding)
        b"".decode(encoding)
    except (LookupError, ValueError, TypeError):
        return False
    return True


def decode(data: bytes, encoding: str | None = None, *, html: bool = False) -> tuple[str | None, str]:
    """Text of a file's bytes with ``\\n`` as line end, or None and the reason.

    A byte-order mark decides; else, in a page of HTML, what it declares; else it is UTF-8; and what is not, is in ``encoding``.
    """
    marked = next((codec for mark, codec in _MARKS if data.startswith(mark)), None)
    declared = _declared(data) if html and not marked else None
    tried = [marked] if marked else [*filter(None, [declared]), "utf-8", *filter(None, [encoding])]
    reason = ""
    for codec in dict.fromkeys(tried):
        try:
            text = data.decode(codec)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            found = error.reason if marked else f"byte 0x{data[error.start]:02x} in line {line}"
            reason = reason or f"not {_called(codec)}: {found}"
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n"), ""
        reason = "holds NUL characters: not a text file"
    if not marked and not encoding and reason.startswith("not"):
        reason += "; declare what it is (`encoding: windows-1252`) or convert it"
    return None, reason


def _declared(data: bytes) -> str | None:
    """The encoding that a page of HTML declares in its first bytes, when Python has it."""
    match = _META.search(data[:4096])
    if match is None:
        return None
    name = (match.group(1) or match.group(2)).decode("ascii", "replace")
    if not known(name):
        return None
    codec = codecs.lookup(name).name
    return _MEANT.get(codec, codec)


def _called(codec: str) -> str:
    return {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "utf-16": "UTF-16", "utf-32": "UTF-32"}.get(codec, codec)
