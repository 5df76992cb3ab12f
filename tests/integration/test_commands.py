"""Commands at the prompt: what they do, what they print, and how they end."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connectors.models import Message, Node, Queue, SourceFile

pytestmark = pytest.mark.django_db(transaction=True)
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"


def run(*words):
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()


def drop_files(site):
    return list(Path(site.drop).glob("*.eml"))


def test_stages_run_one_at_a_time_hand_over_in_tables(site, pickup):
    pickup("offer.eml", FAX)

    call_command("pickup", once=True, stdout=StringIO())
    assert (Message.objects.get().state, Queue.objects.exclude(next_hop_domain="Submission").count()) == (
        "submitted",
        0,
    )
    call_command("categorize", once=True, stdout=StringIO())
    assert (Message.objects.get().state, Queue.objects.exclude(next_hop_domain="Submission").get().next_hop_domain) == (
        "routed",
        "FAX",
    )
    assert drop_files(site) == []
    call_command("deliver", once=True, stdout=StringIO())
    assert (Message.objects.get().state, len(drop_files(site))) == ("done", 1)


def test_replay_and_report_have_commands_of_their_own(site, replay):
    replay("in.eml", b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <nobody@fcweb.test>\r\nTo: x@y.test\r\n\r\nhi\r\n")

    call_command("replay", once=True, stdout=StringIO())
    call_command("categorize", once=True, stdout=StringIO())
    assert Message.objects.count() == 1
    call_command("report", once=True, stdout=StringIO())

    notice = Message.objects.get(source="DSN")
    assert (notice.mail_from, notice.original.mail_from) == ("", "alice@fcweb.test")


def test_transport_once_does_all_and_says_how_much(site, pickup):
    pickup("offer.eml", FAX)
    out = StringIO()

    call_command("transport", once=True, stdout=out)

    assert int(out.getvalue()) >= 3
    assert len(drop_files(site)) == 1


def test_setup_changes_nothing_the_second_time(data_dir):
    out = StringIO()
    call_command("setup", domain="fcweb.test", json=True, stdout=out)
    first = json.loads(out.getvalue())
    again = StringIO()
    call_command("setup", domain="other.test", json=True, stdout=again)

    assert first.pop("user") == "admin" and len(first.pop("password")) >= 12
    assert json.loads(again.getvalue()) == first
    assert Node.objects.count() == 1
    with pytest.raises(CommandError, match="not a domain"):
        call_command("setup", domain="no domain")


@pytest.mark.rule("PU-63", "RP-8")
def test_setup_opens_pickup_to_its_group_and_replay_to_nobody(site):
    modes = {
        name: Path(path).stat().st_mode & 0o7777
        for name, path in (("pickup", site.node.pickup_directory_path), ("replay", site.node.replay_directory_path))
    }

    assert modes == {"pickup": 0o2770, "replay": 0o700}


def test_badmail_lists_shows_and_gives_back(site, pickup, transport):
    path = pickup("bad.eml", b"From: alice@fcweb.test\nno colon here\n\nBody\n")
    transport()
    row = SourceFile.objects.get()
    out = StringIO()

    call_command("badmail", "list", stdout=out)
    assert out.getvalue().split("\t")[:4] == [str(row.pk), "bad.bad", "BAD_HEADER", "2"]
    shown = run("badmail", "show", str(row.pk))
    assert shown.startswith("bad.bad BAD_HEADER\n")
    assert ">     2 no colon here" in shown
    run("badmail", "resubmit", str(row.pk))
    assert path.exists()
    with pytest.raises(CommandError, match="BAD_FILE_UNKNOWN"):
        run("badmail", "show", "4711")


def test_track_finds_events_in_exchange_s_field_names(site, pickup, transport):
    pickup("offer.eml", FAX)
    transport()
    out = StringIO()

    call_command("track", sender="alice@fcweb.test", event="SEND", json=True, stdout=out)

    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["event-id"], found["source"], found["message-subject"]) == ("SEND", "GATEWAY", "Offer")
    assert found["recipient-status"] == ["250 2.1.5 Recipient OK"]
    with pytest.raises(SystemExit) as nothing:
        run("track", "--sender", "nobody@fcweb.test")
    assert nothing.value.code == 1
    with pytest.raises(CommandError):
        run("track", "--start", "yesteryear")


def test_route_explains_without_sending(site):
    out = StringIO()

    call_command("route", "FAX:5551234", json=True, stdout=out)

    facts = json.loads(out.getvalue())
    assert (facts["verdict"], facts["connector"], facts["queue"]) == ("deliver", "Fax", "NonSmtpGatewayDelivery/FAX")
    assert Message.objects.count() == 0
    assert "5.1.2" in run("route", "SMS:1")


def test_node_domain_and_recipient_show_what_setup_made(site):
    node = json.loads(run("node", "get", "--json"))
    domains = json.loads(run("domain", "list", "--json"))
    people = run("recipient", "list")

    assert site.node.pickup_directory_path in node.values()
    assert len(domains) == 1 and "fcweb.test" in domains[0].values()
    assert "alice@fcweb.test" in people
