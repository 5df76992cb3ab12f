r"""Sorting and paging of rows as Exchange's cmdlets do it: bookmarks, direction, page info (QU 1.8). Pure apart from counts.

Works on anything that can be sliced and counted: a sorted list or an ordered queryset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.utils.translation import gettext as _

from connectors.errors import FcwebError
from connectors.queue_properties import Property

DEFAULT_SIZE = 1000
MAX_SIZE = 250_000
LAST = 2**31 - 1  # Int.MaxValue: the last page
_PART = re.compile(r"([+-]?)([A-Za-z]+)")


class Rows(Protocol):
    """What a page is cut from."""

    def __getitem__(self, key: slice, /) -> Any: ...  # Any: rows of the caller's type


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. `first` is the 1-based index of its first row, `total` counts all rows."""

    rows: Sequence[Any]  # Any: rows of the caller's type
    first: int
    total: int

    @property
    def is_truncated(self) -> bool:
        """Tell whether there are more rows than these (QX-5)."""
        return self.total > len(self.rows)


def parse_order(text: str, properties: Mapping[str, Property]) -> list[tuple[str, bool]]:
    """Read `+Prop,-Prop`; return (name, descending) from first to last precedence."""
    order = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        match = _PART.fullmatch(part)
        known = properties.get(match[2].casefold()) if match else None
        if match is None or (known is None and match[2].casefold() != "identity"):
            raise FcwebError(
                _("“%(name)s” is no property to sort by.") % {"name": part[:60]}, code="SORT_INVALID", rule="QU-21"
            )
        order.append((known.name if known else "Identity", match[1] == "-"))
    return order


def parse_size(text: str) -> int:
    """Read a page size: 1 to 250000, or unlimited."""
    if text.strip().lower() == "unlimited":
        return MAX_SIZE
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_SIZE):
        raise FcwebError(_("A page has 1 to 250000 rows, or unlimited."), code="RESULT_SIZE", rule="QU-21")
    return int(text)


def cut(
    rows: Rows, *, total: int, size: int, bookmark: int | None = None, include: bool = True, forward: bool = True
) -> Page:
    """Cut a page at a 1-based bookmark; without one it is the first page, or searching backward the last.

    0 and less is the first page, `LAST` the last. Fewer rows than a page beyond the bookmark give the last full page,
    or the first one when searching backward. Direction does not change the order of the rows.
    """
    if bookmark is None:
        start = 0 if forward else total - size
    elif bookmark <= 0:
        start = 0
    elif bookmark > total:
        start = total - size
    elif forward:
        start = min(bookmark - 1 + (not include), total - size)
    else:
        start = bookmark - size - (not include)
    start = max(0, start)
    found = list(rows[start : start + size])
    return Page(rows=found, first=start + 1 if found else 0, total=total)
