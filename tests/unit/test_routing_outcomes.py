"""Routing: who is left out, what becomes of an address nobody serves, and what an address space may hold."""

from dataclasses import replace

import pytest

from connectors.mail.address import TypedAddress
from connectors.mail.address_space import AddressSpaceError, parse_entry, parse_entry_scoped
from connectors.transport.routing import (
    AcceptedDomain,
    DirectoryEntry,
    DirectoryKind,
    DomainKind,
    LostBecause,
    RoutingTable,
    Verdict,
    keys_of,
    lookup_keys,
    resolve,
    select,
)
from tests.unit.test_routing import BOB, DIRECTORY, MB, connector, table

FAX = "IMCEAFAX-5551234@contoso.com"
FAR = "ann@fabrikam.com"


def outcome(address, *connectors, size=1, directory=DIRECTORY):
    result = resolve(address, size=size, table=table(*connectors), directory=directory)
    return result.verdict, result.status or (result.next_hop.connector_name or result.next_hop.domain)


def lost(name, address, *connectors, size=1):
    chosen = select(address, size=size, table=table(*connectors), explain=True)
    return next((c.lost, c.rule) for c in chosen.candidates if c.connector == name)


@pytest.mark.parametrize(
    ("change", "reason", "rule"),
    [
        pytest.param({"enabled": False}, LostBecause.DISABLED, "RT-25", marks=pytest.mark.rule("RT-25")),
        pytest.param({"in_scope": False}, LostBecause.SCOPE, "RT-11", marks=pytest.mark.rule("RT-11", "AS-40")),
        pytest.param({"has_source": False}, LostBecause.NO_SOURCE, "RT-12", marks=pytest.mark.rule("RT-12")),
        pytest.param({"max_message_bytes": 5}, LostBecause.SIZE, "RT-10", marks=pytest.mark.rule("RT-10")),
        pytest.param({"max_message_bytes": 0}, LostBecause.SIZE, "RT-10", marks=pytest.mark.rule("RT-10")),
    ],
)
def test_an_unusable_connector_loses_and_a_less_specific_one_takes_over(change, reason, rule):
    best = replace(connector("Best", "FAX:5551234;1"), **change)
    other = connector("Other", "FAX:*;9")
    fax = TypedAddress(type="FAX", value="5551234")

    assert lost("Best", fax, best, other, size=6) == (reason, rule)
    assert outcome(FAX, best, other, size=6) == (Verdict.DELIVER, "Other")


@pytest.mark.parametrize(
    ("address", "size", "connectors", "expected"),
    [
        pytest.param(FAR, 1, [], (Verdict.UNREACHABLE, "Unreachable Domain"), marks=pytest.mark.rule("RT-20")),
        pytest.param(FAX, 1, [], (Verdict.FAIL, "5.1.2"), marks=pytest.mark.rule("RT-21", "RT-60")),
        pytest.param(
            FAR, 9, [connector("Small", "*;1", max_message_bytes=5)], (Verdict.FAIL, "5.3.4"),
            marks=pytest.mark.rule("RT-22", "RT-60"),
        ),
        pytest.param(
            FAX, 9, [connector("Small", "SMS:*;1", max_message_bytes=5)], (Verdict.FAIL, "5.1.2"),
            marks=pytest.mark.rule("RT-23"),
        ),
        pytest.param(
            FAR, 9, [connector("Small", "b.test;1", max_message_bytes=5)], (Verdict.UNREACHABLE, "Unreachable Domain"),
            marks=pytest.mark.rule("RT-23"),
        ),
        pytest.param(
            FAR, 1, [connector("Off", "fabrikam.com;1", enabled=False)], (Verdict.UNREACHABLE, "Unreachable Domain"),
            marks=pytest.mark.rule("RT-25", "RT-26"),
        ),
        pytest.param(
            FAX, 1, [connector("Off", "FAX:*;1", enabled=False)], (Verdict.FAIL, "5.1.2"),
            marks=pytest.mark.rule("RT-25", "RT-26"),
        ),
        pytest.param("no at sign", 1, [], (Verdict.FAIL, "5.1.3"), marks=pytest.mark.rule("RT-60")),
    ],
)  # fmt: skip
def test_mail_without_a_way_out_follows_its_address_type(address, size, connectors, expected):
    assert outcome(address, *connectors, size=size) == expected


