"""Line edit: the bytes of a mail file as text for a form, and a person's text back to bytes (PU-56).

Promises: `apply(raw, shown(raw))` is `raw`, whatever the bytes; a line nobody touched keeps its bytes and its ending.
A byte that is no UTF-8, and every control character but the tab, stands in the form as one character of a private
range (U+10F700 + byte), as a form can carry neither.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_BASE = 0x10F700
_ESCAPES = re.compile("[\udc80-\udcff\U0010f700-\U0010f7ff\x00-\x08\x0b-\x1f\x7f]")
_STAND_INS = re.compile("([\U0010f700-\U0010f7ff])")
_LINE_ENDS = re.compile("\r\n|\n|\r")
_MOST_PAIRS = 4_000_000  # old times new lines that are compared; beyond, a block counts as replaced
_CONTEXT = 3  # untouched lines around a change


class DiffLine(NamedTuple):
    """One line of a diff; `kind` is old, new, same or gap (lines left out)."""

    kind: str
    old: int | None  # number, from 1
    new: int | None
    text: str


def shown(raw: bytes) -> str:
    """Return bytes as text a form carries there and back."""
    return "\n".join(_lines(raw)[0])


def apply(raw: bytes, text: str) -> bytes:
    """Return `raw` changed to read as `text`; any of CRLF, LF and CR ends a line of `text`."""
    old, ends = _lines(raw)
    new = _LINE_ENDS.split(text)
    usual = Counter(end for end in ends if end).most_common(1)
    default = usual[0][0] if usual else b"\r\n"
    pieces = []
    for _tag, first, last, start, stop in _blocks(old, new):
        for number in range(start, stop):
            twin = first + number - start
            end = ends[twin] if twin < last else b""
            pieces.append(_encoded(new[number]) + (b"" if number == len(new) - 1 else end or default))
    return b"".join(pieces)


def diff(before: bytes, after: bytes) -> list[DiffLine]:
    """Return the changed lines with three lines around each; empty when no line reads differently."""
    old, new = _lines(before)[0], _lines(after)[0]
    found: list[DiffLine] = []
    blocks = _blocks(old, new)
    for index, (tag, first, last, start, stop) in enumerate(blocks):
        if tag == "equal":
            head = 0 if index == 0 else _CONTEXT
            tail = 0 if index == len(blocks) - 1 else _CONTEXT
            found += _same(old, first, last, start, head=head, tail=tail)
            continue
        found += [DiffLine("old", number + 1, None, old[number]) for number in range(first, last)]
        found += [DiffLine("new", None, number + 1, new[number]) for number in range(start, stop)]
    return found if any(line.kind in {"old", "new"} for line in found) else []


def _same(old: Sequence[str], first: int, last: int, start: int, *, head: int, tail: int) -> Iterator[DiffLine]:
    """Yield the untouched lines next to a change, and one gap for those left out."""
    if last - first <= head + tail:
        head, tail = last - first, 0
    for number in range(first, first + head):
        yield DiffLine("same", number + 1, number - first + start + 1, old[number])
    if last - first > head + tail:
        yield DiffLine("gap", None, None, "")
    for number in range(last - tail, last):
        yield DiffLine("same", number + 1, number - first + start + 1, old[number])


def _lines(raw: bytes) -> tuple[list[str], list[bytes]]:
    """Return texts and endings of the lines; the last has none, and is empty after a final line end."""
    texts, ends = [], []
    for line in raw.splitlines(keepends=True):
        body = line.rstrip(b"\r\n")
        texts.append(_ESCAPES.sub(_stand_in, body.decode("utf-8", "surrogateescape")))
        ends.append(line[len(body) :])
    if not ends or ends[-1]:
        texts.append("")
        ends.append(b"")
    return texts, ends


def _stand_in(found: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in found[0].encode("utf-8", "surrogateescape"))


def _encoded(text: str) -> bytes:
    """Return the bytes of one line; a lone surrogate, which no browser sends, becomes "?"."""
    parts = _STAND_INS.split(text)
    return b"".join(
        bytes([ord(part) - _BASE]) if number % 2 else part.encode("utf-8", "replace")
        for number, part in enumerate(parts)
    )


def _blocks(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """Return blocks (tag, old from, old to, new from, new to) as difflib does, in time bounded by `_MOST_PAIRS`."""
    shortest = min(len(old), len(new))
    head = next((i for i in range(shortest) if old[i] != new[i]), shortest)
    tail = next((i for i in range(shortest - head) if old[-1 - i] != new[-1 - i]), shortest - head)
    old_end, new_end = len(old) - tail, len(new) - tail
    blocks: list[tuple[str, int, int, int, int]] = [("equal", 0, head, 0, head)]
    if (old_end - head) * (new_end - head) > _MOST_PAIRS:
        blocks.append(("replace", head, old_end, head, new_end))
    else:
        matcher = difflib.SequenceMatcher(None, old[head:old_end], new[head:new_end], autojunk=False)
        blocks += [(tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in matcher.get_opcodes()]
    blocks.append(("equal", old_end, len(old), new_end, len(new)))
    return [block for block in blocks if block[1] < block[2] or block[3] < block[4]]
