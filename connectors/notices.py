"""Notices: what a notice says, in the reader's language (DSN-50 to DSN-54).

`compose` makes the finished notice of what happened to a message; reports and previews use it alike.
Structure and bytes are left to `mail.dsn`; whether a notice is due to `transport.reports`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime

from django.utils import formats, timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from connectors import notice_codes, remote_domains
from connectors.choices import Audience
from connectors.conf import TransportConfig
from connectors.mail import dsn, notice_markup
from connectors.mail.address import normalize_domain
from connectors.mail.header import Field, decode_text
from connectors.mail.imcea import ImceaError, decapsulate
from connectors.mail.xtext import xtext_decode
from connectors.models import NoticeSettings, NoticeText
from connectors.remote_domains import Switches
from connectors.transport.routing import DomainKind, RoutingTable

TAGS = {"en": "en-US", "fr": "fr-FR"}  # languages of notices, with the tag for Content-Language
ACTIONS = ("failed", "delayed", "relayed", "delivered", "expanded")
DELAY_TEXT = "400 4.4.7 Message delayed"  # DSN-40
_SUCCESS = frozenset({"relayed", "delivered", "expanded"})
_PREFERENCE = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?")
_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How notices to one audience are written (DSN-13, DSN-50)."""

    audience: str
    language: str  # default language
    detects_language: bool
    with_html: bool
    max_attach_bytes: int
    reporting_mta: str
    from_address: str
    tells_delays: bool
    tells_failures: bool
    tells_success: bool
    with_diagnostics: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message a notice is about."""

    mail_from: str
    message_id: str
    subject: str
    received_at: datetime
    expires_at: datetime
    helo_domain: str
    envid: str
    header: bytes  # up to and including the blank line
    content: bytes | None  # None: only the header goes back


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happened to one recipient."""

    address: str  # SMTP form
    orcpt: str = ""  # "rfc822;xtext" as accepted
    reply: str = ""  # "550 5.1.1 …"; "" for success
    from_drop: bool = False  # the reply is about a drop directory, not SMTP (DSN-34)
    last_attempt_at: datetime | None = None
    last_error: str = ""


def manners(settings: NoticeSettings, *, host: str, domain: str, config: TransportConfig) -> dict[str, Manner]:
    """Return how notices are written, by audience; `host` and `domain` are what empty settings mean."""
    return {
        "internal": Manner(
            audience="internal",
            language=settings.internal_language or config.notice_language,
            detects_language=settings.internal_language_detection,
            with_html=settings.internal_send_html,
            max_attach_bytes=settings.internal_max_attach_bytes,
            reporting_mta=_dns_name(settings.internal_reporting_authority or host),
            from_address=_sendable(settings.internal_postmaster_address or f"postmaster@{domain}"),
            tells_delays=settings.internal_delay_enabled,
            tells_failures=True,
            tells_success=True,
            with_diagnostics=True,
        ),
        "external": Manner(
            audience="external",
            language=settings.external_language or config.notice_language,
            detects_language=settings.external_language_detection,
            with_html=settings.external_send_html,
            max_attach_bytes=settings.external_max_attach_bytes,
            reporting_mta=_dns_name(settings.external_reporting_authority or host),
            from_address=_sendable(settings.external_postmaster_address or f"postmaster@{domain}"),
            tells_delays=settings.external_delay_enabled,
            tells_failures=settings.external_failure_enabled,
            tells_success=settings.external_reports_enabled,
            with_diagnostics=settings.external_diagnostics_enabled,
        ),
    }


def _dns_name(domain: str) -> str:
    """Return a domain as DNS knows it: notices name hosts in ASCII; any other text stays as it is."""
    return domain if domain.isascii() else normalize_domain(domain)


