"""Domain configuration: accepted domains made, changed and removed, for command and admin (RT-5, RT-6, IM-8).

Promises: one transaction a change; there is always exactly one default domain once there is a domain.
"""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from connectors.choices import DomainKind
from connectors.errors import ConfigurationError
from connectors.mail.address import is_valid_domain, normalize_domain
from connectors.models import AcceptedDomain, ConfigGeneration


def find(domain: str) -> AcceptedDomain:
    """Return an accepted domain by any spelling of it; raises DOMAIN_NOT_FOUND."""
    wanted = normalize_domain(domain.strip())
    found = next((row for row in AcceptedDomain.objects.all() if normalize_domain(row.domain) == wanted), None)
    if found is None:
        text = _("“%(domain)s” is not an accepted domain.") % {"domain": domain}
        raise ConfigurationError(text, code="DOMAIN_NOT_FOUND")
    return found


def shown(domain: AcceptedDomain) -> dict[str, object]:
    """Return a domain as `domain list --json` prints it."""
    return {
        "Domain": domain.domain,
        "Kind": domain.kind,
        "Default": domain.is_default,
        "AcceptsImcea": domain.is_default or domain.accepts_imcea,
    }


def check_domain(text: str, *, besides: int | None = None) -> str:
    """Return a domain as it is stored; raises DOMAIN_INVALID or DOMAIN_EXISTS."""
    domain = text.strip().removesuffix(".").lower()
    if domain.startswith("[") or not is_valid_domain(domain):
        raise ConfigurationError(_("“%(domain)s” is not a domain name.") % {"domain": text}, code="DOMAIN_INVALID")
    same = [row for row in AcceptedDomain.objects.all() if row.pk != besides and _same(row.domain, domain)]
    if same:
        text = _("“%(domain)s” is an accepted domain already.") % {"domain": domain}
        raise ConfigurationError(text, code="DOMAIN_EXISTS")
    return domain


def _same(first: str, second: str) -> bool:
    return normalize_domain(first) == normalize_domain(second)


def add(
    domain: str, *, kind: str = DomainKind.AUTHORITATIVE, default: bool = False, imcea: bool = False
) -> AcceptedDomain:
    """Accept a domain; the first one becomes the default."""
    row = AcceptedDomain(domain=check_domain(domain), kind=kind, is_default=default, accepts_imcea=imcea)
    save(row)
    return row


@transaction.atomic
def save(row: AcceptedDomain) -> None:
    """Store a new or changed domain; a new default takes the place of the old one."""
    others = AcceptedDomain.objects.filter(is_default=True).exclude(pk=row.pk)
    if row.is_default:
        for other in others:
            other.is_default = False
            other.save(update_fields=["is_default"])
    elif row._state.adding and not others.exists():
        row.is_default = True
    elif not row._state.adding:
        check_default_stays(row.pk)
    row.save()
    ConfigGeneration.bump()


def check_default_stays(besides: int) -> None:
    """Raise DOMAIN_DEFAULT_REQUIRED when no other domain is the default (IM-8, IM-9)."""
    if not AcceptedDomain.objects.filter(is_default=True).exclude(pk=besides).exists():
        text = _("One domain must be the default: make another one the default instead.")
        raise ConfigurationError(text, code="DOMAIN_DEFAULT_REQUIRED", rule="IM-8")


@transaction.atomic
def remove(row: AcceptedDomain) -> None:
    """Accept a domain no longer; the default domain stays while there are others."""
    if AcceptedDomain.objects.exclude(pk=row.pk).exists():
        check_default_stays(row.pk)
    row.delete()
    ConfigGeneration.bump()
