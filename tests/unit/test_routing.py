"""Routing: the tables of AS 3.3 and RT 4.7, row by row, on the pure resolver."""

from uuid import UUID

import pytest

from connectors.mail.address import TypedAddress
from connectors.mail.address_space import AddressSpaceError, parse_entry
from connectors.transport.routing import (
    AcceptedDomain,
    ConnectorEntry,
    ConnectorKind,
    DirectoryEntry,
    DirectoryKind,
    DomainKind,
    LostBecause,
    RoutingTable,
    Verdict,
    oversize_fallbacks,
    resolve,
    select,
)

MB = 1024 * 1024


def connector(name, *spaces, kind=ConnectorKind.FOREIGN, number=0, **overrides):
    return ConnectorEntry(
        guid=UUID(int=number or sum(map(ord, name))),
        name=name,
        kind=kind,
        spaces=tuple(parse_entry(space) for space in spaces),
        **overrides,
    )


def table(*connectors):
    return RoutingTable(
        generation=1,
        accepted_domains=(
            AcceptedDomain(domain="contoso.com", kind=DomainKind.AUTHORITATIVE, is_default=True),
            AcceptedDomain(domain="relay.contoso.com", kind=DomainKind.INTERNAL_RELAY),
        ),
        imcea_domains=frozenset({"contoso.com"}),
        connectors=connectors,
    )


SELECTION = [
    ("SMTP", "julia@marketing.contoso.com", {"A": "*;1", "B": "*.contoso.com;1", "C": "marketing.contoso.com;50"}, "C"),
    ("SMTP", "bob@contoso.com", {"A": "*;1", "B": "*.contoso.com;90"}, "B"),
    ("SMTP", "bob@eu.contoso.com", {"A": "contoso.com;1", "B": "*;100"}, "B"),
    ("SMTP", "bob@x.eu.contoso.com", {"A": "*.contoso.com;1", "B": "*.eu.contoso.com;99"}, "B"),
    ("SMTP", "bob@fabrikam.com", {"A": "*.com;5", "B": "*;1"}, "A"),
    ("FAX", "5551234", {"A": "FAX:*;1", "B": "FAX:555*;9"}, "B"),
    ("FAX", "5551234", {"A": "FAX:*;2", "B": "FAX:*;1"}, "B"),
    ("FAX", "5551234", {"A": "*;1"}, None),
    (
        "X400",
        "c=US;a=Fabrikam;p=Contoso;o=Sales;s=Doe",
        {"A": "X400:c=US;a=Fabrikam;p=Contoso;1", "B": "X400:c=US;a=Fabrikam;p=Contoso;o=Sales;50"},
        "B",
    ),
    ("X400", "c=us;a=FABRIKAM;p=contoso;s=Doe", {"A": "X400:c=US;a=Fabrikam;P=Contoso;5"}, "A"),
    ("X400", "c=US;a= ;p=X;s=Doe", {"A": "X400:c=US;a=Fabrikam;1", "B": "X400:c=US;a= ;1"}, "B"),
]


@pytest.mark.rule("AS-10", "AS-11", "AS-12", "AS-14", "AS-15", "AS-18", "AS-19", "AS-20", "AS-22", "AS-30", "AS-32")
@pytest.mark.rule("AS-33", "AS-34", "AS-35", "RT-13", "RT-14")
@pytest.mark.parametrize(("kind", "value", "spaces", "winner"), SELECTION)
def test_the_most_specific_space_wins(kind, value, spaces, winner):
    chosen = select(
        TypedAddress(type=kind, value=value),
        size=1,
        table=table(*(connector(name, space) for name, space in spaces.items())),
    )

    assert (chosen.winner.name if chosen.winner else None) == winner


