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


@pytest.mark.rule("RT-23", "RT-20", "RT-21")
@pytest.mark.parametrize(
    ("address", "verdict", "status"), [("a@b.test", "unreachable", ""), ("IMCEAFAX-1@contoso.com", "fail", "5.1.2")]
)
def test_a_large_message_nobody_serves_is_not_too_large(address, verdict, status):
    small = connector("Small", "SMS:*;1", max_message_bytes=1)

    result = resolve(address, size=10 * MB, table=table(small), directory={})

    assert (result.verdict, result.status) == (verdict, status)


@pytest.mark.rule("RT-5")
def test_no_address_space_rescues_an_unknown_address_of_an_authoritative_domain():
    exact = connector("Exact", "contoso.com;1")

    assert resolve("nobody@contoso.com", size=1, table=table(exact), directory={}).status == "5.1.1"


@pytest.mark.rule("RT-6")
@pytest.mark.parametrize(
    ("kind", "hop"), [(DomainKind.INTERNAL_RELAY, "Mailboxes"), (DomainKind.EXTERNAL_RELAY, "relay.test")]
)
def test_a_relay_domain_asks_the_directory_or_never_does(kind, hop):
    domains = (AcceptedDomain(domain="relay.test", kind=kind),)
    exact = connector("Relay", "relay.test;1")
    relay = RoutingTable(generation=1, accepted_domains=domains, imcea_domains=frozenset(), connectors=(exact,))
    ann = DirectoryEntry(kind=DirectoryKind.MAILBOX, name="Ann", primary="ann@relay.test")

    result = resolve("ann@relay.test", size=1, table=relay, directory={"SMTP:ann@relay.test": [ann]})

    assert result.next_hop.domain == hop


@pytest.mark.rule("RT-8", "RT-60")
def test_an_address_two_recipients_have_is_ambiguous():
    other = DirectoryEntry(kind=DirectoryKind.MAILBOX, name="Rob", primary="rob@contoso.com")

    result = resolve("bob@contoso.com", size=1, table=table(), directory={"SMTP:bob@contoso.com": [BOB, other]})

    assert result.status == "5.1.4"


EX = "IMCEAEX-_o=Contoso_cn=bob@contoso.com"


@pytest.mark.rule("RT-2", "RT-8")
def test_an_exchange_name_is_looked_up_before_its_x500_proxy():
    other = DirectoryEntry(kind=DirectoryKind.MAILBOX, name="Rob", primary="rob@contoso.com")
    by_name, by_proxy = {"EX:/o=contoso/cn=bob": [BOB]}, {"X500:/o=contoso/cn=bob": [other]}

    def primary(directory):
        return resolve(EX, size=1, table=table(), directory=directory).envelope_address

    assert primary(by_name | by_proxy) == "bob@contoso.com"
    assert primary(by_proxy) == "rob@contoso.com"
    assert resolve(EX, size=1, table=table(connector("Any", "EX:*")), directory={}).status == "5.1.1"


@pytest.mark.rule("RT-11", "RT-12", "AS-40", "FC-W1")
@pytest.mark.parametrize(
    ("field", "lost"),
    [("in_scope", LostBecause.SCOPE), ("has_source", LostBecause.NO_SOURCE), ("enabled", LostBecause.DISABLED)],
)
def test_a_connector_that_cannot_be_used_here_is_as_if_it_were_not(field, lost):
    result = resolve(
        "IMCEAFAX-1@contoso.com",
        size=1,
        table=table(connector("Fax", "FAX:*", **{field: False})),
        directory={},
        explain=True,
    )

    assert (result.status, [c.lost for c in result.candidates]) == ("5.1.2", [lost])


@pytest.mark.rule("RT-15", "RT-16", "AM-14")
def test_neither_hops_nor_kind_decide_between_equal_connectors():
    equal = [
        connector("C", "FAX:*", kind=ConnectorKind.FOREIGN),
        connector("b", "FAX:*", kind=ConnectorKind.SEND, smart_hosts="x"),
        connector("A", "FAX:*", kind=ConnectorKind.AGENT),
    ]

    found = [
        select(TypedAddress(type="FAX", value="1"), size=1, table=table(*equal[:count])).winner.name
        for count in (1, 2, 3)
    ]

    assert found == ["C", "b", "A"]


@pytest.mark.rule("RT-10", "FC-8")
@pytest.mark.parametrize(
    ("limit", "size", "status"), [(100, 100, ""), (100, 101, "5.3.4"), (0, 0, "5.3.4"), (None, 10**12, "")]
)
def test_the_size_limit_is_exact_and_zero_lets_nothing_through(limit, size, status):
    limited = connector("Fax", "FAX:*", max_message_bytes=limit)

    assert resolve("IMCEAFAX-1@contoso.com", size=size, table=table(limited), directory={}).status == status


@pytest.mark.rule("AS-35")
def test_a_connector_competes_with_its_most_specific_entry():
    several = connector("Several", "FAX:*;1", "FAX:555*;50")
    one = connector("One", "FAX:555*;40")

    assert select(TypedAddress(type="FAX", value="5551234"), size=1, table=table(several, one)).winner.name == "One"