@pytest.mark.rule("RT-5", "RT-6")
@pytest.mark.parametrize(
    ("kind", "known", "unknown"),
    [
        (DomainKind.AUTHORITATIVE, "Mailboxes", "5.1.1"),
        (DomainKind.INTERNAL_RELAY, "Mailboxes", "Out"),
        (DomainKind.EXTERNAL_RELAY, "Out", "Out"),
    ],
)
def test_a_relay_domain_goes_on_where_an_authoritative_one_ends(kind, known, unknown):
    routes = RoutingTable(
        generation=1,
        accepted_domains=(AcceptedDomain(domain="contoso.com", kind=kind, is_default=True),),
        imcea_domains=frozenset({"contoso.com"}),
        connectors=(connector("Out", "contoso.com;1"), connector("Any", "*;1")),
    )

    def end(address):
        result = resolve(address, size=1, table=routes, directory=DIRECTORY)
        return result.status or result.next_hop.connector_name or result.next_hop.domain

    assert (end("bob@contoso.com"), end("nobody@contoso.com")) == (known, unknown)


@pytest.mark.rule("RT-2")
def test_a_fax_number_of_a_mailbox_is_delivered_there():
    directory = {"FAX:5551234": [BOB]}

    assert outcome(FAX, connector("Fax", "FAX:*;1"), directory=directory) == (Verdict.DELIVER, "Mailboxes")
    assert lookup_keys(FAX, table()) == ("FAX:5551234",)
    assert keys_of(TypedAddress(type="EX", value="/o=X/cn=Bob")) == ("EX:/o=x/cn=bob", "X500:/o=x/cn=bob")


@pytest.mark.rule("RT-8", "RT-60")
def test_ex_addresses_end_here_and_twins_are_ambiguous():
    twin = DirectoryEntry(kind=DirectoryKind.MAILBOX, name="Bob 2", primary="bob2@contoso.com")
    ex = "IMCEAEX-_o=X_cn=bob@contoso.com"

    assert outcome(ex, connector("Any", "EX:*;1")) == (Verdict.FAIL, "5.1.1")
    assert outcome(ex, directory={"X500:/o=x/cn=bob": [BOB]}) == (Verdict.DELIVER, "Mailboxes")
    assert outcome("bob@contoso.com", directory={"SMTP:bob@contoso.com": [BOB, twin]}) == (Verdict.FAIL, "5.1.4")


@pytest.mark.rule("AS-13")
@pytest.mark.parametrize(
    ("space", "address", "matches"),
    [
        ("BÜCHER.example", "a@xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "a@bücher.example", True),
        ("contoso.com", "a@CONTOSO.com.", True),
        ("*", "a@[192.0.2.1]", True),
        ("*.com", "a@[192.0.2.1]", False),
    ],
)
def test_domains_compare_in_one_form(space, address, matches):
    found = parse_entry(space).matches(TypedAddress(type="SMTP", value=address))

    assert (found is not None) == matches


@pytest.mark.rule("AS-21")
def test_a_number_pattern_sees_the_address_as_it_was_typed():
    named = TypedAddress(type="FAX", value="Jane Doe@+1 425 555 0100")

    assert parse_entry("FAX:+1*").matches(named) is None
    assert parse_entry("FAX:*").matches(named) is not None
    assert parse_entry("FAX:+1*").matches(TypedAddress(type="FAX", value="+1 425 555 0100")) is not None


@pytest.mark.rule("AS-17", "FC-E5")
@pytest.mark.parametrize(
    "space",
    [
        "c=USA;a=X;p=Y",
        "c=U1;a=X",
        f"c=US;a={'x' * 17}",
        f"c=US;a=X;p={'x' * 17}",
        f"c=US;a=X;o={'x' * 65}",
        f"c=US;a=X;ou1={'x' * 33}",
        "c=US;a=X;s=Doe",
        "c=US;a=X;o=A&B",
        "c=US;a=X;a=Y",
    ],
)
def test_an_x400_space_outside_its_lengths_and_letters_is_refused(space):
    with pytest.raises(AddressSpaceError) as refused:
        parse_entry(f"X400:{space};1")

    assert (refused.value.code, refused.value.entry) == ("ADDRESS_SPACE_INVALID", f"X400:{space};1")


@pytest.mark.rule("AS-17", "AS-16")
@pytest.mark.parametrize("space", ["c=840;a=X", f"c=US;a={'x' * 16};p={'y' * 16};o={'o' * 64};ou4={'z' * 32}"])
def test_an_x400_space_at_its_limits_is_taken(space):
    assert parse_entry(f"X400:{space};1").cost == 1


@pytest.mark.rule("RT-X15", "RT-22")
def test_a_message_at_the_limit_still_fits():
    fax = connector("Fax", "FAX:*;1", max_message_bytes=MB)

    assert outcome(FAX, fax, size=MB) == (Verdict.DELIVER, "Fax")
    assert outcome(FAX, fax, size=MB + 1) == (Verdict.FAIL, "5.3.4")


@pytest.mark.rule("AS-40")
@pytest.mark.parametrize(
    ("text", "scoped"), [("Local:FAX:*;3", True), ("local:fax:*;3", True), ("FAX:*;3", False), ("LOCAL:*;3", True)]
)
def test_the_local_prefix_of_2007_means_scoped(text, scoped):
    assert parse_entry_scoped(text)[1] is scoped
