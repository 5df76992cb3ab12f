"""Remote domains: which row of switches a domain outside has, and how rows are made and changed (DSN-13).

An exact name comes before `*.domain`, the longest of these first; a domain without a row follows the settings of all
people outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from connectors.errors import ConfigurationError
from connectors.mail.address import is_valid_domain, normalize_domain
from connectors.models import RemoteDomain

SWITCHES = {  # Exchange's names
    "NDREnabled": "ndr_enabled",
    "DeliveryReportEnabled": "delivery_report_enabled",
    "NDRDiagnosticInfoEnabled": "ndr_diagnostic_info_enabled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What people of one domain are told."""

    tells_failures: bool
    tells_success: bool
    with_diagnostics: bool


def load() -> dict[str, Switches]:
    """Return the switches of every row by its normalised domain: one query."""
    rows = RemoteDomain.objects.values_list("domain", *SWITCHES.values())
    return {
        _key(domain): Switches(tells_failures=failures, tells_success=success, with_diagnostics=diagnostics)
        for domain, failures, success, diagnostics in rows
    }


def switches_for(domain: str, rows: Mapping[str, Switches]) -> Switches | None:
    """Return the switches of the row that fits a domain best, None when none does."""
    wanted = normalize_domain(domain)
    if wanted in rows:
        return rows[wanted]
    labels = wanted.split(".")
    for start in range(len(labels)):  # the longest name first
        found = rows.get("*." + ".".join(labels[start:]))
        if found is not None:
            return found
    return None


def _key(domain: str) -> str:
    below, name = domain.startswith("*."), domain.removeprefix("*.")
    return ("*." if below else "") + normalize_domain(name)


def check_domain(text: str, *, besides: int | None = None) -> str:
    """Return a domain as it is stored; raises REMOTE_DOMAIN_INVALID or REMOTE_DOMAIN_EXISTS."""
    domain = text.strip().removesuffix(".").lower()
    name = domain.removeprefix("*.")
    if name.startswith("[") or not is_valid_domain(name):
        raise ConfigurationError(
            _("“%(domain)s” is no domain such as contoso.com or *.contoso.com.") % {"domain": text},
            code="REMOTE_DOMAIN_INVALID",
            rule="DSN-13",
        )
    others = RemoteDomain.objects.exclude(pk=besides or 0).values_list("domain", flat=True)
    if _key(domain) in {_key(other) for other in others}:
        raise ConfigurationError(
            _("“%(domain)s” has its switches already.") % {"domain": domain}, code="REMOTE_DOMAIN_EXISTS", rule="DSN-13"
        )
    return domain


def find(text: str) -> RemoteDomain | None:
    """Return the row of a domain by any spelling of it, or None."""
    wanted = _key(text.strip().removesuffix(".").lower())
    return next((row for row in RemoteDomain.objects.all() if _key(row.domain) == wanted), None)


def shown(row: RemoteDomain) -> dict[str, object]:
    """Return a row under Exchange's names."""
    return {"DomainName": row.domain} | {name: getattr(row, column) for name, column in SWITCHES.items()}
