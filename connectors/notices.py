"""Words of notices: subject, headline, explanation by status code, in the reader's language (DSN-50 to DSN-54).

Structure and bytes are left to `mail.dsn`; whether a notice is due to `transport.reports`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from connectors.mail.header import decode_text, split

_LANGUAGES = {"en": "en-US", "fr": "fr-FR"}
_TAG = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")

_EXPLANATIONS = {
    "4.3.1": gettext_lazy("The receiving system is short of space. Try again later."),
    "4.4.7": gettext_lazy("The message could not be delivered in time. Check the address, or send it again later."),
    "5.0.0": gettext_lazy("The message could not be delivered. Ask your administrator, who can look it up."),
    "5.1.1": gettext_lazy("This address does not exist here. Check its spelling."),
    "5.1.2": gettext_lazy(
        "No gateway serves this kind of address. Check the number or address, or ask your administrator."
    ),
    "5.1.3": gettext_lazy("The address is not written correctly. Correct it and send the message again."),
    "5.1.4": gettext_lazy("More than one recipient has this address. Ask your administrator."),
    "5.2.3": gettext_lazy("The message is larger than this recipient accepts. Make it smaller or split it."),
    "5.3.4": gettext_lazy("The message is too large. Make it smaller, or split it, and send it again."),
    "5.4.4": gettext_lazy("There is no way to this recipient. Ask your administrator."),
    "5.4.6": gettext_lazy("The message went round in a circle. Ask your administrator."),
    "5.5.3": gettext_lazy("The message has too many recipients. Send it to fewer at a time."),
    "5.6.0": gettext_lazy("The content could not be converted for the recipient's system."),
    "5.7.1": gettext_lazy("You may not send to this recipient."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Translated texts of one notice."""

    language: str  # tag for Content-Language, e.g. fr-FR
    subject_prefix: str
    headline: str
    diagnostic_info: str
    generating_server: str
    receiving_server: str
    original_headers: str


def language_for(header: bytes, default: str) -> str:
    """Return "en" or "fr": Accept-Language, else Content-Language of the original, else `default` (DSN-51)."""
    try:
        fields = split(header).fields
    except ValueError:
        return default
    for wanted in ("accept-language", "content-language"):
        for field in fields:
            if field.name == wanted:
                for tag in _TAG.findall(decode_text(field.value)):
                    primary = str(tag).split("-")[0].lower()
                    if primary in _LANGUAGES:
                        return primary
    return default


def words(language: str, action: str) -> Words:
    """Return the texts of a notice about `action` ("failed" or "relayed")."""
    with translation.override(language):
        prefixes = {"failed": _("Undeliverable: "), "relayed": _("Relayed: ")}
        headlines = {
            "failed": _("Your message was not delivered to:"),
            "relayed": _("Passed to another system; no further receipt is expected for:"),
        }
        return Words(
            language=_LANGUAGES.get(language, "en-US"),
            subject_prefix=prefixes[action],
            headline=headlines[action],
            # Bounce readers know these four markers by heart (queues-dsn 5.3).
            diagnostic_info=pgettext("notice marker", "Diagnostic information for administrators:"),
            generating_server=pgettext("notice marker", "Generating server:"),
            receiving_server=pgettext("notice marker", "Receiving server:"),
            original_headers=pgettext("notice marker", "Original message headers:"),
        )


def explanation(status: str, language: str) -> str:
    """Return what the status code means and what to do: x.y.z, else x.y.0, else x.0.0 (DSN-53)."""
    first, second, _third = [*status.split("."), "0", "0"][:3]
    with translation.override(language):
        for code in (status, f"{first}.{second}.0", f"{first}.0.0"):
            if code in _EXPLANATIONS:
                return str(_EXPLANATIONS[code])
        return str(_EXPLANATIONS["5.0.0"])


def prefixed(subject: str, words: Words) -> str:
    """Return the subject of a notice; prefixes do not pile up (DSN-30)."""
    return subject if subject.startswith(words.subject_prefix) else words.subject_prefix + subject
