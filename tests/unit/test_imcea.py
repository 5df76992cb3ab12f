"""IMCEA: every vector of the specification, encode and decode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail.address import TypedAddress, has_controls
from connectors.mail.imcea import ImceaError, decapsulate, decode_local, encode

ENCODED = [
    ("IM-V1", "FAX", "5551234", "IMCEAFAX-5551234"),
    ("IM-V2", "FAX", "1-206-9367329", "IMCEAFAX-1-206-9367329"),
    ("IM-V3", "FAX", "+1 (425) 555-0100", "IMCEAFAX-+2B1+20+28425+29+20555-0100"),
    ("IM-V4", "FAX", "Jane Doe@+1 (425) 555-0100", "IMCEAFAX-Jane+20Doe+40+2B1+20+28425+29+20555-0100"),
    (
        "IM-V5",
        "FAX",
        "936-7329 | tedst@+1 (206) 936-7329",
        "IMCEAFAX-936-7329+20+7C+20tedst+40+2B1+20+28206+29+20936-7329",
    ),
    ("IM-V6", "FAX", "+1 (206) 9367329|#546", "IMCEAFAX-+2B1+20+28206+29+209367329+7C+23546"),
    ("IM-V7", "FAX", "9,,,5551234", "IMCEAFAX-9+2C+2C+2C5551234"),
    ("IM-V8", "FAX", "a.b", "IMCEAFAX-a+2Eb"),
    ("IM-V8", "FAX", "a_b", "IMCEAFAX-a+5Fb"),
    ("IM-V8", "FAX", "a+b", "IMCEAFAX-a+2Bb"),
    ("IM-V8", "FAX", "100%", "IMCEAFAX-100+25"),
    ("IM-V8", "FAX", '"q"<>', "IMCEAFAX-+22q+22+3C+3E"),
    ("IM-V9", "FAX", "é", "IMCEAFAX-+C3+A9"),
    ("IM-V9", "FAX", "😀", "IMCEAFAX-+F0+9F+98+80"),
    ("IM-V10", "FAX", "فاكس", "IMCEAFAX-+D9+81+D8+A7+D9+83+D8+B3"),
    ("IM-V11", "MOBILE", "+14255550199", "IMCEAMOBILE-+2B14255550199"),
    ("IM-V12", "SMS", "0171020225", "IMCEASMS-0171020225"),
    ("IM-V13", "NOTES", "Jane Doe/Sales/Contoso@NET", "IMCEANOTES-Jane+20Doe_Sales_Contoso+40NET"),
    ("IM-V14", "SAP", "U:PRD/100/SMITH", "IMCEASAP-U+3APRD_100_SMITH"),
    ("IM-V15", "PRINT", "\\\\srv\\lp1", "IMCEAPRINT-+5C+5Csrv+5Clp1"),
    (
        "IM-V16",
        "EX",
        "/o=Contoso/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=user1",
        "IMCEAEX-_o=Contoso_ou=Exchange+20Administrative+20Group+20+28FYDIBOHF23SPDLT+29_cn=Recipients_cn=user1",
    ),
    ("IM-V17", "X400", "c=US;a= ;p=MS;o=PARIS;s=user;", "IMCEAX400-c=US+3Ba=+20+3Bp=MS+3Bo=PARIS+3Bs=user+3B"),
    (
        "IM-V18",
        "X400",
        "c=us;a=Fabrikam;p=Contoso;dda:FAX=+12065551234;",
        "IMCEAX400-c=us+3Ba=Fabrikam+3Bp=Contoso+3Bdda+3AFAX=+2B12065551234+3B",
    ),
    ("IM-V19", "X400", "/C=US/ADMD=Fabrikam/PRMD=Contoso/S=Doe/", "IMCEAX400-_C=US_ADMD=Fabrikam_PRMD=Contoso_S=Doe_"),
]
DECODED = [
    ("IM-D1", "imceafax-5551234", "FAX", "5551234"),
    ("IM-D2", "IMCEAFAX-+2b1+20425", "FAX", "+1 425"),
    ("IM-D3", "IMCEAFAX-+E9", "FAX", "é"),
    ("IM-D4", "IMCEAFAX-A_B", "FAX", "A/B"),
    ("IM-D4", "IMCEAFAX-A+2FB", "FAX", "A/B"),
    ("IM-D5", "IMCEAFAX-+41+42", "FAX", "AB"),
    ("IM-D6", "IMCEAFAX-a.b", "FAX", "a.b"),
    ("IM-D7", "IMCEAFAX-Testuser-2505551234", "FAX", "Testuser-2505551234"),
    ("IM-D8", "IMCEAFAX-Somebody+20at+20The+20Office+402505555555", "FAX", "Somebody at The Office@2505555555"),
    ("IM-D9", "IMCEAFAX-100+", "FAX", "100+"),
    ("IM-D9", "IMCEAFAX-100+4", "FAX", "100+4"),
    ("IM-D9", "IMCEAFAX-100+ZZ", "FAX", "100+ZZ"),
    ("IM-D10", "IMCEAFAX-+2B+2B", "FAX", "++"),
    (
        "IM-D11",
        "IMCEAX400-c=US+3Ba=+20+3Bp=Ticketmaster+3Bo=Pasadena+3Bdda+3ASMTP=KAZAM+40CITYSEARCH+2ECOM+3B",
        "X400",
        "c=US;a= ;p=Ticketmaster;o=Pasadena;dda:SMTP=KAZAM@CITYSEARCH.COM;",
    ),
    (
        "IM-D12",
        "IMCEAEX-_O=ORGNAME_OU=EXCHANGE+20ADMINISTRATIVE+20GROUP+20+28FYDIBOHF23SPDLT+29_CN=RECIPIENTS_CN=abc",
        "EX",
        "/O=ORGNAME/OU=EXCHANGE ADMINISTRATIVE GROUP (FYDIBOHF23SPDLT)/CN=RECIPIENTS/CN=abc",
    ),
]


def ruled(rows):
    return [pytest.param(*row[1:], id=f"{row[0]} {row[1][:20]}", marks=pytest.mark.rule(row[0])) for row in rows]


@pytest.mark.rule("IM-1", "IM-2", "IM-3")
@pytest.mark.parametrize(("kind", "value", "local"), ruled(ENCODED))
def test_an_address_is_encapsulated_and_read_back(kind, value, local):
    assert encode(TypedAddress(type=kind, value=value)) == local
    assert decode_local(local) == TypedAddress(type=kind, value=value)


@pytest.mark.rule("IM-4", "IM-5", "IM-6")
@pytest.mark.parametrize(("local", "kind", "value"), ruled(DECODED))
def test_an_encapsulated_address_is_decoded(local, kind, value):
    assert decode_local(local) == TypedAddress(type=kind, value=value)


OURS = frozenset({"contoso.com"})


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("IMCEAFAX5551234@contoso.com", marks=pytest.mark.rule("IM-N1")),
        pytest.param("IMCEA-5551234@contoso.com", marks=pytest.mark.rule("IM-N2", "IM-16")),
        pytest.param("xIMCEAFAX-5@contoso.com", marks=pytest.mark.rule("IM-N2")),
        pytest.param("IMCEAFAX-5551234@fabrikam.com", marks=pytest.mark.rule("IM-N7", "IM-8", "IM-9")),
        pytest.param("IMCEALOTUSNOTES-x@contoso.com", marks=pytest.mark.rule("IM-N9")),
    ],
)
def test_what_carries_nothing_stays_plain_smtp(address):
    assert decapsulate(address, OURS) == TypedAddress(type="SMTP", value=address)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("IMCEAFAX-@contoso.com", marks=pytest.mark.rule("IM-N3")),
        pytest.param("IMCEASMTP-a+40b+2Ecom@contoso.com", marks=pytest.mark.rule("IM-N4", "IM-12")),
        pytest.param("IMCEAX500-_o=x@contoso.com", marks=pytest.mark.rule("IM-N4", "IM-12")),
        pytest.param("IMCEAFAX-1+0D+0AX-Evil+3A1@contoso.com", marks=pytest.mark.rule("IM-N5", "IM-15")),
        pytest.param("IMCEAFAX-+00@contoso.com", marks=pytest.mark.rule("IM-N5", "IM-15")),
        pytest.param("IMCEAFAX-" + "1" * 307 + "@contoso.com", marks=pytest.mark.rule("IM-N6", "IM-11")),
    ],
)
def test_what_must_not_be_carried_is_refused(address):
    with pytest.raises(ImceaError) as caught:
        decapsulate(address, OURS)
    assert caught.value.status == "5.1.3"


@pytest.mark.rule("IM-11", "IM-N6")
def test_the_longest_local_part_is_accepted():
    assert decapsulate("IMCEAFAX-" + "1" * 306 + "@contoso.com", OURS).type == "FAX"


@pytest.mark.rule("IM-20", "IM-7")
@given(st.text(min_size=1, max_size=30).filter(lambda text: not has_controls(text)))
def test_any_address_survives_the_round_trip(value):
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return
    address = TypedAddress(type="FAX", value=value)
    try:
        local = encode(address)
    except ImceaError:
        return
    assert decapsulate(f"{local}@contoso.com", OURS) == address
