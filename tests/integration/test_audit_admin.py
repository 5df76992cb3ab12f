"""The audit trail in the settings: who did what and why, in the reader's language, for those who may, and never changed."""

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.models import ForeignConnector
from connectors.transport import jobs
from connectors.transport.jobs import Order
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db
LIST = "admin:auditlog_logentry_changelist"


@pytest.fixture
def nadia(site):
    """A member of Organization Management, no superuser."""
    user = User.objects.create_user("nadia", is_staff=True)
    user.groups.add(Group.objects.get(name="Organization Management"))
    client = Client(headers={"accept-language": "fr"})
    client.force_login(user)
    client.user = user
    return client


def suspend(site, user, *, reason):
    """Suspend one message as a person does; return the job."""
    now = timezone.now()
    queue = fax_queue(site)
    queued(site, queue, now=now)
    job = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="nadia", user=user, queue=queue, reason=reason), now=now)
    return jobs.run_to_end(job, config=transport_config(), now=now)


@pytest.mark.rule("QO-12")
def test_an_operation_is_told_with_person_reason_and_count(site, nadia):
    suspend(site, nadia.user, reason="la passerelle est en panne")

    page = nadia.get(reverse(LIST)).content.decode().replace("\xa0", " ")

    assert "nadia" in page
    assert "opération : Suspendre · Motif : la passerelle est en panne · messages : 1" in page


@pytest.mark.rule("QO-12")
def test_the_page_of_an_operation_leads_to_its_entries_alone(site, nadia):
    suspend(site, nadia.user, reason="une autre fois")
    job = suspend(site, nadia.user, reason="cette fois")

    shown = nadia.get(reverse("operation", args=[job.pk])).content.decode()
    link = shown.partition('<p><a href="')[2].partition('"')[0].replace("&amp;", "&")
    entries = nadia.get(link).content.decode()

    assert "cette fois" in entries
    assert "une autre fois" not in entries


def test_a_change_is_told_field_by_field(site, nadia):
    connector = ForeignConnector.objects.get(name="Fax")
    connector.comment = "Télécopies du siège"
    connector.save()
    entry = LogEntry.objects.get_for_object(connector).latest("pk")

    page = nadia.get(reverse("admin:auditlog_logentry_change", args=[entry.pk])).content.decode()

    assert "FAX:* → Télécopies du siège" in page
    assert "le service" in page


def test_nobody_changes_or_deletes_an_entry(site, admin_client):
    kind = ContentType.objects.get_for_model(ForeignConnector)
    entry = LogEntry.objects.create(
        content_type=kind, object_pk="1", object_repr="x", action=LogEntry.Action.UPDATE, changes={}
    )

    admin_client.post(reverse("admin:auditlog_logentry_change", args=[entry.pk]), {"object_repr": "y"})
    admin_client.post(reverse("admin:auditlog_logentry_delete", args=[entry.pk]), {"post": "yes"})

    entry.refresh_from_db()
    assert entry.object_repr == "x"


def test_without_the_right_there_is_no_audit_trail(site):
    client = Client()
    client.force_login(User.objects.create_user("desk", is_staff=True))

    assert client.get(reverse(LIST)).status_code == 403


def test_the_language_can_be_chosen_before_signing_in(client, db):
    answer = client.post(reverse("set_language"), {"language": "fr", "next": reverse("login")})

    assert answer.headers["Location"] == reverse("login")
    assert "Se connecter" in client.get(reverse("login")).content.decode()
