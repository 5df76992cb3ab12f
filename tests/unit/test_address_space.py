"""Address spaces: what is accepted, what matches and how closely, beyond the table of AS 3.3 (AS-2 to AS-35)."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail import wildcard
from connectors.mail.address import TypedAddress
from connectors.mail.address_space import AddressSpaceError, parse_entry, parse_entry_scoped


def match(entry, kind, value):
    return parse_entry(entry).matches(TypedAddress(type=kind, value=value))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("*", marks=pytest.mark.rule("AS-12")),
        pytest.param("*.com", marks=pytest.mark.rule("AS-11")),
        pytest.param("*.contoso.com", marks=pytest.mark.rule("AS-11")),
        pytest.param("SMTP:contoso.com.;100", marks=pytest.mark.rule("AS-13")),
        pytest.param("bücher.example", marks=pytest.mark.rule("AS-13")),
        pytest.param("fax:9", marks=pytest.mark.rule("AS-2")),
        pytest.param("X400:o=MySite;p=MyOrg;a=adatum;c=us;7", marks=pytest.mark.rule("AS-14", "AS-16")),
        pytest.param("X400:/C=840/ADMD= /PRMD=X/;1", marks=pytest.mark.rule("AS-14", "AS-17", "AS-18")),
        pytest.param("NOTES:Jane Doe/Sales@NET", marks=pytest.mark.rule("AS-20")),
    ],
)
def test_an_entry_is_accepted_and_read_back(entry):
    space = parse_entry(entry)

    assert parse_entry(space.canonical) == space


@pytest.mark.parametrize(
    ("entry", "code", "rule"),
    [
        ("contoso..com", "ADDRESS_SPACE_INVALID", "AS-3"),
        ("@x", "ADDRESS_SPACE_INVALID", "AS-3"),
        ("con toso.com", "ADDRESS_SPACE_INVALID", "AS-3"),
        ("--", "ADDRESS_SPACE_INVALID", "AS-3"),
        ("a" * 64 + ".com", "ADDRESS_SPACE_INVALID", "AS-3"),
        (".".join(["a" * 60] * 5), "ADDRESS_SPACE_INVALID", "AS-3"),
        ("[192.0.2.1]", "ADDRESS_SPACE_INVALID", "AS-3"),
        ("SMTP:", "ADDRESS_SPACE_INVALID", "AS-8"),
        ("FA-X:1", "ADDRESS_SPACE_INVALID", "AS-2"),
        ("FAX:" + "1" * 1001, "ADDRESS_SPACE_INVALID", "AS-8"),
        ("FAX:1\r\n2", "ADDRESS_SPACE_INVALID", "IM-15"),
        ("FAX:1;", "ADDRESS_SPACE_COST_REQUIRED", "AS-5"),
        ("FAX:1;-1", "ADDRESS_SPACE_COST_RANGE", "AS-4"),
        ("contoso.com;", "ADDRESS_SPACE_COST_RANGE", "AS-4"),
        ("X400:c=USA;a=x;1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=;1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=x;c=US;1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=x;s=Doe;1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=" + "x" * 17 + ";1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=x;ou1=" + "x" * 33 + ";1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a=x_y;1", "ADDRESS_SPACE_INVALID", "AS-16"),
        ("X400:c=US;a;1", "ADDRESS_SPACE_INVALID", "AS-16"),
    ],
)
@pytest.mark.rule("AS-2", "AS-3", "AS-4", "AS-5", "AS-8", "AS-16", "AS-17", "FC-E5", "FC-E6")
def test_an_entry_is_refused_by_its_rule(entry, code, rule):
    with pytest.raises(AddressSpaceError) as caught:
        parse_entry(entry)

    assert (caught.value.code, caught.value.rule) == (code, rule)


@pytest.mark.rule("AS-4", "AS-5")
def test_the_last_semicolon_ends_the_space():
    trap = parse_entry("FAX:9;5")

    assert (trap.space, trap.cost) == ("9", 5)
    assert parse_entry("X400:c=US;a=Fabrikam;p=Contoso;5").space == "c=US;a=Fabrikam;p=Contoso"


@pytest.mark.rule("AS-40")
@pytest.mark.parametrize(("entry", "scoped"), [("Local:FAX:*;2", True), ("local:contoso.com", True), ("FAX:*", False)])
def test_the_local_prefix_of_2007_means_scoped(entry, scoped):
    space, is_scoped = parse_entry_scoped(entry)

    assert is_scoped is scoped
    assert not space.space.lower().startswith("local")


@pytest.mark.parametrize(
    ("entry", "address", "matches"),
    [
        pytest.param("contoso.com", "a@CONTOSO.com.", True, marks=pytest.mark.rule("AS-13")),
        pytest.param("bücher.example", "a@xn--bcher-kva.example", True, marks=pytest.mark.rule("AS-13")),
        pytest.param("xn--bcher-kva.example", "a@BÜCHER.example", True, marks=pytest.mark.rule("AS-13")),
        pytest.param("contoso.com", "a@eu.contoso.com", False, marks=pytest.mark.rule("AS-10")),
        pytest.param("*.contoso.com", "a@contoso.com", True, marks=pytest.mark.rule("AS-11", "AM-6")),
        pytest.param("*.contoso.com", "a@a.b.contoso.com", True, marks=pytest.mark.rule("AS-11")),
        pytest.param("*.contoso.com", "a@notcontoso.com", False, marks=pytest.mark.rule("AS-11")),
        pytest.param("*", "a@[192.0.2.1]", True, marks=pytest.mark.rule("AS-12", "AS-13")),
        pytest.param("*.com", "a@[192.0.2.1]", False, marks=pytest.mark.rule("AS-13")),
    ],
)
def test_smtp_spaces(entry, address, matches):
    assert (match(entry, "SMTP", address) is not None) is matches


@pytest.mark.parametrize(
    ("entry", "value", "matches"),
    [
        pytest.param("FAX:*", "anything (at) all", True, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:+1425*", "+14255550199", True, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:*99", "+14255550199", True, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:5*1*4", "5551234", True, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:555", "5551234", False, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:jane", "JANE", True, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:5%", "5551234", False, marks=pytest.mark.rule("AS-20", "AM-11")),
        pytest.param("FAX:5?51234", "5551234", False, marks=pytest.mark.rule("AS-20")),
        pytest.param("FAX:+1*", "Jane Doe@+1 425 555 0100", False, marks=pytest.mark.rule("AS-21")),
        pytest.param("FAX:+1425*", "+1 425 555 0100", False, marks=pytest.mark.rule("AS-21")),
    ],
)
def test_spaces_of_other_types(entry, value, matches):
    assert (match(entry, "FAX", value) is not None) is matches


@pytest.mark.rule("AS-22")
def test_a_match_never_crosses_types():
    assert match("FAX:*", "MSFAX", "1") is None
    assert match("FAX:*", "SMTP", "fax@contoso.com") is None


@pytest.mark.parametrize(
    ("space", "address", "matches"),
    [
        pytest.param(
            "c=US;a=x", "/C=us/ADMD=X/PRMD=any/S=Doe/", True, marks=pytest.mark.rule("AS-14", "AS-15", "AS-19")
        ),
        pytest.param("c=US;a=Big  Corp", "c=US;a= big corp ;s=Doe", True, marks=pytest.mark.rule("AS-15")),
        pytest.param("c=US;a= ", "c=US;a= ;p=X;s=Doe", True, marks=pytest.mark.rule("AS-18")),
        pytest.param("c=US;a= ", "c=US;a=x;s=Doe", False, marks=pytest.mark.rule("AS-18")),
        pytest.param("c=US;a= ", "c=US;p=X;s=Doe", False, marks=pytest.mark.rule("AS-18")),
        pytest.param("c=US;a=x;o=Sal*", "c=US;a=x;o=Sales;s=Doe", True, marks=pytest.mark.rule("AS-19")),
        pytest.param("c=US;a=x;o=S?les", "c=US;a=x;o=Sales;s=Doe", False, marks=pytest.mark.rule("AS-19")),
        pytest.param("c=US;a=x", "no attributes", False, marks=pytest.mark.rule("AS-14")),
    ],
)
def test_x400_spaces(space, address, matches):
    assert (match(f"X400:{space};1", "X400", address) is not None) is matches


@pytest.mark.parametrize(
    ("kind", "address", "closer", "wider"),
    [
        pytest.param("FAX", "5551234", "FAX:5551234", "FAX:555*", marks=pytest.mark.rule("AS-31", "AS-34")),
        pytest.param("FAX", "5551234", "FAX:5*", "FAX:*51234", marks=pytest.mark.rule("AS-34")),
        pytest.param("FAX", "5551234", "FAX:5*34", "FAX:5*4", marks=pytest.mark.rule("AS-34")),
        pytest.param("FAX", "5551234", "FAX:*4", "FAX:*", marks=pytest.mark.rule("AS-34", "AS-31")),
        pytest.param(
            "X400", "c=US;a=x;p=y;o=z", "X400:c=US;a=x;p=y;1", "X400:c=US;a=x;p=*;1", marks=pytest.mark.rule("AS-33")
        ),
        pytest.param(
            "X400",
            "c=US;a=x;p=yes;o=z",
            "X400:c=US;a=x;p=ye*;1",
            "X400:c=US;a=x;p=y*;1",
            marks=pytest.mark.rule("AS-33"),
        ),
        pytest.param(
            "X400", "c=US;a=x;p=y;o=z", "X400:c=US;a=x;o=z;1", "X400:c=US;a=x;p=y;1", marks=pytest.mark.rule("AS-33")
        ),
    ],
)
def test_the_closer_space_is_more_specific(kind, address, closer, wider):
    assert match(closer, kind, address) > match(wider, kind, address)


@pytest.mark.rule("AS-20")
@given(st.text("a*b", max_size=8), st.text("ab", max_size=8))
def test_wildcards_mean_what_a_regular_expression_says(pattern, value):
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value) is not None

    assert wildcard.matches(pattern, value) is expected


@pytest.mark.rule("AS-20")
def test_many_wildcards_stay_quick():
    started = time.perf_counter()
    assert match("FAX:" + "*1" * 12, "FAX", "1" * 300 + "x") is None

    assert time.perf_counter() - started < 1
