"""Recipient configuration: mailboxes, contacts and groups with their proxy addresses, for command and admin.

Promises: one transaction a change; the primary SMTP address is always among the proxies; a look-up finds one
recipient unless rows were imported otherwise (RT-8). Rules: RT-2 to RT-4, MT-K, DSN-11.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from connectors import audit
from connectors.choices import DirectoryKind, GroupReports
from connectors.configuration import ListChange, mailbox_size, quota_size
from connectors.errors import ConfigurationError
from connectors.mail.address import AddressSyntaxError, TypedAddress, is_valid_smtp, parse_typed
from connectors.mail.sizes import format_size
from connectors.models import ConfigGeneration, DirectoryRecipient, ProxyAddress, proxy_key


def find(address: str) -> DirectoryRecipient:
    """Return the recipient with this address, primary or proxy; raises RECIPIENT_NOT_FOUND or RECIPIENT_AMBIGUOUS."""
    found = DirectoryRecipient.objects.filter(proxies__key=proxy_key(read(address))).distinct()
    if len(found) > 1:
        text = _("More than one recipient has the address %(address)s.") % {"address": address}
        raise ConfigurationError(text, code="RECIPIENT_AMBIGUOUS", rule="RT-8")
    if not found:
        text = _("Nobody has the address %(address)s.") % {"address": address}
        raise ConfigurationError(text, code="RECIPIENT_NOT_FOUND")
    return found[0]


def read(text: str) -> TypedAddress:
    """Read TYPE:address or an SMTP address; the syntax of other types is not checked (RT-3)."""
    try:
        return parse_typed(text)
    except AddressSyntaxError as error:
        raise ConfigurationError(
            _("“%(text)s”: write TYPE:address, e.g. FAX:5551234, or an SMTP address.") % {"text": text},
            code="ADDRESS_INVALID",
        ) from error


def shown(recipient: DirectoryRecipient) -> dict[str, object]:
    """Return a recipient as `recipient list --json` prints it."""
    found: dict[str, object] = {
        "Kind": recipient.kind,
        "Name": recipient.name,
        "PrimarySmtpAddress": recipient.primary_address,
        "ExternalAddress": recipient.external_address or None,
        "ProxyAddresses": sorted(str(proxy) for proxy in recipient.proxies.all()),
        "MaxSendSize": format_size(recipient.max_send_bytes),
        "MaxReceiveSize": format_size(recipient.max_receive_bytes),
        "RecipientLimits": "unlimited" if recipient.max_recipients is None else recipient.max_recipients,
        "ProhibitSendReceiveQuota": format_size(recipient.max_mailbox_bytes),
    }
    if recipient.kind == DirectoryKind.GROUP:
        found["Members"] = members_of(recipient)
        found["ManagedBy"] = recipient.manager.primary_address if recipient.manager is not None else None
        found["ReportToOriginatorEnabled"] = recipient.reports_to == GroupReports.ORIGINATOR
        found["ReportToManagerEnabled"] = recipient.reports_to == GroupReports.MANAGER
    return found


def members_of(group: DirectoryRecipient) -> list[str]:
    """Return the primary addresses of a group's members, in alphabetical order."""
    return sorted(member.primary_address for member in group.members.all())


def limits(
    *, send: str | None = None, receive: str | None = None, recipients: str | None = None, quota: str | None = None
) -> dict[str, int | None]:
    """Read limits of a mailbox as people write them, by column; what is None is left out (QL-6)."""
    found: dict[str, int | None] = {}
    if send is not None:
        found["max_send_bytes"] = mailbox_size(send)
    if receive is not None:
        found["max_receive_bytes"] = mailbox_size(receive)
    if quota is not None:
        found["max_mailbox_bytes"] = quota_size(quota)
    if recipients is not None:
        unlimited = recipients.strip().lower() == "unlimited"
        if not unlimited and not (recipients.isascii() and recipients.isdigit() and 1 <= int(recipients) < 2**31):
            text = _("“%(text)s” is no number of recipients: write 1 or more, or unlimited.") % {"text": recipients}
            raise ConfigurationError(text, code="RECIPIENT_INVALID", rule="QL-6")
        found["max_recipients"] = None if unlimited else int(recipients)
    return found


def check_primary(text: str) -> str:
    """Return a primary address; raises ADDRESS_INVALID for one that is no SMTP address."""
    address = text.strip()
    if not is_valid_smtp(address):
        text = _("“%(text)s” is not an SMTP address.") % {"text": address}
        raise ConfigurationError(text, code="ADDRESS_INVALID")
    return address


def check_free(address: TypedAddress, *, besides: int | None = None) -> None:
    """Raise ADDRESS_IN_USE for an address that another recipient has (RT-8)."""
    owner = ProxyAddress.objects.filter(key=proxy_key(address)).exclude(recipient=besides).first()
    if owner is not None:
        text = _("%(address)s belongs to “%(name)s”.") % {"address": address, "name": owner.recipient.name}
        raise ConfigurationError(text, code="ADDRESS_IN_USE", rule="RT-8")


def check_external(kind: str, text: str) -> str:
    """Return an external address with its type; a contact has one, nobody else (RT-3)."""
    if kind != DirectoryKind.CONTACT:
        if text:
            raise ConfigurationError(_("Only a contact has an external address."), code="EXTERNAL_ADDRESS_INVALID")
        return ""
    if not text:
        raise ConfigurationError(_("A contact needs an external address."), code="EXTERNAL_ADDRESS_REQUIRED")
    return str(read(text))