S1 = connector("Internet", "*;1", kind=ConnectorKind.SEND, max_message_bytes=10 * MB, smart_hosts="smart.test")
S2 = connector("Backup", "*;1", kind=ConnectorKind.SEND, smart_hosts="backup.test")
F1 = connector("Fax", "FAX:*;1")
F2 = connector("Fax2", "FAX:*;1")
D1 = connector("Mobile", "MOBILE:*;1", kind=ConnectorKind.AGENT)
BOB = DirectoryEntry(kind=DirectoryKind.MAILBOX, name="Bob", primary="bob@contoso.com")
DEPT = DirectoryEntry(
    kind=DirectoryKind.CONTACT,
    name="Fax Dept",
    primary="faxdept@contoso.com",
    external=TypedAddress(type="FAX", value="5551234"),
)
DIRECTORY = {"SMTP:bob@contoso.com": [BOB], "SMTP:faxdept@contoso.com": [DEPT]}


def off(entry):
    from dataclasses import replace

    return replace(entry, enabled=False)


def costing(entry, cost):
    from dataclasses import replace

    return replace(entry, spaces=tuple(replace(space, cost=cost) for space in entry.spaces))


EXAMPLES = [
    ("RT-X1", "bob@contoso.com", MB, [S1, S2, F1], "deliver", "Mailboxes", ""),
    ("RT-X2", "nobody@contoso.com", MB, [S1, S2, F1], "fail", "", "5.1.1"),
    ("RT-X3", "nobody@relay.contoso.com", MB, [S1, S2, F1], "deliver", "Backup", ""),
    ("RT-X4", "ann@fabrikam.com", 20 * MB, [S1, S2, F1], "deliver", "Backup", ""),
    ("RT-X5", "ann@fabrikam.com", 20 * MB, [S1, off(S2), F1], "fail", "", "5.3.4"),
    ("RT-X6", "ann@fabrikam.com", MB, [off(S1), off(S2), F1], "unreachable", "", ""),
    ("RT-X7", "IMCEAFAX-5551234@contoso.com", MB, [S1, S2, F1], "deliver", "Fax", ""),
    ("RT-X8", "IMCEAFAX-5551234@contoso.com", MB, [S1, S2, off(F1)], "fail", "", "5.1.2"),
    ("RT-X9", "IMCEAFAX-5551234@contoso.com", MB, [F2, F1], "deliver", "Fax", ""),
    ("RT-X10", "IMCEAFAX-5551234@contoso.com", MB, [F2, costing(F1, 2)], "deliver", "Fax2", ""),
    ("RT-X11", "IMCEAFAX-5551234@fabrikam.com", MB, [S1, S2, F1], "deliver", "Backup", ""),
    ("RT-X12", "IMCEAMOBILE-+2B14255550199@contoso.com", MB, [S1, D1], "deliver", "Mobile", ""),
    (
        "RT-X15",
        "IMCEAFAX-5551234@contoso.com",
        2 * MB,
        [connector("Fax", "FAX:*;1", max_message_bytes=MB)],
        "fail",
        "",
        "5.3.4",
    ),
    ("RT-X16", "faxdept@contoso.com", MB, [S1, F1], "deliver", "Fax", ""),
]


@pytest.mark.parametrize(
    ("address", "size", "connectors", "verdict", "hop", "status"),
    [pytest.param(*row[1:], id=row[0], marks=pytest.mark.rule(row[0])) for row in EXAMPLES],
)
def test_worked_examples(address, size, connectors, verdict, hop, status):
    result = resolve(address, size=size, table=table(*connectors), directory=DIRECTORY)

    assert result.verdict == verdict
    assert result.status == status
    if verdict == Verdict.DELIVER:
        assert (result.next_hop.connector_name or result.next_hop.domain) == hop


@pytest.mark.rule("RT-X16", "RT-3")
def test_a_contact_is_replaced_and_remembered():
    result = resolve("faxdept@contoso.com", size=1, table=table(F1), directory=DIRECTORY)

    assert str(result.final) == "FAX:5551234"
    assert result.resolved_from == "faxdept@contoso.com"
    assert result.envelope_address == "IMCEAFAX-5551234@contoso.com"


