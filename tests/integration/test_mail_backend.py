"""Other Django programs submit through the e-mail backend: one file a message, everybody served, nobody shown."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives, get_connection, send_mail
from inotify_simple import INotify, flags

from connectors.models import MessageRecipient

BACKEND = "connectors.mail_backend.PickupBackend"


@pytest.fixture
def directory(tmp_path, settings):
    settings.EMAIL_BACKEND = BACKEND
    settings.EMAIL_PICKUP_DIRECTORY = str(tmp_path)
    return tmp_path


def message(**fields):
    defaults = {"subject": "Été", "body": "Bonjour é\n.\nfin", "from_email": "Alice <alice@fcweb.test>"}
    return EmailMultiAlternatives(**defaults | fields)


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("HM-4", "PU-31")
def test_a_message_reaches_the_gateway_and_hides_its_bcc(site, transport, settings):
    settings.EMAIL_BACKEND = BACKEND
    settings.EMAIL_PICKUP_DIRECTORY = site.node.pickup_directory_path
    mail = message(to=["IMCEAFAX-1@fcweb.test"], cc=["Fax <IMCEAFAX-2@fcweb.test>"], bcc=["IMCEAFAX-3@fcweb.test"])

    assert mail.send() == 1
    transport()

    assert {r.address for r in MessageRecipient.objects.all()} == {f"IMCEAFAX-{n}@fcweb.test" for n in (1, 2, 3)}
    (drop,) = Path(site.drop).glob("*.eml")
    header, _, body = drop.read_bytes().partition(b"X-EndOfInjectedXHeaders")[2].partition(b"\r\n\r\n")
    assert b"IMCEAFAX-3" not in header
    assert body == "Bonjour é\r\n.\r\nfin".encode()
    assert list(Path(site.node.pickup_directory_path).iterdir()) == []


def test_each_message_is_one_crlf_file_under_its_final_name(directory):
    with get_connection() as connection:
        assert connection.send_messages([message(to=["a@x.test"]), message(to=["b@x.test"]), message()]) == 2

    files = sorted(directory.iterdir())
    assert [f.suffix for f in files] == [".eml", ".eml"]
    assert not [f for f in files if f.read_bytes().replace(b"\r\n", b"").count(b"\n")]


def test_a_message_with_an_html_part_stays_whole(directory):
    mail = message(to=["a@x.test"])
    mail.attach_alternative("<p>Bonjour</p>", "text/html")
    mail.send()

    (file,) = directory.iterdir()
    assert b"multipart/alternative" in file.read_bytes() and b"<p>Bonjour</p>" in file.read_bytes()


def test_an_address_shown_but_not_served_is_refused(directory):
    odd = {"to": ["a@x.test"], "headers": {"To": "list@x.test"}}

    with pytest.raises(ValueError, match="list@x"):
        message(**odd).send()
    assert message(**odd).send(fail_silently=True) == 0
    assert list(directory.iterdir()) == []


def test_a_directory_that_is_missing_is_told(directory):
    directory.rmdir()

    with pytest.raises(FileNotFoundError):
        send_mail("s", "b", "a@x.test", ["b@x.test"])
    assert send_mail("s", "b", "a@x.test", ["b@x.test"], fail_silently=True) == 0


@pytest.mark.parametrize("value", ["", "pickup"])
def test_the_directory_must_be_configured(directory, settings, value):
    settings.EMAIL_PICKUP_DIRECTORY = value

    with pytest.raises(ImproperlyConfigured):
        get_connection()


def test_a_reader_sees_the_name_only_when_the_file_is_whole(directory):
    with INotify() as inotify:
        inotify.add_watch(str(directory), flags.CREATE | flags.MOVED_TO)
        message(to=["a@x.test"]).send()
        seen = [(flag.name, event.name) for event in inotify.read(timeout=1000) for flag in flags.from_mask(event.mask)]

    (file,) = directory.iterdir()
    assert seen == [("CREATE", f".{file.stem}.new"), ("MOVED_TO", file.name)]
