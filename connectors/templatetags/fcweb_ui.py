"""Tags and filters of the dashboard's templates; each is described in docs/ui.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from connectors import display, trouble
from connectors.reads import message_operations, queues

register = template.Library()

_TONES = {
    # queues (connectors.choices.QueueStatus)
    "Active": "ok",
    "Connecting": "info",
    "Ready": "ok",
    "Retry": "wait",
    "Suspended": "quiet",
    "PendingSuspend": "wait",
    "PendingRemove": "wait",
    # messages (tracking.choices.TrackedState)
    "queued": "info",
    "deferred": "wait",
    "transferred": "ok",
    "delivered": "ok",
    "partly": "fail",
    "failed": "fail",
    "expanded": "info",
    "bad": "fail",
    # events (tracking.choices.EventId)
    "RECEIVE": "info",
    "SEND": "ok",
    "DELIVER": "ok",
    "DEFER": "wait",
    "REDIRECT": "info",
    "RESUBMIT": "info",
    "RESOLVE": "info",
    "EXPAND": "info",
    "DUPLICATEEXPAND": "quiet",
    "TRANSFER": "info",
    "LOAD": "quiet",
    "FAIL": "fail",
    "DSN": "info",
    "BADMAIL": "fail",
    "POISONMESSAGE": "fail",
    # verdicts of routing (connectors.transport.routing.Verdict)
    "deliver": "ok",
    "unreachable": "wait",
    "fail": "fail",
    "expand": "info",
}


@register.filter
def tone(state: object) -> str:
    """Return the tone of a queue status, message state, event id or verdict; quiet when it has none."""
    return _TONES.get(str(getattr(state, "value", state)), "quiet")


@register.filter
def status_word(status: str) -> str:
    """Write the status of a waiting message."""
    return queues.status_word(status)


@register.filter
def trouble_words(status: str) -> str:
    """Write what the protocol text of a postponed delivery means, in a few words."""
    return trouble.error_sentence(status)


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """Draw an icon of the sprite; it carries no meaning of its own to a screen reader."""
    return format_html(
        '<svg class="{}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        f"icon {css}".strip(),
        static("fcweb/icons.svg"),
        name,
    )


@register.simple_tag
def badge(tone_name: str, text: object) -> SafeString:
    """Draw a state: colour, shape and word together."""
    return format_html('<span class="badge {}">{}{}</span>', tone_name, icon(tone_name), text)


@register.filter
def size(count: int | None) -> str:
    """Write bytes as KB or MB."""
    return display.size(count)


@register.filter
def duration(span: timedelta | None) -> str:
    """Write a time span by its two largest units."""
    return "" if span is None else display.duration(span)


@register.filter
def latency(span: timedelta) -> str:
    """Write a time span of machines: 40 ms, 1.4 s."""
    return display.latency(span)


@register.filter
def number(count: int) -> str:
    """Write a whole number with its thousands apart."""
    return number_format(count, force_grouping=True)


@register.filter
def capped(count: int, cap: int) -> str:
    """Write a count, or the cap with a plus sign when counting stopped there."""
    return display.capped(count, cap)


@register.simple_tag
def when(moment: datetime | None, empty: str = "–") -> SafeString | str:
    """Write a moment in local time to the second, ISO 8601 UTC in the title; the date only when not today."""
    if moment is None:
        return empty
    local = timezone.localtime(moment)
    text = date_format(local, "H:i:s")
    if local.date() != timezone.localdate():
        text = f"{local:%Y-%m-%d} {text}"
    return _time_element(moment, text)


@register.simple_tag
def ago(moment: datetime | None, empty: str = "–") -> SafeString | str:
    """Write how long ago a moment was."""
    if moment is None:
        return empty
    span = timezone.now() - moment
    text = _("now") if span < timedelta(seconds=1) else _("%(span)s ago") % {"span": display.duration(span)}
    return _time_element(moment, text)


@register.simple_tag
def age(moment: datetime | None, empty: str = "–") -> SafeString | str:
    """Write the age of something that still waits: 2 h 10 min."""
    return empty if moment is None else _time_element(moment, display.duration(timezone.now() - moment))


@register.simple_tag
def until(moment: datetime | None, empty: str = "–") -> SafeString | str:
    """Write when something will happen: in 12 min."""
    if moment is None:
        return empty
    span = moment - timezone.now()
    text = _("now") if span < timedelta(seconds=1) else _("in %(span)s") % {"span": display.duration(span)}
    return _time_element(moment, text)


def _time_element(moment: datetime, text: str) -> SafeString:
    iso = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format_html('<time datetime="{}" title="{}" class="nowrap">{}</time>', iso, iso, text)


@register.inclusion_tag("components/_copy.html")
def copy(value: object) -> dict[str, Any]:
    """Draw a button that copies a text."""
    return {"value": str(value)}


@register.inclusion_tag("components/_short_id.html")
def short_id(value: object) -> dict[str, Any]:
    """Write an id shortened in the middle, whole in the title, with a copy button."""
    text = str(value)
    return {"value": text, "short": display.short_id(text)}


@register.filter
def short(value: object) -> str:
    """Write an id without its middle, as plain text; put the whole into a title."""
    return display.short_id(str(value))


@register.inclusion_tag("components/_address.html")
def address(value: str) -> dict[str, Any]:
    """Write an address as people wrote it, the encoded form one click away."""
    return {"shown": display.shown_address(value)}


_IMCEA = re.compile(r"IMCEA[A-Za-z0-9]{1,8}-[^\s,;<>]*@[A-Za-z0-9.-]*[A-Za-z0-9]")


@register.filter
def readable_text(value: str) -> str:
    """Write a sentence with the addresses in it as people wrote them."""
    return _IMCEA.sub(lambda found: display.shown_address(found[0]).text, value)


@register.filter
def breakable(value: str) -> SafeString:
    """Let an address that is too long for its column break before its @ first."""
    return format_html_join(mark_safe("<wbr>@"), "{}", ((part,) for part in value.split("@")))


@register.filter
def readable(value: str) -> str:
    """Write an address as people wrote it, as plain text."""
    return display.shown_address(value).text


@register.filter
def one_each(outcomes: Sequence[Any]) -> list[Any]:  # Any: tracking's Outcome, in a template
    """Leave one row for each recipient (tracking.story.Outcome): `FAX:1` and its IMCEA form are the same one."""
    found: dict[str, Any] = {}
    for outcome in outcomes:
        key = display.shown_address(outcome.address).text.casefold()
        before = found.get(key)
        if before is None:
            found[key] = outcome
        elif outcome.is_final or not before.is_final:
            found[key] = replace(outcome, group=outcome.group or before.group)
    return list(found.values())


@register.filter
def of_copy(outcomes: Sequence[Any], message_pk: int) -> list[Any]:  # Any: as above
    """Return the recipients of one copy of a message."""
    return [outcome for outcome in outcomes if outcome.message_pk == message_pk]


@register.inclusion_tag("connectors/_operations_timeline.html")
def operations_of(messages: Sequence[int | None]) -> dict[str, Any]:
    """Draw what people did to messages, and when gateways collected them; nothing for a bad file."""
    known = [message for message in messages if message]
    if not known:
        return {}
    return {"entries": message_operations.entries(known), "collected": message_operations.collected(known)}


@register.inclusion_tag("components/_quota.html")
def quota(used: int, limit: int | None) -> dict[str, Any]:
    """Draw how full a drop directory is; nothing but the amount without a limit."""
    share = min(100, used * 100 // limit) if limit else 0
    level = "fail" if share >= 100 else "wait" if share >= 80 else ""
    return {"used": used, "limit": limit, "share": share, "level": level}