def check_reports(reports_to: str, manager: DirectoryRecipient | None) -> None:
    """Raise MANAGER_REQUIRED for a group that reports to a manager it does not have (DSN-11)."""
    if reports_to == GroupReports.MANAGER and manager is None:
        raise ConfigurationError(_("Name the manager the notices go to."), code="MANAGER_REQUIRED", rule="DSN-11")


def check_members(group: DirectoryRecipient, members: Collection[DirectoryRecipient]) -> None:
    """Raise MEMBER_INVALID for a group that would be its own member; wider circles are harmless (`expansion`)."""
    if group in members:
        raise ConfigurationError(_("A group cannot be a member of itself."), code="MEMBER_INVALID")


@transaction.atomic
def change_group(
    group: DirectoryRecipient,
    *,
    members: ListChange | None = None,
    reports_to: str | None = None,
    manager: str | None = None,
) -> None:
    """Change who is in a group and who hears of its members; "" takes the manager away. Raises NOT_A_GROUP."""
    if group.kind != DirectoryKind.GROUP:
        text = _("“%(name)s” is not a group.") % {"name": group.name}
        raise ConfigurationError(text, code="NOT_A_GROUP")
    if manager is not None:
        group.manager = find(manager) if manager else None
    if reports_to is not None:
        group.reports_to = reports_to
    check_reports(group.reports_to, group.manager)
    group.save()
    if members:
        before = members_of(group)
        added = [find(address) for address in (*members.replace, *members.add)]
        check_members(group, added)
        if members.replace:
            group.members.set(added)
        else:
            group.members.add(*added)
        group.members.remove(*(find(address) for address in members.remove))
        audit.list_changed(group, "members", before=before, after=members_of(group))
    ConfigGeneration.bump()


@transaction.atomic
def add(
    kind: str, primary: str, *, name: str = "", external: str = "", proxies: Iterable[str] = ()
) -> DirectoryRecipient:
    """Make a mailbox, a contact or an empty group."""
    address = check_primary(primary)
    recipient = DirectoryRecipient(
        kind=kind,
        name=name or address.partition("@")[0],
        primary_address=address,
        external_address=check_external(kind, external),
    )
    check_free(TypedAddress(type="SMTP", value=address))
    _check_lengths(recipient)
    recipient.save()
    _change_proxies(recipient, ListChange(add=tuple(proxies)))
    announce(recipient)
    return recipient


@transaction.atomic
def change(
    recipient: DirectoryRecipient,
    *,
    name: str | None = None,
    primary: str | None = None,
    external: str | None = None,
    proxies: ListChange | None = None,
    limits: Mapping[str, int | None] | None = None,
) -> None:
    """Change what is not None; limits are those of a mailbox, by column; an old primary address stays as a proxy, so that its mail still arrives."""
    if name is not None:
        recipient.name = name
    if primary is not None:
        recipient.primary_address = check_primary(primary)
        check_free(TypedAddress(type="SMTP", value=recipient.primary_address), besides=recipient.pk)
    if external is not None:
        recipient.external_address = check_external(recipient.kind, external)
    if limits and recipient.kind != DirectoryKind.MAILBOX:
        raise ConfigurationError(_("Only mailboxes have limits of their own."), code="RECIPIENT_INVALID", rule="QL-6")
    for column, value in (limits or {}).items():
        setattr(recipient, column, value)
    _check_lengths(recipient)
    recipient.save()
    if proxies:
        _change_proxies(recipient, proxies)
    announce(recipient)


def _check_lengths(recipient: DirectoryRecipient) -> None:
    """Raise RECIPIENT_INVALID for text that is empty or longer than its column."""
    try:
        recipient.clean_fields()
    except ValidationError as error:
        raise ConfigurationError(" ".join(error.messages), code="RECIPIENT_INVALID") from error


def _change_proxies(recipient: DirectoryRecipient, change: ListChange) -> None:
    """Add and remove proxies one by one, so that each is audited; the primary address cannot be removed."""
    primary = proxy_key(TypedAddress(type="SMTP", value=recipient.primary_address))
    wanted = [read(text) for text in (*change.replace, *change.add)]
    removed = {proxy_key(read(text)) for text in change.remove}
    if primary in removed:
        text = _("%(address)s is the primary address.") % {"address": recipient.primary_address}
        raise ConfigurationError(text, code="ADDRESS_INVALID")
    keys = {proxy_key(address) for address in wanted}
    for row in recipient.proxies.exclude(key=primary):
        if row.key in removed or (change.replace and row.key not in keys):
            row.delete()
    for address in wanted:
        check_free(address, besides=recipient.pk)
        key = proxy_key(address)
        if not recipient.proxies.filter(key=key).exists():
            ProxyAddress.objects.create(recipient=recipient, type=address.type, address=address.value, key=key)


def announce(recipient: DirectoryRecipient) -> None:
    """Keep the primary address among the proxies and let routing see a saved recipient."""
    primary = TypedAddress(type="SMTP", value=recipient.primary_address)
    if not ProxyAddress.objects.filter(recipient=recipient.pk, key=proxy_key(primary)).exists():
        owner = DirectoryRecipient.objects.get(pk=recipient.pk)
        ProxyAddress.objects.create(recipient=owner, type="SMTP", address=primary.value, key=proxy_key(primary))
    ConfigGeneration.bump()


@transaction.atomic
def remove(recipient: DirectoryRecipient) -> None:
    """Delete a recipient with its proxies; groups lose it as member and manager, the mail of a mailbox stays on disk."""
    for group in recipient.managed_groups.all():
        group.manager = None
        group.save()  # one by one, so that each is audited
    for group in recipient.groups.all():
        before = members_of(group)
        group.members.remove(recipient)
        audit.list_changed(group, "members", before=before, after=members_of(group))
    recipient.delete()
    ConfigGeneration.bump()
