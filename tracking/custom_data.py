"""Custom data: typed pairs in one column, `S:key=value;S:key=value`, several values separated by `|` (MTF-27)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WARNING = "fc.warning"  # what was odd about a file when it was taken, codes of `tracking.warning_words`


def pairs(values: Mapping[str, Sequence[str]]) -> str:
    """Return the column text; a pair that holds a semicolon is quoted."""
    found = []
    for key, parts in values.items():
        pair = f"S:{key}={'|'.join(parts)}"
        found.append(f"'{pair}'" if ";" in pair else pair)
    return ";".join(found)


def values_of(text: str, key: str) -> list[str]:
    """Return the values of one key, [] when it is not there."""
    start = f"S:{key}="
    for pair in text.split(";"):
        if pair.strip("'").startswith(start):
            return pair.strip("'").removeprefix(start).split("|")
    return []
