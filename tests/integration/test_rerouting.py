"""Changes of the configuration and the messages that wait: who is routed again, and who is left alone (RT-50 to RT-53)."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors import configuration, domain_configuration, drop_directory, recipient_configuration, rerouting
from connectors.choices import ItemState, QueueStatus, RecipientState, Verb
from connectors.conf import transport_config
from connectors.configuration import ListChange
from connectors.models import ConfigGeneration, ForeignConnector, MessageRecipient, Node, Queue, QueueItem
from connectors.transport import jobs
from connectors.transport.jobs import Order
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
OUT = FAX.replace(b"IMCEAFAX-5551234@fcweb.test", b"ann@fabrikam.test")


def events():
    return [(e.event, e.source) for e in TrackingEvent.objects.order_by("pk")]


def fax():
    return ForeignConnector.objects.get(name="Fax")


def add(site, name, *spaces, **fields):
    connector = configuration.create(name, spaces, fields=fields)
    drop_directory.create(connector, site.node)
    return connector


def files(site, name="Fax"):
    return sorted(site.drop.with_name(name).glob("*.eml"))


@pytest.fixture
def waiting(site, pickup, transport):
    """One fax message that waits for the connector, which is held."""
    configuration.change(fax(), {"is_held": True})
    pickup("offer.eml", FAX)
    transport()
    assert QueueItem.objects.get().state == ItemState.READY


@pytest.mark.rule("RT-20", "RT-26", "RT-50", "RT-X6")
def test_enabling_a_connector_sends_what_was_unreachable(site, pickup, transport):
    internet = add(site, "Internet", "*;1", enabled=False)
    pickup("out.eml", OUT)
    transport()
    unreachable = Queue.objects.exclude(next_hop_domain="Submission").get()
    assert (unreachable.delivery_type, unreachable.next_hop_domain) == ("Unreachable", "Unreachable Domain")

    configuration.change(internet, {"enabled": True})
    transport()

    assert len(files(site, "Internet")) == 1
    assert events() == [("RECEIVE", "PICKUP"), ("RESUBMIT", "QUEUE"), ("SEND", "GATEWAY")]


@pytest.mark.rule("RT-50")
def test_a_suspended_unreachable_queue_is_left_alone(site, pickup, transport):
    internet = add(site, "Internet", "*;1", enabled=False)
    pickup("out.eml", OUT)
    transport()
    Queue.objects.update(status=QueueStatus.SUSPENDED)

    configuration.change(internet, {"enabled": True})
    transport()

    assert files(site, "Internet") == []
    assert QueueItem.objects.get().state == ItemState.READY


@pytest.mark.rule("RT-50")
@pytest.mark.parametrize("change", ["domain", "recipient"])
def test_any_change_of_routing_looks_at_unreachable_again(site, pickup, transport, change, data_dir):
    pickup("out.eml", OUT)
    transport()

    if change == "domain":
        domain_configuration.add("fabrikam.test")
    else:
        recipient_configuration.add("mailbox", "ann@fabrikam.test")
    transport()

    state = MessageRecipient.objects.order_by("pk").first().state
    assert state == (RecipientState.FAILED if change == "domain" else RecipientState.DELIVERED)


@pytest.mark.rule("RT-20")
def test_unreachable_mail_expires_with_4_4_7(site, pickup, transport):
    pickup("out.eml", OUT)
    transport()

    transport(timezone.now() + timedelta(days=2, minutes=1))

    assert MessageRecipient.objects.order_by("pk").first().status_text.startswith("550 4.4.7")


CHANGES = {
    "cost": lambda: configuration.change(fax(), {}, spaces=ListChange(replace=("FAX:*;9",))),
    "spaces": lambda: configuration.change(fax(), {}, spaces=ListChange(add=("SMS:*",))),
    "size": lambda: configuration.change(fax(), {"max_message_bytes": 10**6}),
    "scope": lambda: configuration.change(fax(), {"is_scoped_connector": True}),
    "source": lambda: configuration.change(fax(), {}, servers=ListChange(add=("other",))),
}


@pytest.mark.rule("RT-52")
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_routing_decides_by_resolves_the_queue_again(site, waiting, transport, change):
    Node.objects.create(name="other", fqdn="other")
    CHANGES[change]()

    transport()

    assert ("RESUBMIT", "QUEUE") in events()
    assert QueueItem.objects.filter(state=ItemState.READY).count() == 1


OTHER_CHANGES = {
    "drop directory": {"drop_directory": "elsewhere"},
    "quota": {"drop_directory_quota": 10**6},
    "comment": {"comment": "words"},
    "relay notice": {"relay_dsn_required": True},
    "hold": {"is_held": True},
    "name": {"name": "Telefax"},
}


@pytest.mark.rule("RT-53")
@pytest.mark.parametrize("change", OTHER_CHANGES)
def test_other_changes_leave_the_queue_alone(site, waiting, transport, change):
    configuration.change(fax(), dict(OTHER_CHANGES[change]))

    transport()

    assert events() == [("RECEIVE", "PICKUP")]


@pytest.mark.rule("RT-53", "FC-4")
def test_a_new_drop_directory_is_used_at_the_next_attempt(site, waiting, transport):
    configuration.change(fax(), {"drop_directory": "elsewhere", "is_held": False})
    drop_directory.create(fax(), site.node)

    transport()

    assert (files(site), len(files(site, "elsewhere"))) == ([], 1)


@pytest.mark.rule("RT-52", "RT-25", "RT-X8")
def test_disabling_returns_what_waits_unless_another_connector_serves_it(site, waiting, transport):
    add(site, "Fax2", "FAX:*;1")

    configuration.change(fax(), {"enabled": False})
    transport()

    assert len(files(site, "Fax2")) == 1
    assert MessageRecipient.objects.get().state == RecipientState.DELIVERED


@pytest.mark.rule("RT-52", "RT-25", "RT-21", "FC-22")
def test_removing_the_only_connector_returns_the_mail(site, waiting, transport):
    configuration.remove(fax())
    transport()

    assert ("FAIL", "ROUTING") in events()
    assert MessageRecipient.objects.filter(status_text__startswith="550 5.1.2").exists()


@pytest.mark.rule("RT-52", "RT-30")
def test_a_suspended_queue_of_a_touched_connector_is_left_alone(site, waiting, transport):
    Queue.objects.update(status=QueueStatus.SUSPENDED)

    configuration.change(fax(), {"enabled": False})
    transport()

    assert events() == [("RECEIVE", "PICKUP")]


def operate(verb, item, scope):
    """Suspend or resume a copy, or the queue it waits in."""
    item.refresh_from_db()
    now = timezone.now()
    if scope == "queue":
        jobs.operate_queue(item.queue, verb, actor="ann", now=now)
    else:
        order = Order(verb=verb, actor="ann", items=(item.pk,))
        jobs.run_to_end(jobs.start(item.queue.node, order, now=now), config=transport_config(), now=now)


@pytest.mark.rule("RT-50", "QU-3")
@pytest.mark.parametrize("scope", ["message", "queue"])
def test_what_was_suspended_in_unreachable_goes_by_the_connector_that_came_meanwhile(site, pickup, transport, scope):
    internet = add(site, "Internet", "*;1", enabled=False)
    pickup("out.eml", OUT)
    transport()
    item = QueueItem.objects.get()
    operate(Verb.SUSPEND, item, scope)
    configuration.change(internet, {"enabled": True})
    transport()
    assert files(site, "Internet") == []

    operate(Verb.RESUME, item, scope)
    transport()

    assert len(files(site, "Internet")) == 1


@pytest.mark.rule("RT-52", "RT-25", "QR-47")
@pytest.mark.parametrize("scope", ["message", "queue"])
@pytest.mark.parametrize("change", ["disabled", "removed"])
def test_what_was_suspended_is_not_handed_to_a_connector_that_went_meanwhile(site, waiting, transport, change, scope):
    item = QueueItem.objects.get()
    operate(Verb.SUSPEND, item, scope)
    if change == "disabled":
        configuration.change(fax(), {"enabled": False, "is_held": False})
    else:
        configuration.remove(fax())
    transport()
    assert MessageRecipient.objects.get().state == RecipientState.QUEUED

    operate(Verb.RESUME, item, scope)
    transport()

    assert files(site) == []
    assert MessageRecipient.objects.filter(status_text__startswith="550 5.1.2").exists()


@pytest.mark.rule("RT-50")
def test_resuming_where_nothing_changed_routes_nothing_again(site, waiting, transport):
    item = QueueItem.objects.get()
    before = ConfigGeneration.current()
    for scope in ("message", "queue"):
        operate(Verb.SUSPEND, item, scope)
        operate(Verb.RESUME, item, scope)

    transport()

    assert (ConfigGeneration.current(), events()) == (before, [("RECEIVE", "PICKUP")])


@pytest.mark.rule("RT-53")
def test_a_message_in_flight_finishes_under_the_old_configuration(site, waiting, transport):
    from connectors.transport import leasing

    (item,) = leasing.lease(
        Queue.objects.exclude(next_hop_domain="Submission").get(),
        directory=str(site.drop),
        token="dead",
        limit=1,
        limit_bytes=10**9,
        folder_of=None,
    )
    (site.drop / item.temp_name).write_bytes(b"complete")
    leasing.mark_staged([item.pk])
    configuration.change(fax(), {"drop_directory": "elsewhere"})

    transport()

    assert [path.name for path in files(site)] == [item.final_name]


@pytest.mark.rule("RT-25")
def test_a_held_connector_keeps_its_mail_without_returning_it(site, waiting, transport):
    assert files(site) == []

    configuration.change(fax(), {"is_held": False})
    transport()

    assert len(files(site)) == 1


@pytest.mark.rule("RT-52", "FC-22")
def test_the_forecast_says_what_would_be_routed_again_and_returned(site, waiting):
    before = (ConfigGeneration.current(), fax().enabled)

    off = rerouting.of_change(fax(), {"enabled": False}, spaces=None, servers=None)
    comment = rerouting.of_change(fax(), {"comment": "x"}, spaces=None, servers=None)
    gone = rerouting.of_removal(fax())

    assert (off.waiting, off.looked_at, off.returned) == (1, 1, 1)
    assert off.queues == (("FAX", 1),)
    assert (comment.waiting, comment.returned) == (0, 0)
    assert (gone.waiting, gone.returned) == (1, 1)
    assert (ConfigGeneration.current(), fax().enabled) == before
    add(site, "Fax2", "FAX:*;1")
    assert rerouting.of_removal(fax()).returned == 0


@pytest.mark.rule("RT-X14", "RT-4", "RT-6", "RT-26")
def test_three_recipients_three_queues_each_on_its_own(site, pickup, transport, data_dir):
    add(site, "Internet", "*;1")
    site.drop.rename(site.drop.with_name("away"))
    to = b"alice@fcweb.test, ann@fabrikam.test, IMCEAFAX-5551234@fcweb.test"
    pickup("three.eml", FAX.replace(b"IMCEAFAX-5551234@fcweb.test", to))

    transport()

    made = Queue.objects.exclude(delivery_type="Undefined")
    assert sorted(made.values_list("delivery_type", "next_hop_domain", "status")) == [
        ("NonSmtpGatewayDelivery", "*", "Ready"),
        ("NonSmtpGatewayDelivery", "FAX", "Retry"),
        ("SmtpDeliveryToMailbox", "Mailboxes", "Ready"),
    ]
    assert sorted(MessageRecipient.objects.values_list("address", "state")) == [
        ("IMCEAFAX-5551234@fcweb.test", "queued"),
        ("alice@fcweb.test", "delivered"),
        ("ann@fabrikam.test", "delivered"),
    ]
    (path,) = files(site, "Internet")
    assert path.read_bytes().count(b"X-Receiver: ") == 1
    assert len(list(Path(data_dir, "mailboxes", "alice@fcweb.test", "new").iterdir())) == 1


@pytest.mark.rule("RT-10", "RT-22", "RT-X15", "DR-22")
def test_the_original_size_of_a_trusted_message_counts_when_it_is_lower(site, replay, transport):
    Node.objects.update(trusted_uids=str(os.geteuid()))
    configuration.change(fax(), {"max_message_bytes": 2000})
    text = (
        b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\nX-CreatedBy: MSExchange15\r\n"
        b"From: alice@fcweb.test\r\nX-MS-Exchange-Organization-OriginalSize: 1900\r\n\r\n" + b"x" * 2500
    )
    replay("grown.eml", text)
    replay("large.eml", text.replace(b"1900", b"2100"))

    transport()

    (path,) = files(site)
    assert b"\r\n\r\nxxx" in path.read_bytes()
    failed = MessageRecipient.objects.get(address__startswith="IMCEA", state=RecipientState.FAILED)
    assert failed.status_text.startswith("550 5.3.4 ROUTING.SizeLimit")


@pytest.mark.rule("RT-3", "RT-29")
def test_a_chain_of_contacts_ends_where_it_leads(site, pickup, transport):
    recipient_configuration.add("contact", "b@fcweb.test", external="FAX:42")
    recipient_configuration.add("contact", "a@fcweb.test", external="b@fcweb.test")
    pickup("chain.eml", FAX.replace(b"IMCEAFAX-5551234", b"a"))

    transport()

    (path,) = files(site)
    assert b"X-Receiver: <IMCEAFAX-42@fcweb.test> ORCPT=rfc822;a@fcweb.test\r\n" in path.read_bytes()


@pytest.mark.rule("RT-29", "RT-60")
def test_contacts_in_a_circle_are_returned(site, pickup, transport):
    recipient_configuration.add("contact", "b@fcweb.test", external="a@fcweb.test")
    recipient_configuration.add("contact", "a@fcweb.test", external="b@fcweb.test")
    pickup("loop.eml", FAX.replace(b"IMCEAFAX-5551234", b"a"))

    transport()

    assert MessageRecipient.objects.order_by("pk").first().status_text.startswith("550 5.4.6")


@pytest.mark.rule("RT-2", "RT-4", "RT-1")
def test_a_fax_proxy_makes_a_mailbox_the_recipient(site, pickup, transport, data_dir):
    recipient_configuration.change(
        recipient_configuration.find("alice@fcweb.test"), proxies=ListChange(add=("FAX:5551234",))
    )
    pickup("offer.eml", FAX)

    transport()

    assert files(site) == []
    (mail,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert b"Delivered-To: alice@fcweb.test" in mail.read_bytes()


@pytest.mark.rule("RT-1")
def test_a_batch_of_recipients_is_looked_up_together(site, django_assert_max_num_queries):
    from connectors import routing_table

    table = routing_table.load()
    with django_assert_max_num_queries(1):
        routing_table.directory_for([f"user{number}@fcweb.test" for number in range(200)], table)


@pytest.mark.rule("IM-17")
def test_a_notice_to_a_fax_sender_goes_back_by_fax(site, replay, transport):
    replay("from-fax.eml", b"X-Sender: <IMCEAFAX-42@fcweb.test>\r\nX-Receiver: <nobody@fcweb.test>\r\n\r\nBody\r\n")

    transport()

    (path,) = files(site)
    block = path.read_bytes().partition(b"X-CreatedBy")[0]
    assert block.startswith(b"X-Sender: <>\r\nX-Receiver: <IMCEAFAX-42@fcweb.test>")
