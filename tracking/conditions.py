"""Conditions: what every criterion of a query means in SQL, on events and on their messages.

Promises: the same meaning as `tracking.query.matches`, on SQLite and PostgreSQL. Leaves to neighbours: which of them
is asked first (search).
"""

from __future__ import annotations

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Substr

from tracking.fold import fold, like
from tracking.models import EventRecipient, TrackedMessage, TrackingEvent
from tracking.query import (
    Criterion,
    Key,
    SearchQuery,
    address_pattern,
    bare_id,
    internal_id,
    network_id,
    status_prefixes,
    words,
)

_CONNECTORS_LIMIT = 200
LAST = "\U0010ffff"  # sorts after every continuation of a prefix


def conditioned(query: SearchQuery) -> QuerySet[TrackingEvent]:
    events = TrackingEvent.objects.filter(event_conditions(query))
    for criterion in query.active:
        condition = _message_condition(criterion)
        if condition is not None:
            events = events.filter(~condition if criterion.negated else condition)
    return events


def event_conditions(query: SearchQuery) -> Q:
    """Return the conditions that differ between events of one message: times and the event's own columns."""
    combined = Q()
    if query.start:
        combined &= Q(at__gte=query.start)
    if query.end:
        combined &= Q(at__lt=query.end)
    for criterion in query.active:
        condition = _event_condition(criterion)
        if condition is not None:
            combined &= ~condition if criterion.negated else condition
    return combined


def _event_condition(criterion: Criterion) -> Q | None:
    value = criterion.value
    match criterion.key:
        case Key.EVENT:
            return Q(event__in=words(value.upper()))
        case Key.SOURCE:
            return Q(source__in=words(value.upper()))
        case Key.CONNECTOR:
            return Q(connector_id__in=connectors_like(value))
        case Key.FILE:
            return Q(source_context__has=value)
        case Key.REFERENCE:
            return Q(reference__has=bare_id(value))
        case Key.RECIPIENT:
            return Q(Exists(_recipients(_recipient_condition(criterion))))
        case Key.STATUS:
            prefixes = status_prefixes(value)
            codes = Q()
            for prefix in prefixes:
                codes |= Q(status__startswith=prefix) | Q(enhanced__startswith=f" {prefix}")
            return Q(Exists(_recipients().annotate(enhanced=Substr("status", 4)).filter(codes)))
        case Key.TEXT:
            word = fold(value)
            subject = Q(message__subject_key__contains=word) | Q(message__sender_key__contains=word)
            return subject | Q(Exists(_recipients(Q(address_key__contains=word))))
        case _:
            return None


def _message_condition(criterion: Criterion) -> Q | None:
    value = criterion.value
    match criterion.key:
        case Key.SENDER:
            return _sender_condition(criterion)
        case Key.SUBJECT:
            return Q(message__subject_key__contains=fold(value))
        case Key.ID:
            condition = id_condition(criterion)
            return Q(message__in=TrackedMessage.objects.filter(condition).values("pk"))
        case Key.STATE:
            return Q(message__state__in=words(value.lower()))
        case Key.SIZE:
            return Q(message__size__gte=criterion.low, message__size__lte=criterion.high)
        case _:
            return None


def _sender_condition(criterion: Criterion) -> Q:
    pattern = address_pattern(criterion.value)
    return Q(message__sender_key__like=pattern) if "*" in pattern else Q(message__sender_key=pattern)


def _recipient_condition(criterion: Criterion) -> Q:
    condition = Q()
    for value in words(criterion.value):
        pattern = address_pattern(value)
        condition |= Q(address_key__like=pattern) if "*" in pattern else Q(address_key=pattern)
    return condition


def _recipients(condition: Q | None = None) -> QuerySet[EventRecipient]:
    found = EventRecipient.objects.filter(event=OuterRef("pk"))
    return found if condition is None else found.filter(condition)


def id_condition(criterion: Criterion) -> Q:
    """Return a condition on TrackedMessage."""
    value = bare_id(criterion.value)
    if value.endswith("*"):
        prefix = value[:-1]
        if connection.vendor == "sqlite":
            bracketed = Q(message_id__gte=f"<{prefix}", message_id__lt=f"<{prefix}{LAST}")
            return bracketed | Q(message_id__gte=prefix, message_id__lt=f"{prefix}{LAST}")
        return Q(message_id__startswith=f"<{prefix}") | Q(message_id__startswith=prefix)
    condition = Q(message_id__in=[f"<{value}>", value])
    guid, number = network_id(value), internal_id(value)
    if guid is not None:
        condition |= Q(network_message_id=guid)
    if number is not None:
        condition |= Q(internal_message_id=number)
    return condition


def connectors_like(value: str) -> list[str]:
    """Return the connector names of the events that a caseless name or pattern stands for: one index probe a name."""
    pattern = fold(value)
    named = TrackingEvent.objects.exclude(connector_id="")
    found: list[str] = []
    name: str | None = ""
    for _probe in range(_CONNECTORS_LIMIT):
        name = (
            named.filter(connector_id__gt=name).order_by("connector_id").values_list("connector_id", flat=True).first()
        )
        if name is None:
            break
        if like(pattern, fold(name)):
            found.append(name)
    return found
