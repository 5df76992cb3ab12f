"""Wildcards: `*` is any run of characters, everything else is literal (AS-19, AS-20).

Found piece by piece from the left, so the time is at most pattern times value: addresses come from strangers, and a
regular expression with many `.*` takes ages for some of them.
"""

from __future__ import annotations


def matches(pattern: str, value: str) -> bool:
    """Tell whether a whole value fits a pattern; compare in one case, the caller folds both."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == value
    last = rest.pop()
    if not value.startswith(first) or not value.endswith(last) or len(value) < len(first) + len(last):
        return False
    at = len(first)
    end = len(value) - len(last)
    for piece in rest:
        found = value.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