@pytest.mark.rule("RT-10", "RT-24")
def test_oversize_mail_falls_to_the_less_specific_connector():
    small = connector("Small", "fabrikam.com;1", max_message_bytes=MB)

    chosen = resolve("ann@fabrikam.com", size=2 * MB, table=table(small, S2), directory={}, explain=True)

    assert chosen.next_hop.connector_name == "Backup"
    assert {c.connector: c.lost for c in chosen.candidates} == {"Small": LostBecause.SIZE, "Backup": None}
    assert oversize_fallbacks(table(small, S2)) == (("Small", "SMTP:fabrikam.com;1", "Backup"),)


@pytest.mark.rule("RT-16")
def test_names_are_compared_as_text_not_as_numbers():
    chosen = select(
        TypedAddress(type="FAX", value="1"),
        size=1,
        table=table(connector("Fax2", "FAX:*"), connector("Fax10", "FAX:*")),
    )

    assert chosen.winner.name == "Fax10"


@pytest.mark.rule("RT-29")
def test_contacts_that_point_at_each_other_end_as_a_loop():
    def contact(name, other):
        external = TypedAddress(type="SMTP", value=other)
        return [DirectoryEntry(kind=DirectoryKind.CONTACT, name=name, primary=name, external=external)]

    directory = {
        "SMTP:a@contoso.com": contact("a@contoso.com", "b@contoso.com"),
        "SMTP:b@contoso.com": contact("b@contoso.com", "a@contoso.com"),
    }

    assert resolve("a@contoso.com", size=1, table=table(F1), directory=directory).status == "5.4.6"


@pytest.mark.parametrize(
    ("entry", "code", "rule"),
    [
        pytest.param("FAX:*;0", "ADDRESS_SPACE_COST_RANGE", "AS-4", marks=pytest.mark.rule("AS-4")),
        pytest.param("FAX:*;101", "ADDRESS_SPACE_COST_RANGE", "AS-4", marks=pytest.mark.rule("AS-4")),
        pytest.param("FAX:*;1.5", "ADDRESS_SPACE_COST_RANGE", "AS-4", marks=pytest.mark.rule("AS-4")),
        pytest.param(
            "X400:c=US;a=Fabrikam;p=Contoso", "ADDRESS_SPACE_COST_REQUIRED", "AS-5", marks=pytest.mark.rule("AS-5")
        ),
        pytest.param("c=US;a=x;p=y;1", "ADDRESS_SPACE_INVALID", "AS-3", marks=pytest.mark.rule("AS-3")),
        pytest.param("*contoso.com", "ADDRESS_SPACE_INVALID", "AS-3", marks=pytest.mark.rule("AS-3")),
        pytest.param("a.*.com", "ADDRESS_SPACE_INVALID", "AS-3", marks=pytest.mark.rule("AS-3")),
        pytest.param("TOOLONGTYPE:x", "ADDRESS_SPACE_INVALID", "AS-2", marks=pytest.mark.rule("AS-2")),
        pytest.param("FAX:;1", "ADDRESS_SPACE_INVALID", "AS-8", marks=pytest.mark.rule("AS-8")),
        pytest.param("X400:c=US;p=X;1", "ADDRESS_SPACE_INVALID", "AS-16", marks=pytest.mark.rule("AS-16")),
    ],
)
def test_an_invalid_entry_names_its_rule(entry, code, rule):
    with pytest.raises(AddressSpaceError) as caught:
        parse_entry(entry)
    assert (caught.value.code, caught.value.rule) == (code, rule)


@pytest.mark.rule("AS-1")
def test_four_ways_to_write_one_entry():
    entries = {parse_entry(text) for text in ("SMTP:contoso.com;1", "contoso.com;1", "SMTP:contoso.com", "contoso.com")}

    assert {entry.canonical for entry in entries} == {"SMTP:contoso.com;1"}
