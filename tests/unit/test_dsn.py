"""Notices as bytes: the layout of the real Exchange notice, and what three independent readers make of them."""

from __future__ import annotations

import email
import json
import re
import shutil
import subprocess
from email import policy
from pathlib import Path

import pytest
from flufl.bounce import all_failures

from connectors import notices
from connectors.notices import Fate
from tests.sample_notices import FAX, HEADER, NOW, SMTP, failed, manner, original, written

# Every reply a recipient of ours can fail with, and the reason Sisimai must find in it.
REPLIES = {
    "550 4.4.7 QUEUE.Expired; message expired": {"expired"},
    "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found": {"userunknown"},
    "550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found": {"userunknown"},
    "550 5.1.2 ROUTING.NoConnectorForAddressType; no connector for FAX": {"hostunknown"},
    "550 5.1.3 Invalid address": {"userunknown"},
    "550 5.1.3 The recipient address is not valid": {"userunknown"},
    "550 5.1.4 RESOLVER.ADR.Ambiguous; ambiguous address": {"systemerror", "filtered", "userunknown"},
    "554 5.2.2 mailbox full; STOREDRV.Deliver": {"mailboxfull"},
    "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient": {"exceedlimit", "mesgtoobig"},
    "550 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender": {"exceedlimit", "mesgtoobig"},
    "554 5.2.2 mailbox full; STOREDRV.Deliver; the mailbox is over its quota": {"mailboxfull"},
    "554 5.3.0 Message content is lost": {"systemerror"},
    "550 5.2.4 RESOLVER.GRP.Empty; the group has no members": {"filtered"},
    "550 5.3.4 ROUTING.SizeLimit; message is too large for the connector": {"mesgtoobig"},
    "550 5.3.4 PICKUP.HeaderSize; message header is too large": {"mesgtoobig"},
    "550 5.3.4 RESOLVER.SizeLimit; message is too large": {"mesgtoobig"},
    "550 5.3.4 ROUTING.SizeLimit; message size exceeds the limit of the route": {"mesgtoobig"},
    "554 5.4.6 Hop count exceeded - possible mail loop": {"networkerror"},
    "550 5.4.6 RESOLVER.FWD.Loop; mail loop detected, too many hops": {"networkerror"},
    "550 5.5.3 PICKUP.RecipLimit; too many recipients": {"toomanyconn"},
    "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients": {"toomanyconn"},
    "550 5.7.1 QUEUE.Admin; message removed by an administrator": {"securityerror"},
}


def parsed(data):
    return email.message_from_bytes(data)


def groups(message):
    (part,) = [p for p in message.walk() if p.get_content_type() == "message/delivery-status"]
    return [[(name, value) for name, value in group.items()] for group in part.get_payload() if group.items()]


def tree(message):
    children = message.get_payload() if message.get_content_maintype() == "multipart" else []
    return (message.get_content_type(), tuple(tree(child) for child in children))


@pytest.mark.rule("DSN-30", "DSN-31", "DSN-32", "DSN-33", "DSN-36")
def test_the_notice_has_field_by_field_the_structure_of_the_real_exchange_notice(corpus):
    real = parsed((corpus / "dsn/sisimai/lf/lhost-exchange2007-07.eml").read_bytes())
    fate = Fate(
        address="bob@example.org",
        orcpt="rfc822;bob@example.org",
        reply="550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
    )
    ours = parsed(written("failed", fate, about=original(envid="")))

    assert tree(ours) == tree(real)
    names = [name.lower() for name in real]
    own = names[names.index("mime-version") :]  # what stands above was added on the way
    assert [name.lower() for name in ours if name != "References"] == own
    for field in ("MIME-Version", "X-MS-Exchange-Message-Is-Ndr", "Auto-Submitted"):
        assert ours[field] == real[field]
    assert re.fullmatch(r"[a-z]{2}-[A-Z]{2}", ours["Content-Language"])
    assert ours["In-Reply-To"] == "<a1@fcweb.test>"
    assert [name for name, _ in ours.get_params()] == [name for name, _ in real.get_params()]
    assert ours.get_param("report-type") == real.get_param("report-type") == "delivery-status"
    alternative, their_alternative = ours.get_payload()[0], real.get_payload()[0]
    assert alternative.get_param("differences") == their_alternative.get_param("differences") == "Content-Type"
    for part, theirs in zip(alternative.get_payload(), their_alternative.get_payload(), strict=True):
        assert part.keys() == theirs.keys()
        assert part["Content-Transfer-Encoding"] == theirs["Content-Transfer-Encoding"] == "quoted-printable"
    assert [[name for name, _ in group] for group in groups(ours)] == [
        [name for name, _ in group] for group in groups(real)
    ]
    assert dict(groups(ours)[1])["Diagnostic-Code"] == dict(groups(real)[1])["Diagnostic-Code"]
    for mine, theirs in zip(groups(ours), groups(real), strict=True):
        for (_name, value), (_, real_value) in zip(mine, theirs, strict=True):
            assert value.partition(";")[0] == real_value.partition(";")[0] or ";" not in real_value


