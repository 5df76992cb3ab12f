"""The search form: the criteria of the search box, for people who do not type (MTS-1 to MTS-11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from tracking.choices import EventId, EventSource, TrackedState
from tracking.query import Criterion, Key, Problem, SearchQuery, parse, with_criterion, written

PERIODS = {
    "15m": (timedelta(minutes=15), gettext_lazy("15 min")),
    "1h": (timedelta(hours=1), gettext_lazy("1 h")),
    "24h": (timedelta(hours=24), gettext_lazy("24 h")),
    "7d": (timedelta(days=7), gettext_lazy("7 d")),
}
_FIELDS = {
    "start": Key.START,
    "end": Key.END,
    "sender": Key.SENDER,
    "recipient": Key.RECIPIENT,
    "subject": Key.SUBJECT,
    "message_id": Key.ID,
    "event": Key.EVENT,
    "state": Key.STATE,
    "source": Key.SOURCE,
    "connector": Key.CONNECTOR,
    "status": Key.STATUS,
}
_PAGE_KEYS = frozenset({"older", "newer"})


def _text(label: Any, *, hint: str = "", length: int = 600) -> forms.CharField:  # Any: a lazy text
    attrs = {"autocomplete": "off", "spellcheck": "false", "placeholder": hint}
    return forms.CharField(label=label, required=False, max_length=length, widget=forms.TextInput(attrs=attrs))


def _moment(label: Any) -> forms.CharField:  # Any: a lazy text
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"})
    return forms.CharField(label=label, required=False, max_length=40, widget=widget)


def _choice(label: Any, choices: Any) -> forms.ChoiceField:  # Any: lazy texts
    return forms.ChoiceField(label=label, required=False, choices=[("", gettext_lazy("any")), *choices])


class SearchForm(forms.Form):
    """Every field is optional; it only draws: values are read as criteria, so a link may hold more than it offers."""

    start = _moment(gettext_lazy("From"))
    end = _moment(gettext_lazy("Until"))
    sender = _text(gettext_lazy("Sender"), hint="anne@x.test, anne*, @x.test")
    recipient = _text(gettext_lazy("Recipient"), hint="*5551234*, @x.test")
    subject = _text(gettext_lazy("Subject contains"))
    message_id = _text(gettext_lazy("Message-ID"), length=998)
    event = _choice(gettext_lazy("Event"), EventId.choices)
    state = _choice(gettext_lazy("State"), TrackedState.choices)
    source = _choice(gettext_lazy("Source"), EventSource.choices)
    connector = _text(gettext_lazy("Connector"), length=255)
    status = _text(pgettext_lazy("protocol", "Status"), hint="5xx, 550, 5.1.2", length=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One part of the query as it is shown, with the link that leaves it out."""

    key: str
    value: str
    remove_url: str
    wrong: str  # why it was not understood; ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the URL asks for: the box, the fields and the period together."""

    query: SearchQuery
    chips: tuple[Chip, ...]


def read(asked: QueryDict, *, now: datetime) -> Asked:
    """Read a URL's query string."""
    box = parse(asked.get("q", ""), now=now)
    query = box
    chips = [_chip(c, _without_token(asked, box, position)) for position, c in enumerate(box.criteria)]
    for name, key in _FIELDS.items():
        value = asked.get(name, "").encode("utf-8", "replace").decode().replace("\0", " ").strip()[:1000]
        if value:
            query = with_criterion(query, key, value, now=now)
            chips.append(_chip(query.criteria[-1], url(asked, **{name: ""})))
    period = asked.get("period", "")
    if period in PERIODS:
        query = with_criterion(query, Key.START, period, now=now)
        chips.append(_chip(query.criteria[-1], url(asked, period="")))
    return Asked(query=query, chips=tuple(chips))


def url(asked: QueryDict, **changes: str) -> str:
    """Return the URL with some parameters changed, "" removes; the page keys go, as they belong to the old query."""
    kept = {key: value for key, value in asked.items() if value and key not in _PAGE_KEYS}
    kept |= changes
    return "?" + urlencode({key: value for key, value in kept.items() if value})


def _without_token(asked: QueryDict, box: SearchQuery, position: int) -> str:
    rest = [criterion.text for number, criterion in enumerate(box.criteria) if number != position]
    return url(asked, q=" ".join(rest))


def _chip(criterion: Criterion, remove_url: str) -> Chip:
    key = "" if criterion.key is Key.TEXT and not criterion.negated else str(criterion.key)
    wrong = _why(criterion.problem) if criterion.problem else ""
    if wrong and criterion.text:
        return Chip(key="", value=criterion.text, remove_url=remove_url, wrong=wrong)
    minus = "-" if criterion.negated else ""
    return Chip(key=f"{minus}{key}", value=criterion.value or written(criterion), remove_url=remove_url, wrong=wrong)


def _why(problem: Problem) -> str:
    texts = {
        Problem.TIME: _("Not a time: write 2h, 2026-03-05 or 2026-03-05T08:00."),
        Problem.NEGATED_TIME: _("A time cannot be negated."),
        Problem.SIZE: _("Not a size: write >1MB, <10KB or 1MB..5MB."),
        Problem.STATE: _("Not a state: queued, deferred, transferred, delivered, partly, failed, expanded or bad."),
        Problem.STATUS: _("Not a status: write 5xx, 550 or 5.1.2."),
        Problem.EMPTY: _("A value is missing."),
        Problem.PATTERN: _("Too many *: at most six in one pattern."),
        Problem.MANY: _("Too many conditions: only the first 60 count."),
    }
    return texts[problem]
