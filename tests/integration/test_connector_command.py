"""`manage.py connector`: the two-step form, Exchange lines, and what is refused."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from connectors.models import ForeignConnector, Node

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words):
    out = StringIO()
    call_command("connector", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def spaces(name):
    return sorted(str(space) for space in ForeignConnector.objects.get(name=name).address_spaces.all())


@pytest.mark.rule("FC-1", "FC-5", "FC-6", "FC-7")
def test_a_connector_is_made_and_then_set(site):
    run("new", "foreign", "SMS Gate", "--address-space", "SMS:*;1")
    run("set", "sms gate", "--drop-directory-quota", "2GB", "--add-address-space", "MOBILE:*;2")

    shown = json.loads(run("get", "SMS Gate", "--json"))[0]
    assert shown["AddressSpaces"] == ["MOBILE:*;2", "SMS:*;1"]
    assert shown["DropDirectoryQuota"] == "2GB"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(
            ("new", "foreign", "fax", "--address-space", "FAX:*"),
            "CONNECTOR_NAME_EXISTS",
            marks=pytest.mark.rule("FC-2", "FC-E2"),
        ),
        pytest.param(
            ("new", "foreign", "a/b", "--address-space", "FAX:*"),
            "CONNECTOR_NAME_INVALID",
            marks=pytest.mark.rule("FC-3", "FC-E1"),
        ),
        pytest.param(("new", "foreign", "X"), "ADDRESS_SPACE_REQUIRED", marks=pytest.mark.rule("FC-E4")),
        pytest.param(
            ("new", "foreign", "X", "--address-space", "FAX:9;500"),
            "ADDRESS_SPACE_COST_RANGE",
            marks=pytest.mark.rule("FC-E6"),
        ),
        pytest.param(("set", "None such"), "CONNECTOR_NOT_FOUND", marks=pytest.mark.rule("FC-E3", "FC-9")),
        pytest.param(
            ("set", "Fax", "--drop-directory", "../out"), "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-E9", "DR-10")
        ),
        pytest.param(
            ("set", "Fax", "--drop-directory-quota", "2 parsecs"), "SIZE_RANGE", marks=pytest.mark.rule("FC-E7")
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(site, words, code):
    with pytest.raises(CommandError, match=code):
        run(*words)


@pytest.mark.rule("FC-E11", "FC-17", "DR-6")
def test_two_connectors_never_share_a_directory(site):
    run("new", "foreign", "Other", "--address-space", "SMS:*")

    with pytest.raises(CommandError, match="DROP_PATH_IN_USE"):
        run("set", "Other", "--drop-directory", "Fax")


@pytest.mark.rule("FC-5", "FC-6", "AS-7", "FC-E10")
def test_exchange_lines_do_what_they_say(site):
    Node.objects.create(name="Hub01", fqdn="hub01.test")
    run(
        "exchange",
        'New-ForeignConnector -Name "Contoso Foreign Connector" -AddressSpaces "X400:c=US;a=Fabrikam;P=Contoso;5" -SourceTransportServers Hub01',
    )
    run(
        "exchange",
        'Set-ForeignConnector "Contoso Foreign Connector" -AddressSpaces @{Add="FAX:9*;3"} -DropDirectoryQuota 2GB -Enabled:$false',
    )

    connector = ForeignConnector.objects.get(name="Contoso Foreign Connector")
    assert spaces(connector.name) == ["FAX:9*;3", "X400:c=US;a=Fabrikam;P=Contoso;5"]
    assert (connector.drop_directory_quota, connector.enabled) == (2 * 1024**3, False)
    assert [node.name for node in connector.source_transport_servers.all()] == ["Hub01"]
    run("exchange", 'Remove-ForeignConnector -Identity "Contoso Foreign Connector" -Confirm:$false')
    assert not ForeignConnector.objects.filter(name=connector.name).exists()


def test_an_unknown_parameter_is_named_with_its_place(site):
    with pytest.raises(CommandError, match=r"-Bogus.*character 26"):
        run("exchange", "Get-ForeignConnector Fax -Bogus 1")


@pytest.mark.rule("FC-E10")
def test_an_unknown_server_is_refused(site):
    with pytest.raises(CommandError, match="SOURCE_SERVER_UNKNOWN"):
        run("exchange", 'New-ForeignConnector X -AddressSpaces "FAX:1" -SourceTransportServers Hub99')