def _sendable(address: str) -> str:
    """Return an address whose domain needs no SMTPUTF8."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{_dns_name(domain)}"


def audience_of(address: str, table: RoutingTable) -> str:
    """Tell whether an address is inside: its domain is ours, not one we only relay for (DSN-50)."""
    kind = table.domain_kind(address.rpartition("@")[2]) if "@" in address else DomainKind.AUTHORITATIVE
    inside = kind in {DomainKind.AUTHORITATIVE, DomainKind.INTERNAL_RELAY}
    return (Audience.INTERNAL if inside else Audience.EXTERNAL).value


def manner_for(
    address: str, manners: Mapping[str, Manner], table: RoutingTable, remote: Mapping[str, Switches]
) -> Manner:
    """Return how notices to an address are written; a domain outside may have switches of its own (DSN-13)."""
    manner = manners[audience_of(address, table)]
    switches = None
    if manner.audience == Audience.EXTERNAL:
        switches = remote_domains.switches_for(address.rpartition("@")[2], remote)
    if switches is None:
        return manner
    return replace(
        manner,
        tells_failures=switches.tells_failures,
        tells_success=switches.tells_success,
        with_diagnostics=switches.with_diagnostics,
    )


def custom_texts() -> dict[tuple[str, str, str], str]:
    """Return the administrator's texts by language, audience and code (DSN-52)."""
    rows = NoticeText.objects.values_list("language", "audience", "code", "text")
    return {(language, audience, code): text for language, audience, code, text in rows}


def language_for(fields: Sequence[Field], manner: Manner, mailbox: str) -> str:
    """Return "en" or "fr": of the mailbox, Accept-Language, Content-Language, the audience's default (DSN-51)."""
    if not manner.detects_language:
        return manner.language
    if mailbox in TAGS:
        return mailbox
    for wanted in ("accept-language", "content-language"):
        for field in fields:
            if field.name == wanted:
                found = _preferred(decode_text(field.value))
                if found:
                    return found
    return manner.language


def _preferred(value: str) -> str:
    """Return the language people like best of those we write, "" when none is there: tag first, then its start."""
    ranked = []
    for position, match in enumerate(_PREFERENCE.finditer(value)):
        quality = float(match[2]) if match[2] else 1.0
        primary = match[1].split("-")[0].lower()
        if quality > 0 and primary in TAGS:
            ranked.append((-quality, position, primary))
    return min(ranked)[2] if ranked else ""


def compose(
    action: str,
    original: Original,
    fates: Sequence[Fate],
    *,
    manner: Manner,
    language: str,
    texts: Mapping[tuple[str, str, str], str],
    host: str,
    domain: str,
    identity: uuid.UUID,
    now: datetime,
) -> dsn.Notice:
    """Return the notice that tells the sender about recipients with the same action (DSN-8).

    `host` is the generating server, `domain` the default domain, `identity` makes Message-ID and boundaries.
    """
    header, content = original.header, original.content
    if manner.audience == "external" or not manner.with_diagnostics:
        header, content = _for_outside(original, manner)
    with translation.override(language):
        return dsn.Notice(
            boundary=identity,
            subject=subject_of(action, original.subject, language),
            headline=_headline(action, original.expires_at),
            recipients=tuple(_recipient(action, f, original, manner, language, texts, domain) for f in fates),
            labels=_labels(),
            language=TAGS[language],
            from_address=manner.from_address,
            to_address=original.mail_from,
            message_id=f"<{identity}@{_dns_name(host)}>",
            date=format_datetime(now),
            generating_server=host,
            reporting_mta=manner.reporting_mta,
            received_from=_dns_name(original.helo_domain),
            arrival_date=_utc(original.received_at),
            envid=original.envid,
            in_reply_to=original.message_id,
            original_header=header,
            original_content=content,
            is_failure=action == "failed",
            with_html=manner.with_html,
            with_diagnostics=manner.with_diagnostics,
        )


def subject_of(action: str, subject: str, language: str) -> str:
    """Return the subject of a notice; prefixes do not pile up (DSN-30)."""
    with translation.override(language):
        prefix = {
            "failed": _("Undeliverable: "),
            "delayed": _("Delayed: "),
            "relayed": _("Relayed: "),
            "delivered": _("Delivered: "),
            "expanded": _("Expanded: "),
        }[action]
    return subject if subject.startswith(prefix) else prefix + subject


