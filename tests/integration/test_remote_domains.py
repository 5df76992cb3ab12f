"""Domains outside with switches of their own: failures, receipts and diagnostics, by admin and by command (DSN-13)."""

import json

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from connectors import configuration, drop_directory, remote_domains
from connectors.errors import ConfigurationError
from connectors.models import ForeignConnector, NoticeSettings, RemoteDomain
from connectors.remote_domains import Switches, switches_for
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
LOST = "IMCEASMS-1@fcweb.test"


def replayed(receiver, sender, parameters=""):
    block = f"X-Sender: <{sender}>\r\nX-Receiver: <{receiver}>{parameters}\r\n"
    return f"{block}From: eve@outside.test\r\nSubject: Offer\r\nReceived: from inner by inner2; x\r\n\r\nx\r\n".encode()


@pytest.fixture
def outside(site):
    """Everything for other domains leaves by connector Internet; returns the files it wrote."""
    configuration.create("Internet", ["*;1"], fields={})
    drop_directory.create(ForeignConnector.objects.get(name="Internet"), site.node)
    return lambda: sorted(site.drop.with_name("Internet").glob("*.eml"))


@pytest.mark.rule("DSN-13")
@pytest.mark.parametrize(
    ("domain", "rows", "found"),
    [
        ("contoso.com", {"contoso.com": 1}, 1),
        ("CONTOSO.com", {"contoso.com": 1}, 1),
        ("a.contoso.com", {"contoso.com": 1}, None),
        ("a.contoso.com", {"*.contoso.com": 1}, 1),
        ("contoso.com", {"*.contoso.com": 1}, 1),
        ("a.b.contoso.com", {"*.contoso.com": 1, "*.b.contoso.com": 2}, 2),
        ("b.contoso.com", {"*.b.contoso.com": 2, "b.contoso.com": 3}, 3),
        ("xcontoso.com", {"*.contoso.com": 1}, None),
        ("bücher.test", {"xn--bcher-kva.test": 1}, 1),
    ],
)
def test_the_row_that_fits_best_counts(domain, rows, found):
    made = {
        name: Switches(tells_failures=True, tells_success=True, with_diagnostics=bool(n % 2))
        for name, n in rows.items()
    }
    by_number = {n: made[name] for name, n in rows.items()}

    assert switches_for(domain, made) is (by_number[found] if found else None)


@pytest.mark.rule("DSN-13")
@pytest.mark.parametrize(
    ("everybody", "row", "sender", "is_told"),
    [
        ({}, {"ndr_enabled": False}, "eve@outside.test", False),
        ({}, {"ndr_enabled": False}, "eve@other.test", True),
        ({"external_failure_enabled": False}, {}, "eve@outside.test", True),
        ({"external_failure_enabled": False}, None, "eve@outside.test", False),
        ({}, {"ndr_enabled": False, "domain": "fcweb.test"}, "alice@fcweb.test", True),
    ],
)
def test_failures_are_told_by_the_switch_of_the_domain(site, replay, transport, everybody, row, sender, is_told):
    NoticeSettings.objects.create(**everybody)
    if row is not None:
        RemoteDomain.objects.create(**({"domain": "outside.test"} | row))
    replay("m.eml", replayed(LOST, sender))

    transport(timezone.now())

    fail = TrackingEvent.objects.get(event="FAIL", source="ROUTING", message__source="REPLAY")
    assert bool(fail.reference) is is_told
    assert TrackingEvent.objects.filter(event="DSN").exists() is is_told


@pytest.mark.rule("DSN-13")
@pytest.mark.parametrize("enabled", [True, False])
def test_receipts_are_given_by_the_switch_of_the_domain(site, replay, transport, outside, enabled):
    RemoteDomain.objects.create(domain="*.outside.test", delivery_report_enabled=enabled)
    replay("m.eml", replayed("alice@fcweb.test", "eve@mail.outside.test", " NOTIFY=SUCCESS"))

    transport(timezone.now())

    assert len(outside()) == int(enabled)


@pytest.mark.rule("DSN-13", "QX-11")
@pytest.mark.parametrize("enabled", [True, False])
def test_the_bytes_of_a_notice_name_our_servers_only_with_diagnostics(site, replay, transport, outside, enabled):
    NoticeSettings.objects.create(external_reporting_authority="example.org")
    RemoteDomain.objects.create(domain="outside.test", ndr_diagnostic_info_enabled=enabled)
    replay("m.eml", replayed(LOST, "eve@outside.test"))

    transport(timezone.now())

    (path,) = outside()
    body = path.read_bytes().partition(b"multipart/alternative")[2]
    for secret in (b"node.test", b"from inner by inner2", b"Diagnostic-Code", b"administrators:"):
        assert (secret in body) is enabled, secret
    assert b"Status: 5.1.2" in body


@pytest.mark.rule("DSN-13")
def test_the_command_sets_lists_and_removes_and_is_audited(site, capsys):
    call_command("dsn", "remote", "set", "Contoso.COM.", "--ndr-enabled", "false")
    call_command("dsn", "remote", "set", "contoso.com", "--ndr-diagnostic-info-enabled", "$false")
    call_command("dsn", "remote", "list", "--json")

    assert json.loads(capsys.readouterr().out) == [
        {
            "DomainName": "contoso.com",
            "NDREnabled": False,
            "DeliveryReportEnabled": True,
            "NDRDiagnosticInfoEnabled": False,
        }
    ]
    assert LogEntry.objects.filter(content_type__model="remotedomain").count() == 2
    call_command("dsn", "remote", "remove", "CONTOSO.com")
    assert not RemoteDomain.objects.exists()
    for arguments in (("remove", "contoso.com"), ("set", "not a domain"), ("set", "*.")):
        with pytest.raises(CommandError):
            call_command("dsn", "remote", *arguments)


@pytest.mark.rule("DSN-13")
def test_the_admin_checks_the_name_and_speaks_french(site, admin_client):
    path = "/admin/connectors/remotedomain/add/"
    assert admin_client.post(path, {"domain": "*.Contoso.com", "ndr_enabled": "on"}).status_code == 302
    row = RemoteDomain.objects.get()
    assert (row.domain, row.ndr_enabled, row.delivery_report_enabled) == ("*.contoso.com", True, False)

    again = admin_client.post(path, {"domain": "*.CONTOSO.com"}).content.decode()
    assert "has its switches already" in again
    with pytest.raises(ConfigurationError):
        remote_domains.check_domain("[192.0.2.1]")
    with translation.override("fr"):  # restores the language the request leaves behind
        page = admin_client.get(path, headers={"accept-language": "fr"}).content.decode()
    assert "domaine extérieur" in page.lower()