@pytest.mark.rule("DSN-31", "DSN-32", "DSN-35")
def test_an_expired_fax_names_envelope_id_and_last_attempt():
    fate = failed(FAX, "550 4.4.7 QUEUE.Expired; message expired", last_attempt_at=NOW, last_error="451 4.3.5 gone")

    about, recipient = groups(parsed(written("failed", fate)))

    assert about == [
        ("Original-Envelope-Id", "12345ABCD"),
        ("Reporting-MTA", "dns;mx1.fcweb.test"),
        ("Received-From-MTA", "dns;neko.example.com"),
        ("Arrival-Date", "Wed, 25 Nov 2026 08:00:00 +0000"),
    ]
    assert recipient == [
        ("Original-Recipient", "rfc822;IMCEAFAX-5551234@fcweb.test"),
        ("Final-Recipient", "rfc822;IMCEAFAX-5551234@fcweb.test"),
        ("Action", "failed"),
        ("Status", "4.4.7"),
        ("Diagnostic-Code", "smtp;550 4.4.7 QUEUE.Expired; message expired"),
        ("Last-Attempt-Date", "Wed, 25 Nov 2026 12:00:00 +0000"),
        ("X-Supplementary-Info", "<451 4.3.5 gone>"),
        ("X-Display-Name", "FAX:5551234"),
    ]


@pytest.mark.rule("DSN-2", "DSN-32", "DSN-40")
def test_a_delay_says_how_long_it_will_be_tried():
    message = parsed(written("delayed", FAX))

    assert message["Subject"] == "Delayed: Devis 123"
    assert message["X-MS-Exchange-Message-Is-Ndr"] is None
    facts = dict(groups(message)[1])
    assert (facts["Action"], facts["Status"]) == ("delayed", "4.4.7")
    assert facts["Diagnostic-Code"] == "smtp;400 4.4.7 Message delayed"
    assert facts["Will-Retry-Until"] == "Fri, 27 Nov 2026 08:00:00 +0000"


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
@pytest.mark.rule("DSN-3", "DSN-4", "DSN-5", "DSN-36")
def test_good_news_has_class_2_and_no_diagnostics(action):
    message = parsed(written(action, SMTP))

    assert groups(message)[1] == [
        ("Final-Recipient", "rfc822;bob@example.org"),
        ("Action", action),
        ("Status", "2.0.0"),
    ]
    assert b"Diagnostic" not in message.as_bytes()


@pytest.mark.rule("DSN-32", "DSN-23")
def test_an_orcpt_of_the_senders_own_goes_back_as_it_was_given():
    fate = Fate(address="bob@example.org", orcpt="rfc822;robert+2Bx@example.org", reply="550 5.1.1 no")

    assert dict(groups(parsed(written("failed", fate)))[1])["Original-Recipient"] == "rfc822;robert+x@example.org"


@pytest.mark.rule("DSN-34")
def test_an_error_of_a_drop_directory_is_not_called_smtp():
    fate = failed(FAX, "550 5.3.4 ROUTING.SizeLimit; too large", from_drop=True)

    assert dict(groups(parsed(written("failed", fate)))[1])["Diagnostic-Code"].startswith("x-fcweb;550 5.3.4")


@pytest.mark.rule("DSN-54")
def test_the_charset_is_ascii_when_that_is_enough_and_utf_8_otherwise():
    plain = parsed(written("failed", failed(SMTP, "550 5.1.1 no")))
    french = parsed(written("failed", failed(SMTP, "550 5.1.1 no"), language="fr"))

    for message, charset in ((plain, "us-ascii"), (french, "utf-8")):
        assert {part.get_content_charset() for part in message.get_payload()[0].get_payload()} == {charset}
    decoded = email.message_from_bytes(french.as_bytes(), policy=policy.default)
    assert decoded["Subject"] == "Non remis : Devis 123"
    body = decoded.get_body(("plain",)).get_content()
    for marker in (
        "Informations de diagnostic pour les administrateurs :",
        "Serveur de génération : mx1.fcweb.test",
        "En-têtes de message d'origine :",
    ):
        assert marker in body


@pytest.mark.rule("DSN-32", "DSN-54")
def test_no_text_of_a_stranger_breaks_or_adds_a_field():
    evil = Fate(
        address="bob@exämple.org\r\nX-Evil: 1",
        orcpt="rfc822;a+0D+0AAction: delivered",
        reply="550 5.1.1 nö\r\nStatus: 2.0.0\r\n\r\nAction: delivered",
    )
    about = original(
        subject="a\r\nBcc: x@y.test\r\n\r\nbody",
        envid="e\r\nX-Evil: 2",
        message_id="<a\r\nX-Evil: 3@b>",
        header=b"From: a\r\nSubject: <script>alert(1)</script>\r\n\r\n",
    )

    data = written("failed", evil, about=about)
    message = parsed(data)

    assert "Bcc" not in message and "X-Evil" not in message
    names = [name for group in groups(message) for name, _ in group]
    assert names.count("Action") == names.count("Status") == 1
    assert "X-Evil" not in names
    status = data.split(b"Content-Type: message/delivery-status")[1].split(b"\r\n--")[0]
    assert status.isascii()
    html = next(p for p in message.walk() if p.get_content_type() == "text/html").get_payload(decode=True)
    assert b"<script>" not in html


