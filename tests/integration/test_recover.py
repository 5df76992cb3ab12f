"""After a lost database the spool tells what there was: waiting mail is sent, delivered mail is not sent again."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connectors.conf import transport_config
from connectors.models import Message, MessageRecipient, Queue, SourceFile
from connectors.owner import Owner
from tracking.models import TrackedMessage

pytestmark = pytest.mark.django_db(transaction=True)
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-%d@fcweb.test\r\nSubject: s\r\n\r\nBody\r\n"


def recover(*options):
    out = StringIO()
    call_command("recover", *options, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.fixture
def lost(site, pickup, transport):
    """One message delivered, one waiting for its drop directory; then every row of mail is gone."""
    away = site.drop.with_name("away")
    pickup("delivered.eml", FAX % 1)
    transport()
    site.drop.rename(away)
    pickup("waiting.eml", FAX % 2)
    transport()
    away.rename(site.drop)
    assert Message.objects.count() == 2
    for model in (SourceFile, MessageRecipient, Message, Queue, TrackedMessage):
        model.objects.all().delete()


def test_nothing_is_rebuilt_before_it_is_asked_for(lost):
    assert recover() == {"orphans": 2}
    assert Message.objects.count() == 0


@pytest.mark.rule("QU-10")
def test_waiting_mail_is_sent_and_delivered_mail_is_not_repeated(site, lost, transport):
    assert recover("--yes") == {"submitted": 1, "finished": 1, "unreadable": []}
    assert recover() == {"orphans": 0}

    transport()

    numbers = sorted(path.read_bytes().split(b"IMCEAFAX-")[1][:1] for path in Path(site.drop).glob("*.eml"))
    assert numbers == [b"1", b"2"]
    assert {m.state for m in Message.objects.all()} == {"done"}


def test_a_running_transport_is_not_taken_for_a_loss(lost):
    with Owner(transport_config().run_dir), pytest.raises(CommandError, match="TRANSPORT_RUNNING"):
        recover("--yes")
    assert Message.objects.count() == 0
