"""Transport settings: ranges, names, the admin form, in force without a new process, what the ladder makes of them."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from connectors.choices import Priority, ReportDue, Verb
from connectors.conf import RetryLadder, TransportConfig, transport_config
from connectors.models import Message, MessageRecipient, NoticeSettings, Queue, QueueItem, TransportSettings
from connectors.node_configuration import option_of
from connectors.owner import Owner
from connectors.transport import delays, jobs, poison
from connectors.transport.jobs import Order
from connectors.transport.service import Service
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
DEFAULTS = {
    "QueueGlitchRetryCount": 4,
    "QueueGlitchRetryInterval": "00:01:00",
    "TransientFailureRetryCount": 6,
    "TransientFailureRetryInterval": "00:05:00",
    "OutboundConnectionFailureRetryInterval": "00:10:00",
    "MailboxDeliveryQueueRetryInterval": "00:05:00",
    "MessageRetryInterval": "00:15:00",
    "MailboxFullGracePeriod": "00:00:00",
    "MessageExpirationTimeout": "2.00:00:00",
    "ExpireSuspended": True,
    "MaxIdleTimeBeforeResubmit": "12:00:00",
    "QueueMaxIdleTime": "00:03:00",
    "PoisonMessageDetectionEnabled": True,
    "PoisonThreshold": 2,
    "SafetyNetHoldTime": "2.00:00:00",
    "PriorityQueuingEnabled": False,
}


def got():
    out = StringIO()
    call_command("node", "get", "--json", stdout=out)
    shown = json.loads(out.getvalue())
    return {name: shown[name] for name in DEFAULTS}


def put(option, value):
    call_command("node", "set", f"--{option}={value}")


@pytest.mark.rule("QR-1", "QR-2", "QR-3", "QR-4", "QR-5", "QR-6", "QR-7", "QR-8", "QR-11", "QR-13", "QR-14", "QR-18")
@pytest.mark.rule("QA-1", "QA-7", "QX-4", "RT-40")
def test_the_defaults_are_those_of_exchange_and_what_is_exported_can_be_set_again(site):
    assert got() == DEFAULTS
    changed = DEFAULTS | {
        "QueueGlitchRetryInterval": "00:00:07",
        "SafetyNetHoldTime": "3.04:00:00",
        "PoisonThreshold": 10,
    }
    call_command("node", "set", *(f"--{option_of(name)}={value}" for name, value in changed.items()))

    assert got() == changed
    row = TransportSettings.objects.get()
    assert (row.glitch_retry_interval, row.safety_net_hold) == (timedelta(seconds=7), timedelta(days=3, hours=4))


@pytest.mark.rule("QR-1", "QR-2", "QR-3", "QR-4", "QR-5", "QR-6", "QR-7", "QR-8", "QR-13", "QR-14", "RT-31", "RT-40")
@pytest.mark.parametrize(
    ("option", "fit", "unfit", "told"),
    [
        ("queue-glitch-retry-count", "0 15", "16 -1", "QueueGlitchRetryCount"),
        ("queue-glitch-retry-interval", "00:00:01 1.00:00:00", "00:00:00 1.00:00:01", "From 00:00:01 to 1.00:00:00."),
        ("transient-failure-retry-count", "0 15", "16", "TransientFailureRetryCount"),
        ("transient-failure-retry-interval", "00:00:01", "00:00:00 12:00:01", "From 00:00:01 to 12:00:00."),
        (
            "outbound-connection-failure-retry-interval",
            "00:00:01 20.00:00:00",
            "00:00:00 20.00:00:01",
            "From 00:00:01 to 20.00:00:00.",
        ),
        ("mailbox-delivery-queue-retry-interval", "00:00:01 1.00:00:00", "00:00:00 1.00:00:01", "From 00:00:01 to"),
        ("message-retry-interval", "00:00:01 1.00:00:00", "00:00:00 1.00:00:01", "From 00:00:01 to 1.00:00:00."),
        ("mailbox-full-grace-period", "00:00:00 90.00:00:00", "90.00:00:01", "From 00:00:00 to 90.00:00:00."),
        ("message-expiration-timeout", "00:00:05 90.00:00:00", "00:00:04 90.00:00:01", "From 00:00:05 to 90.00:00:00."),
        ("poison-threshold", "1 10", "0 11", "PoisonThreshold"),
        ("queue-max-idle-time", "00:00:05 01:00:00", "00:00:04 01:00:01", "From 00:00:05 to 01:00:00."),
        ("safety-net-hold-time", "00:00:00 90.00:00:00", "90.00:00:01", "From 00:00:00 to 90.00:00:00."),
    ],
)
def test_both_ends_of_a_range_are_taken_and_what_is_beyond_is_refused(site, option, fit, unfit, told):
    for value in fit.split():
        put(option, value)
    before = got()
    for value in unfit.split():
        with pytest.raises(CommandError, match=r"NODE_SETTING_INVALID: ") as refused:
            put(option, value)
        assert told in str(refused.value)
    assert got() == before


def test_a_time_in_another_form_is_refused_by_name(site):
    with pytest.raises(CommandError, match=r"“5 minutes” is not a value of TransientFailureRetryInterval"):
        put("transient-failure-retry-interval", "5 minutes")
    assert not TransportSettings.objects.exists()


@pytest.mark.rule("QR-9", "QR-31")
def test_retries_that_outlast_the_delay_notice_are_refused_on_both_sides(site, admin_client):
    with pytest.raises(CommandError, match=r"06:00:00 in all; a delay is told after 04:00:00"):
        put("transient-failure-retry-interval", "01:00:00")
    put("transient-failure-retry-interval", "00:30:00")

    row = NoticeSettings.objects.create()
    page = admin_client.post(f"/admin/connectors/noticesettings/{row.pk}/change/", {"delay_after": "03:00:00"})

    assert "more than 03:00:00" in page.content.decode()


@pytest.mark.rule("QX-4", "QR-21", "QR-32")
def test_the_next_retry_waits_the_new_interval_in_the_same_process(site, pickup):
    Path(site.drop).rename(Path(site.drop).with_name("away"))
    pickup("a.eml", FAX)
    now = timezone.now()
    config = transport_config()
    with Owner(config.run_dir) as owner:
        stages = Service(config=config, token=owner.token).stages()

        def settle(at):
            while sum(stage.run(at) for stage in stages):
                pass
            return Queue.objects.get(connector_name="Fax")

        assert settle(now).next_retry_at == now + timedelta(minutes=1)
        put("queue-glitch-retry-interval", "00:00:20")
        now += timedelta(minutes=1)
        queue = settle(now)
    assert (queue.retry_count, queue.next_retry_at) == (2, now + timedelta(seconds=20))


@pytest.mark.rule("QR-21", "QR-32")
@pytest.mark.parametrize(
    ("glitch", "transient", "minutes"), [(0, 2, [5, 5, 10]), (2, 0, [1, 1, 10]), (0, 0, [10, 10, 10])]
)
def test_a_count_of_zero_skips_its_stage(glitch, transient, minutes):
    ladder = RetryLadder(glitch_count=glitch, transient_count=transient)
    assert [ladder.wait(n) for n in (1, 2, 3)] == [timedelta(minutes=m) for m in minutes]


@pytest.mark.rule("QR-26")
def test_a_success_begins_the_ladder_anew(site, transport):
    now = timezone.now()
    queue = fax_queue(site, status="Retry", retry_count=7, first_retry_at=now, next_retry_at=now)
    queued(site, queue, now=now, with_file=True)

    transport(now)

    queue.refresh_from_db()
    assert (queue.status, queue.retry_count, queue.next_retry_at, queue.last_error) == ("Ready", 0, None, "")


@pytest.mark.rule("QR-13", "QR-50", "QR-52")
@pytest.mark.parametrize(("detection", "threshold", "crashes"), [(True, 1, 1), (True, 10, 10), (False, 1, None)])
def test_the_crash_that_reaches_the_threshold_sets_a_message_apart(site, detection, threshold, crashes):
    now = timezone.now()
    row = TransportSettings.objects.create(node=site.node, poison_detection=detection, poison_threshold=threshold)
    config = row.applied_to(transport_config())
    item = queued(site, fax_queue(site), now=now)

    went = [poison.note_crash(site.node, [item.message_id], config=config, now=now) for _n in range(12)]

    assert went == [1 if crashes == n else 0 for n in range(1, 13)]


@pytest.mark.rule("QR-9", "QR-31", "QR-60")
def test_a_delay_is_told_sooner_for_high_and_later_for_low_while_priorities_count(site):
    start = timezone.now()
    queue = fax_queue(site)
    owed = {}
    sizes = {Priority.HIGH: 10, Priority.NORMAL: 10, Priority.LOW: 10, "large": 250 * 1024 + 1}
    for name, size in sizes.items():
        item = queued(site, queue, now=start)
        Message.objects.filter(pk=item.message_id).update(
            priority=Priority.HIGH if name == "large" else name, size=size, received_at=start
        )
        owed[item.message_id] = name
    config = TransportConfig(data_dir=Path("/x"), priority_queuing=True)

    def told(hours):
        delays.run_once(
            site.node, settings=NoticeSettings.load(), config=config, now=start + timedelta(hours=hours, seconds=1)
        )
        late = MessageRecipient.objects.filter(report_due=ReportDue.DELAYED).values_list("message", flat=True)
        return {owed[key] for key in late}

    assert told(0.49) == set()
    assert told(0.5) == {Priority.HIGH}
    assert told(4) == {Priority.HIGH, Priority.NORMAL, "large"}
    assert told(8) == set(sizes)


@pytest.mark.rule("QX-4")
def test_the_admin_shows_and_stores_times_in_exchanges_form(site, admin_client):
    url = f"/admin/connectors/node/{site.node.pk}/change/"
    page = admin_client.get(url)
    form = page.context["adminform"].form
    inline = page.context["inline_admin_formsets"][0].formset.forms[0]
    assert 'value="2.00:00:00"' in page.content.decode()
    data = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    for name, field in inline.fields.items():
        data[f"transport_settings-0-{name}"] = field.prepare_value(inline[name].value()) or ""
    data = {k: v for k, v in data.items() if v is not False and v is not None}
    for prefix in ("transport_settings", "submitter_addresses"):
        data |= {f"{prefix}-TOTAL_FORMS": "1" if prefix[0] == "t" else "0", f"{prefix}-INITIAL_FORMS": "0"}
    data |= {"transport_settings-0-node": site.node.pk, "transport_settings-0-mailbox_retry_interval": "00:02:00"}
    data["max_message_bytes"] = "10MB"
    data["pickup_max_header_bytes"] = "64KB"

    answer = admin_client.post(url, data)

    assert answer.status_code == 302, answer.context["errors"]
    assert TransportSettings.objects.get().mailbox_retry_interval == timedelta(minutes=2)


@pytest.mark.rule("QR-27")
def test_a_manual_retry_waits_anew_and_keeps_its_place_on_the_ladder(site, transport):
    Path(site.drop).rename(Path(site.drop).with_name("away"))
    now = timezone.now()
    first, later = now - timedelta(minutes=5), now + timedelta(minutes=4)
    queue = fax_queue(site, status="Retry", retry_count=4, first_retry_at=first, next_retry_at=later)
    queued(site, queue, now=now, with_file=True)

    jobs.operate_queue(queue, Verb.RETRY, actor="ann", now=now)
    transport(now)

    queue.refresh_from_db()
    assert (queue.retry_count, queue.next_retry_at) == (5, now + timedelta(minutes=5))


@pytest.mark.rule("QR-29")
def test_suspending_a_message_or_a_longer_timeout_does_not_extend_its_life(site, pickup, transport):
    now = timezone.now()
    Path(site.drop).rename(Path(site.drop).with_name("away"))
    put("message-expiration-timeout", "01:00:00")
    pickup("a.eml", FAX)
    transport(now)
    message = Message.objects.get()
    assert message.expires_at == message.received_at + timedelta(hours=1)

    put("message-expiration-timeout", "3.00:00:00")
    for verb in (Verb.SUSPEND, Verb.RESUME):
        job = jobs.start(
            site.node,
            Order(verb=verb, actor="ann", queue=Queue.objects.exclude(next_hop_domain="Submission").get()),
            now=now,
        )
        jobs.run_to_end(job, config=transport_config(), now=now)
        assert QueueItem.objects.get().state == {"suspend": "suspended", "resume": "ready"}[verb]
    transport(now + timedelta(minutes=59))

    assert Message.objects.get().expires_at == message.expires_at
    transport(now + timedelta(minutes=61))
    recipient = MessageRecipient.objects.get(message=message)
    assert recipient.status_text == "550 4.4.7 QUEUE.Expired; message expired"


@pytest.mark.rule("DR-21")
def test_a_message_with_winmail_dat_is_flagged_where_it_came_in(site, pickup, transport):
    part = b"\r\nContent-Type: application/ms-tnef\r\n\r\nBody"
    pickup("tnef.eml", FAX.replace(b"\r\n\r\nBody", part))
    pickup("plain.eml", FAX)

    transport()

    flagged = TrackingEvent.objects.filter(event="RECEIVE", custom_data__contains="TNEF")
    assert [event.source_context for event in flagged] == ["tnef.eml"]