@pytest.mark.rule("DSN-54")
def test_an_original_with_8_bit_bytes_is_declared_8_bit():
    data = written("failed", failed(SMTP, "550 5.1.1 no"), about=original(content=HEADER + "é".encode()))

    message = parsed(data)
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert message.get_payload()[2]["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.rule("DSN-13")
def test_without_diagnostics_a_notice_names_no_server_of_ours():
    how = manner("external", external_diagnostics_enabled=False, external_reporting_authority="example.org")
    fate = failed(SMTP, "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", last_error="inner.fcweb.test")

    data = written("failed", fate, how=how)

    text = re.sub(rb"Message-ID: <[^>]*>", b"", data)
    assert b"mx1.fcweb.test" not in text
    assert b"neko.example.com" not in text
    assert b"RESOLVER" not in text
    assert b"X-MS-Exchange-Organization" not in text
    assert b"Subject: Devis 123" in text and b"Bonjour" in text


@pytest.mark.rule("DSN-30")
def test_prefixes_do_not_pile_up():
    assert notices.subject_of("failed", "Undeliverable: x", "en") == "Undeliverable: x"


@pytest.mark.rule("DSN-32")
def test_an_address_in_another_script_keeps_the_status_part_ascii():
    fate = Fate(address="用户@example.org", reply="550 5.1.1 no")

    assert dict(groups(parsed(written("failed", fate)))[1])["Final-Recipient"] == "utf-8;\\x{7528}\\x{6237}@example.org"


# Readers


def every_notice():
    """Yield (name, bytes, address, action, reply): actions, languages, kinds of recipient, RET and HTML."""
    for action in notices.ACTIONS:
        for reply in REPLIES if action == "failed" else [""]:
            for language in ("en", "fr"):
                for kind, fate in (("smtp", SMTP), ("fax", FAX)):
                    for ret in ("full", "hdrs"):
                        for html in (True, False):
                            full = original() if ret == "full" else original(content=None)
                            tried = {"last_attempt_at": NOW, "last_error": "451 4.3.5 Drop directory does not exist"}
                            data = written(
                                action,
                                failed(fate, reply, **tried),
                                about=full,
                                how=manner(internal_send_html=html),
                                language=language,
                            )
                            name = "-".join((action, language, kind, ret, str(html), reply or "ok"))
                            yield re.sub(r"[^A-Za-z0-9.]+", "-", name), data, fate.address, action, reply


@pytest.fixture(scope="module")
def all_notices():
    return list(every_notice())


@pytest.fixture(scope="module")
def perl_readers(all_notices, tmp_path_factory):
    """What Sisimai and BounceParser read, by name."""
    script = Path(__file__).resolve().parents[1] / "servers" / "read_bounces.pl"
    perl = shutil.which("perl")
    modules = ["-MSisimai", "-MMail::DeliveryStatus::BounceParser", "-MJSON"]
    if perl is None or subprocess.run([perl, *modules, "-e", "1"], capture_output=True).returncode:
        pytest.skip("no libsisimai-perl, libmail-deliverystatus-bounceparser-perl and libjson-perl")
    folder = tmp_path_factory.mktemp("notices")
    for name, data, *_rest in all_notices:
        (folder / f"{name}.eml").write_bytes(data)
    result = subprocess.run([perl, str(script), str(folder)], capture_output=True, check=True)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == len(all_notices)
    return {Path(row["name"]).stem: row for row in rows}


@pytest.mark.rule("DSN-33", "DSN-36")
def test_flufl_bounce_reads_every_notice(all_notices):
    assert len(all_notices) == (len(REPLIES) + 4) * 16
    for name, data, address, action, _reply in all_notices:
        temporary, permanent = all_failures(parsed(data))
        expected = {address.encode()}
        assert (temporary, permanent) == (
            expected if action == "delayed" else set(),
            expected if action == "failed" else set(),
        ), name


@pytest.mark.rule("DSN-33", "DSN-36")
def test_sisimai_reads_every_notice(all_notices, perl_readers):
    for name, _data, address, action, reply in all_notices:
        found = perl_readers[name]["sisimai"]
        if action not in {"failed", "delayed"}:
            assert found == [], name
            continue
        (one,) = found
        status = "4.4.7" if action == "delayed" else notices.status_of(reply)
        assert (one["recipient"], one["action"], one["status"]) == (address, action, status), name
        assert one["reason"] in (REPLIES[reply] if reply else {"expired"}), name


@pytest.mark.rule("DSN-33", "DSN-36")
def test_bounceparser_reads_every_notice(all_notices, perl_readers):
    for name, _data, address, action, reply in all_notices:
        row = perl_readers[name]
        assert row["is_bounce"] == (action == "failed"), name
        if action == "failed":
            (one,) = row["parser"]
            facts = (one["email"], one["action"], one["status"], one["reason"])
            assert facts == (address, "failed", notices.status_of(reply), reply), name
