"""The page of a connector's drop directory: why mail waits, made and tested with one click, only by those who may."""

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors.choices import QueueStatus
from connectors.event_log import Event, raise_event
from connectors.models import ForeignConnector
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def fax(site):
    """The connector Fax, its directory away, one message waiting for it."""
    connector = ForeignConnector.objects.get(name="Fax")
    site.drop.rename(site.drop.with_name("away"))
    queue = fax_queue(
        site, status=QueueStatus.RETRY, retry_count=1, last_error="451 4.3.5 Drop directory does not exist"
    )
    queued(site, queue, now=timezone.now())
    return connector


def make_client(*codenames):
    user = User.objects.create_user("nadia")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def url(name, connector):
    return reverse(name, args=[connector.pk])


@pytest.mark.rule("FC-13", "QX-9")
def test_a_missing_directory_is_said_with_its_path_and_what_to_do(site, fax):
    client = make_client("view_connector", "change_foreignconnector", "view_queue", "change_queue")

    shown = client.get(url("drop-directory", fax)).content.decode()

    assert "It does not exist. 1 message waits." in shown
    assert str(site.drop) in shown
    assert "create-directory" in shown
    assert "install -d -m 2770" in shown
    assert "data-retry" in shown
    assert not site.drop.exists()


@pytest.mark.rule("FC-13")
def test_creating_it_makes_the_directory_and_an_audit_entry(site, fax):
    client = make_client("view_connector", "change_foreignconnector")

    answer = client.post(url("drop-directory-create", fax), follow=True).content.decode()

    assert site.drop.is_dir()
    assert f"{site.drop} is there." in answer
    assert "create-directory" not in answer
    entry = LogEntry.objects.get_for_object(fax).filter(additional_data__verb="create_directory").get()
    assert entry.actor.username == "nadia"
    assert entry.additional_data["directory"] == str(site.drop)


@pytest.mark.rule("DR-11")
def test_the_test_shows_each_step_and_leaves_nothing_behind(site, fax):
    client = make_client("view_connector", "change_foreignconnector")
    before = client.post(url("drop-directory-test", fax)).content.decode()
    site.drop.mkdir()
    after = client.post(url("drop-directory-test", fax)).content.decode()

    assert "does not exist; messages wait until it does" in before
    assert "A test file was written, renamed and deleted." in after
    assert list(site.drop.iterdir()) == []


def test_what_cannot_be_created_says_why(site, fax):
    site.drop.parent.rename(site.drop.parent.with_name("lost"))
    site.drop.parent.write_text("a file is in the way")
    client = make_client("view_connector", "change_foreignconnector")

    answer = client.post(url("drop-directory-create", fax), follow=True).content.decode()

    assert "could not be created" in answer


def test_looking_is_not_changing(site, fax):
    client = make_client("view_connector")

    shown = client.get(url("drop-directory", fax))

    assert "create-directory" not in shown.content.decode()
    assert client.post(url("drop-directory-create", fax)).status_code == 403
    assert client.post(url("drop-directory-test", fax)).status_code == 403
    assert make_other().get(url("drop-directory", fax)).status_code == 403


def make_other():
    client = Client()
    client.force_login(User.objects.create_user("visitor"))
    return client


def test_needs_you_leads_there_and_names_the_path(site, fax):
    raise_event(
        Event.NO_DROP_DIRECTORY, "Fax", f"451 4.3.5 Drop directory does not exist; {site.drop}", now=timezone.now()
    )
    client = make_client("view_connector", "view_queue")

    shown = client.get(reverse("needs")).content.decode()

    assert url("drop-directory", fax) in shown
    assert shown.count(str(site.drop)) == 1
    assert "Mount or rename it back, or create it" in shown