def status_of(reply: str) -> str:
    """Return the enhanced status code of a reply, 5.0.0 when it names none."""
    for word in reply.split()[:2]:
        if _CODE.fullmatch(word):
            return word
    return "5.0.0"


def _for_outside(original: Original, manner: Manner) -> tuple[bytes, bytes | None]:
    """Return header and content as people outside get them; without diagnostics no field names our servers."""
    if manner.with_diagnostics:
        return original.header, original.content
    header = dsn.without_internal(original.header)
    content = None if original.content is None else header + original.content[len(original.header) :]
    return header, content


def _headline(action: str, expires_at: datetime) -> str:
    if action == "delayed":
        return _("Not delivered yet; we keep trying until %(time)s:") % {"time": _time(expires_at)}
    return {
        "failed": _("Your message was not delivered to:"),
        "relayed": _("Passed to another system; no further receipt is expected for:"),
        "delivered": _("Delivered to the mailbox of:"),
        "expanded": _("Delivered to the group:"),
    }[action]


def _time(moment: datetime) -> str:
    local = timezone.localtime(moment)
    day = formats.date_format(local, "DATETIME_FORMAT")
    if local.day == 1 and translation.get_language() == "fr":
        day = day.replace("1 ", "1er ", 1)  # Django writes "1 décembre"
    return f"{day} {local.tzname()}"


def _labels() -> dsn.Labels:
    # Bounce readers know these markers by heart (queues-dsn 5.3).
    return dsn.Labels(
        diagnostic_info=pgettext("notice marker", "Diagnostic information for administrators:"),
        generating_server=pgettext("notice marker", "Generating server:"),
        receiving_server=pgettext("notice marker", "Receiving server:"),
        last_attempt=pgettext("notice marker", "Last attempt:"),
        original_headers=pgettext("notice marker", "Original message headers:"),
    )


def _recipient(
    action: str,
    fate: Fate,
    original: Original,
    manner: Manner,
    language: str,
    texts: Mapping[tuple[str, str, str], str],
    domain: str,
) -> dsn.NoticeRecipient:
    display, kind, value = _shown(fate, domain)
    if action in _SUCCESS:
        return dsn.NoticeRecipient(
            address=fate.address, display=display, action=action, status="2.0.0", original=(kind, value)
        )
    reply = DELAY_TEXT if action == "delayed" else fate.reply
    status = status_of(reply)
    custom = texts.get((language, manner.audience, status), "")
    plain = notice_codes.delayed(language) if action == "delayed" else notice_codes.explanation(status, language)
    tried = fate.last_attempt_at is not None and status == "4.4.7"
    return dsn.NoticeRecipient(
        address=fate.address,
        display=display,
        action=action,
        status=status,
        diagnostic_type="x-fcweb" if fate.from_drop else "smtp",
        diagnostic=reply,
        original=(kind, value),
        last_attempt=_utc(fate.last_attempt_at) if tried and fate.last_attempt_at else "",
        will_retry_until=_utc(original.expires_at) if action == "delayed" else "",
        supplement=fate.last_error if tried else "",
        explanation=notice_markup.plain(custom) if custom else plain,
        explanation_html=notice_markup.clean(custom) if custom else "",
    )


def _shown(fate: Fate, domain: str) -> tuple[str, str, str]:
    """Return an address as people write it, and type and value of Original-Recipient.

    An ORCPT that only repeats an encapsulated address goes back in the form the sender used: readers of
    bounces know the type rfc822 alone (docs/adr/0006).
    """
    try:
        typed = decapsulate(fate.address, frozenset({domain}))
    except ImceaError:
        typed = None
    display = fate.address if typed is None or typed.type == "SMTP" else str(typed)
    if not fate.orcpt:
        return display, "", ""
    kind, _semicolon, coded = fate.orcpt.rpartition(";")
    kind, value = kind or "rfc822", xtext_decode(coded)
    if typed is not None and kind.upper() == typed.type and value == typed.value and typed.type != "SMTP":
        return display, "rfc822", fate.address
    return display, kind.lower(), value


def _utc(moment: datetime) -> str:
    """Return an RFC 5322 date with +0000 (DSN-31)."""
    return format_datetime(moment.astimezone(UTC))
