"""Header: the header of a message as bytes, found and split without touching the body.

Promises: one pass over the header only, no exception but HeaderError, no byte changed but line ends.
Python's own parser is not used on the whole: its modern policy raises on hostile headers and is far slower.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header

_BLANK = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BOM = b"\xef\xbb\xbf"
_SHOWN_BYTES = 200
_SUBJECT_CHARACTERS = 1000
_DECODED_BYTES = 8000  # of one value: enough for what is shown, and RFC 2047 costs the square of it


class HeaderError(ValueError):
    """A header that cannot be used: reason code of PU-49 to PU-51 or PU-34, line number and its first bytes."""

    def __init__(self, reason: str, *, line: int = 0, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.text = raw[:_SHOWN_BYTES].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One header field."""

    name: str  # lower case
    raw: bytes  # whole field, folding kept, every line CRLF-ended
    value: bytes  # unfolded, outer blanks removed
    line: int  # 1-based line of its name in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields of a message and where its body starts."""

    fields: tuple[Field, ...]
    size: int  # all bytes up to and including the blank line
    body_start: int
    warnings: tuple[str, ...]


def split(data: bytes) -> Header:
    """Find and split the header; raises HeaderError. Rules: PU-28, PU-33 to PU-36, PU-39, PU-49 to PU-51, A-8."""
    if not data:
        raise HeaderError("EMPTY")
    warnings = []
    start = 0
    line = 1
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise HeaderError("ENCODING", line=1, raw=data)
    if data.startswith(_BOM):
        start = len(_BOM)
        warnings.append("BOM")
    if data.startswith(b"From ", start) or data.startswith(b">From ", start):
        newline = data.find(b"\n", start)
        if newline < 0:
            raise HeaderError("NO_BLANK_LINE", line=1, raw=data)
        start = newline + 1
        line = 2
        warnings.append("MBOX_FROM")
    end, body_start = _end(data, start)
    block = data[start:end]
    if b"\0" in block:
        before = block[: block.index(b"\0")]
        raise HeaderError("ENCODING", line=line + before.count(b"\n"), raw=block.split(b"\n")[before.count(b"\n")])
    fields = _fields(block, line)
    if body_start < 0:
        raise HeaderError("NO_BLANK_LINE", line=line + block.rstrip(b"\r\n").count(b"\n"))
    return Header(fields=fields, size=body_start, body_start=body_start, warnings=tuple(warnings))


def _end(data: bytes, start: int) -> tuple[int, int]:
    """Return where the fields end and the body starts; body_start is -1 without a blank line."""
    for blank in (b"\r\n", b"\n"):
        if data.startswith(blank, start):
            return start, start + len(blank)
    match = _BLANK.search(data, start)
    if match is None:
        return len(data), -1
    return match.start(), match.end()


def _fields(block: bytes, first_line: int) -> tuple[Field, ...]:
    fields: list[Field] = []
    current: list[bytes] = []
    began = first_line

    def close() -> None:
        if current:
            name, _, value = current[0].partition(b":")
            unfolded = b" ".join([value.strip(), *(part.strip() for part in current[1:])]) if current[1:] else value
            fields.append(
                Field(
                    name=name.strip().decode("ascii").lower(),
                    raw=b"\r\n".join(current) + b"\r\n",
                    value=unfolded.strip(),
                    line=began,
                )
            )

    for number, raw in enumerate(block.split(b"\n") if block else [], first_line):
        text = raw.removesuffix(b"\r")
        if text[:1] in {b" ", b"\t"} and current:
            current.append(text)
            continue
        if _NAME.match(text) is None:
            if not text and number > first_line:
                continue
            raise HeaderError("BAD_HEADER", line=number, raw=text)
        close()
        current = [text]
        began = number
    close()
    return tuple(fields)


def crlf(data: bytes) -> bytes:
    """Return the bytes with every bare LF as CRLF; nothing is copied when nothing changes (PU-33, HM-12)."""
    if data.count(b"\n") == data.count(b"\r\n"):
        return data
    return _BARE_LF.sub(b"\r\n", data)


def unstuff(body: bytes) -> bytes:
    """Undo dot-stuffing: a leading `..` becomes `.` (PU-38, only where the directory is switched so)."""
    return re.sub(rb"(?m)^\.\.", b".", body)


def decode_text(value: bytes) -> str:
    """Return a header value for people: RFC 2047 and UTF-8 decoded, controls as blanks; never raises."""
    text = value[:_DECODED_BYTES].decode("utf-8", "replace")
    if "=?" in text:
        try:
            text = "".join(_decoded(part, charset) for part, charset in decode_header(text))
        except (HeaderParseError, ValueError):
            pass
    return _CONTROLS.sub(" ", text).encode("utf-8", "replace").decode("utf-8")[:_SUBJECT_CHARACTERS].strip()


def _decoded(part: bytes | str, charset: str | None) -> str:
    """Decode one encoded word; a charset that is unknown, or runs escapes, is read as Latin-1."""
    if isinstance(part, str):
        return part
    try:
        name = codecs.lookup(charset or "ascii").name
        return part.decode("latin-1" if "escape" in name else name, "replace")
    except (LookupError, ValueError):
        return part.decode("latin-1")
