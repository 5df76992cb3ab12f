"""Bad files as the pages show them, newest first, with their reason in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import ngettext

from connectors import display, reasons
from connectors.choices import FileState
from connectors.models import SourceFile

CAP = 1000
PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """One bad file with the words of its reason."""

    row: SourceFile
    sentence: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFilePage:
    """One keyset page; keys of the neighbouring pages, or None."""

    files: Sequence[BadFile]
    newer: int | None
    older: int | None


def in_words(row: SourceFile) -> BadFile:
    """Return a bad file with its sentences."""
    return BadFile(row=row, sentence=reasons.sentence(row.reason), cure=reasons.cure(row.reason))


def page(*, newer: int | None, older: int | None, reason: str = "") -> BadFilePage:
    """Return files newer than one key, older than another, or the newest; of one reason when it is named (UP-3)."""
    rows = SourceFile.objects.filter(state=FileState.BAD)
    if reason:
        rows = rows.filter(reason=reason)
    if newer is not None:
        found = list(rows.filter(pk__gt=newer).order_by("pk")[: PAGE + 1])
        shown = found[:PAGE][::-1]
        has_newer, has_older = len(found) > PAGE, True
    else:
        found = list((rows.filter(pk__lt=older) if older is not None else rows).order_by("-pk")[: PAGE + 1])
        shown = found[:PAGE]
        has_newer, has_older = older is not None, len(found) > PAGE
    return BadFilePage(
        files=[in_words(row) for row in shown],
        newer=shown[0].pk if shown and has_newer else None,
        older=shown[-1].pk if shown and has_older else None,
    )


def reasons_found() -> list[tuple[str, int, str]]:
    """Return (code, number of files, sentence) of the reasons on the list, most frequent first."""
    newest = SourceFile.objects.filter(state=FileState.BAD).order_by("-id").values_list("reason", flat=True)[:CAP]
    return [(code, number, reasons.sentence(code)) for code, number in Counter(newest).most_common()]


def count() -> int:
    """Return how many bad files there are, at most CAP + 1."""
    return SourceFile.objects.filter(state=FileState.BAD)[: CAP + 1].count()


def answer(number: int) -> str:
    """Return how many files need a decision, as a sentence."""
    return ngettext(
        "%(count)s file could not be accepted and waits for a decision.",
        "%(count)s files could not be accepted and wait for a decision.",
        number,
    ) % {"count": display.capped(number, CAP)}
