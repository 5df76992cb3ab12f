"""What `manage.py queue` lists: every property, pages, identities that exclude each other, the digest."""

import json
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.management import CommandError
from django.utils import timezone

from connectors import queue_properties
from connectors.choices import DeliveryType, ItemState, QueueStatus
from connectors.models import Message, Queue, QueueItem
from connectors.reads import queues as reads
from connectors.transport import poison
from connectors.transport import queue as queues
from tests.queue_command import run
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


def rows(*words):
    return json.loads(run(*words, "--json"))["rows"]


def page(*words):
    found = json.loads(run(*words, "--json"))
    return [row["Subject"] for row in found["rows"]], found["first"], found["total"]


def other_queue(site, domain, **values):
    facts = {"delivery_type": DeliveryType.NON_SMTP_GATEWAY, "connector_name": "", "next_hop_connector": UUID(int=7)}
    return Queue.objects.create(node=site.node, next_hop_domain=domain, **(facts | values))


@pytest.fixture
def busy(site):
    """FAX in Retry with two messages, SMS Ready with one, a suspended empty one, an idle one."""
    past = NOW - timedelta(hours=1)
    retry = {"last_error": "451 4.3.5 x", "first_retry_at": past, "last_retry_at": past, "retry_count": 2}
    fax = fax_queue(site, status=QueueStatus.RETRY, next_retry_at=NOW + timedelta(hours=1), **retry)
    queued(site, fax, now=NOW, subject="one", priority=2)
    queued(site, fax, now=NOW, subject="two")
    sms = other_queue(site, "SMS", status=QueueStatus.READY, last_success_at=NOW, last_retry_at=NOW)
    queued(site, sms, now=NOW, subject="three", priority=0)
    other_queue(site, "stopped.test", status=QueueStatus.SUSPENDED)
    other_queue(site, "idle.test", status=QueueStatus.READY, last_success_at=past, last_retry_at=past)
    return fax


@pytest.mark.rule("QU-8", "QX-2", "QX-5", "QR-40")
def test_a_queue_longer_than_a_page_counts_is_listed_with_all_its_messages(site, monkeypatch):
    monkeypatch.setattr(reads, "CAP", 1)
    fax = fax_queue(site, status=QueueStatus.READY)
    for state in (ItemState.READY, ItemState.SUSPENDED, ItemState.DEFERRED):
        for _n in range(4):
            queued(site, fax, now=NOW, state=state)

    (row,) = rows("list", "--filter", "MessageCount -gt 11")

    assert (row["MessageCount"], row["MessageCountsPerPriority"]) == (12, [0, 12, 0, 0])
    assert rows("digest")[0]["MessageCount"] == 12
    lengths = {row["DeliveryType"]: (row["ActiveLength"], row["RetryLength"]) for row in rows("counters")}
    assert lengths["NonSmtpGatewayDelivery"] == (4, 4)


@pytest.mark.rule("QU-1", "QU-8", "QU-12", "QU-13")
def test_a_queue_has_every_property(busy):
    (fax,) = rows("get", "FAX")

    listed = {prop.name for prop in queue_properties.QUEUE.values()} | set(queue_properties.RESERVED_OF_QUEUE)
    assert listed <= set(fax)
    assert {fax[name] for name in ("LockedMessageCount", "RiskLevel", "OutboundIPPool", "OverrideSource")} == {None}
    assert (
        fax
        | {
            "Identity": "node.test\\FAX",
            "QueueIdentity": "node.test\\FAX",
            "DeliveryType": "NonSmtpGatewayDelivery",
            "NextHopCategory": "External",
            "NextHopConnector": str(busy.next_hop_connector),
            "Status": "Retry",
            "MessageCount": 2,
            "DeferredMessageCount": 0,
            "MessageCountsPerPriority": [1, 1, 0, 0],
            "PriorityDescriptions": ["High", "Normal", "Low", "None"],
            "RetryCount": 2,
            "Velocity": 0.0,
        }
        == fax
    )
    assert fax["LastRetryTime"] and fax["NextRetryTime"] and fax["FirstRetryTime"]
    (sms,) = rows("get", "SMS")
    assert (sms["LastRetryTime"], sms["NextRetryTime"], sms["MessageCountsPerPriority"]) == (None, None, [0, 0, 1, 0])
    (submission,) = rows("get", "Submission")
    zeros = "00000000-0000-0000-0000-000000000000"
    assert [submission[name] for name in ("DeliveryType", "NextHopDomain", "NextHopConnector", "Status")] == [
        "Undefined",
        "Submission",
        zeros,
        "Ready",
    ]


@pytest.mark.rule("QU-1", "QU-2", "QU-3", "QU-4")
def test_submission_is_listed_when_empty_unreachable_and_poison_only_with_mail(site, busy):
    key = {"delivery_type": DeliveryType.UNREACHABLE, "next_hop_connector": queues.ZERO_GUID}
    unreachable = other_queue(site, "Unreachable Domain", **key)
    item = queued(site, busy, now=NOW)
    names = {row["Identity"].partition("\\")[2] for row in rows("list")}
    assert names == {"FAX", "SMS", "stopped.test", "Submission"}

    queued(site, unreachable, now=NOW)
    Message.objects.filter(pk=item.message_id).update(crash_count=1)
    from connectors.conf import transport_config

    poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)

    found = {row["Identity"].partition("\\")[2]: row for row in rows("list")}
    assert set(found) == {"FAX", "SMS", "stopped.test", "Submission", "Unreachable", "Poison"}
    assert (found["Unreachable"]["DeliveryType"], found["Unreachable"]["NextHopDomain"]) == (
        "Unreachable",
        "Unreachable Domain",
    )
    assert (found["Poison"]["DeliveryType"], found["Poison"]["NextHopDomain"]) == ("Undefined", "Poison Message")
    (poisoned,) = rows("messages", "--queue", "Poison")
    assert poisoned["Status"] == "Suspended"


@pytest.mark.rule("QU-18", "QU-19")
def test_every_operator_of_the_later_queue_properties_works(busy):
    for text in (
        "FirstRetryTime -lt '2100-01-01' -and FirstRetryTime -ne '2020-01-01'",
        "MessageCountsPerPriority -eq '{1, 1, 0, 0}'",
        "MessageCountsPerPriority -like '{1,*'",
        "NextRetryTime present",
        "LastError -like '451*' -and RetryCount -ge 2",
    ):
        assert [row["Identity"] for row in rows("list", "--filter", text)] == ["node.test\\FAX"], text
    assert rows("list", "--filter", "Status -eq 'None'") == []


@pytest.mark.rule("QU-7", "QU-16")
def test_a_message_has_every_property_and_recipients_only_on_request(site, busy):
    item = queued(
        site, busy, now=NOW, subject="four", recipients=("a@fax.test", "b@fax.test"), source_ip="0.0.0.0", size=7
    )
    QueueItem.objects.filter(pk=item.pk).update(entered_at=NOW + timedelta(seconds=61.5))

    (plain,) = rows("messages", f"FAX\\{item.message_id}")

    known = {prop.name for prop in queue_properties.MESSAGE.values()} | set(queue_properties.RESERVED_OF_MESSAGE)
    assert known | {"Identity", "MessageIdentity", "ComponentLatency"} <= set(plain)
    assert (plain["Recipients"], plain["ComponentLatency"], plain["AccountForest"], plain["SCL"]) == (None,) * 4
    assert (plain["MessageLatency"], plain["Directionality"], plain["Status"]) == (
        "00:01:01.50",
        "Originating",
        "Retry",
    )
    assert (plain["SourceIP"], plain["RetryCount"], plain["DeferReason"]) == ("0.0.0.0", 2, "None")
    wanted = ["--include-recipient-info", "--include-component-latency-info"]
    (full,) = rows("messages", str(item.message_id), *wanted)
    assert full["Recipients"][0] == {
        "Address": "a@fax.test",
        "Type": "External",
        "FinalDestination": "a@fax.test",
        "Status": "Retry",
        "LastError": "451 4.3.5 x",
    }
    assert full["ComponentLatency"] == [{"Component": "Categorizer", "Latency": "00:01:01.50"}]


@pytest.mark.rule("QU-5", "QU-9", "QA-13")
@pytest.mark.parametrize("name", ["Shadow\\4", "node.test\\Shadow\\4", "nowhere.test", "99999", "away.test\\FAX"])
def test_a_queue_that_is_not_there_is_an_error_and_never_everything(busy, name):
    with pytest.raises(CommandError, match="QUEUE_NOT_FOUND"):
        run("get", name)


@pytest.mark.rule("QU-5", "QU-9")
def test_shadow_queues_may_be_asked_for_and_are_never_there(busy):
    assert rows("list", "--filter", "DeliveryType -eq 'ShadowRedundancy'") == []
    assert rows("list", "--include", "ShadowRedundancy") == []


@pytest.mark.rule("QU-15")
def test_a_star_is_every_queue_of_a_server_and_for_reading_alone(busy):
    assert len(rows("get", "node.test\\*")) == 5  # the idle one too
    assert rows("get", "*") == rows("get", "node.test\\*")
    with pytest.raises(CommandError, match="QUEUE_AMBIGUOUS"):
        run("suspend", "*")


@pytest.mark.rule("QU-16", "QU-15", "QO-1")
def test_an_identity_that_means_more_than_one_object_changes_nothing(site, busy):
    twin = other_queue(site, "FAX")
    item = queued(site, busy, now=NOW)
    copy = QueueItem.objects.create(queue=twin, message=item.message, entered_at=NOW)

    for words in (
        ("suspend", "FAX"),
        ("suspend", f"*\\{item.message_id}"),
        ("remove", str(item.message_id), "--yes"),
        ("remove", f"FAX\\{item.message_id}", "--yes"),
        ("remove", "SMS", "--yes"),
    ):
        with pytest.raises(CommandError, match=r"QUEUE_AMBIGUOUS|QU-16"):
            run(*words)

    assert set(QueueItem.objects.values_list("state", flat=True)) == {"ready"}
    assert {row["Queue"] for row in rows("messages", f"*\\{item.message_id}")} == {"node.test\\FAX"}
    assert len(rows("get", "FAX")) == 2
    (done,) = rows("suspend", "--filter", f"InternetMessageId -eq '{item.message.message_id}'")
    assert done["changed"] == 2
    copy.refresh_from_db()
    assert copy.state == ItemState.SUSPENDED


@pytest.mark.rule("QU-17", "QO-1")
@pytest.mark.parametrize(
    "words",
    [
        ("list", "FAX", "--filter", "MessageCount -gt 1"),
        ("messages", "FAX", "--filter", "Size -gt 1"),
        ("messages", "--queue", "FAX", "--filter", "Size -gt 1"),
        ("messages", "*\\1", "--queue", "FAX"),
        ("messages", "FAX", "--server", "node.test"),
        ("suspend", "FAX", "--filter", "Size -gt 1"),
        ("suspend", "FAX", "--server", "node.test"),
        ("suspend",),
        ("remove", "--messages", "--yes"),
    ],
)
def test_identity_queue_and_filter_exclude_each_other(busy, words):
    with pytest.raises(CommandError, match=r"QU-17|QO-1"):
        run(*words)
    assert set(QueueItem.objects.values_list("state", flat=True)) == {"ready"}


@pytest.mark.rule("QU-17")
def test_a_server_goes_with_a_filter(busy):
    assert len(rows("messages", "--filter", "Size -gt 1", "--server", "NODE.test")) == 3
    assert rows("messages", "--filter", "Size -gt 1", "--server", "away.test") == []
    assert rows("list", "--server", "away.test", "--filter", "Status -eq 'Retry'") == []
    assert len(rows("list", "--include", "External", "--exclude", "Empty", "--filter", "MessageCount -gt 0")) == 2


@pytest.mark.rule("QO-1", "QO-2")
def test_the_answer_names_what_was_changed_and_what_was_not_and_why(site, busy):
    still = QueueItem.objects.earliest("pk")
    QueueItem.objects.filter(pk=still.pk).update(state=ItemState.SUSPENDED)

    (job,) = rows("suspend", "--filter", "Queue -like '*FAX'")

    outcomes = {row["identity"]: (row["outcome"], row["why"]) for row in job["objects"]}
    second = QueueItem.objects.order_by("pk")[1]
    assert outcomes == {
        f"node.test\\FAX\\{still.message_id}": ("unchanged", "it is suspended"),
        f"node.test\\FAX\\{second.message_id}": ("changed", ""),
    }
    done = rows("suspend", "--queues", "--filter", "NextHopConnector -like '*-000000000007'")
    assert [(row["objects"][0]["identity"], row["objects"][0]["outcome"]) for row in done] == [
        ("node.test\\SMS", "changed"),
        ("node.test\\stopped.test", "unchanged"),
    ]


@pytest.mark.rule("QU-21", "QX-5")
def test_pages_start_at_an_index_or_at_an_object(busy):
    _first, second, _third = QueueItem.objects.order_by("message_id").select_related("message")
    one = ("--result-size", "1")
    assert page("messages", *one) == (["one"], 1, 3)
    assert page("messages", *one, "--bookmark-index", "2") == (["two"], 2, 3)
    assert page("messages", *one, "--bookmark-index", "-3") == (["one"], 1, 3)
    assert page("messages", *one, "--bookmark-index", "2147483647") == (["three"], 3, 3)
    assert page("messages", *one, "--bookmark-index", "2", "--no-bookmark") == (["three"], 3, 3)
    assert page("messages", *one, "--bookmark-index", "2", "--no-bookmark", "--backward") == (["one"], 1, 3)
    assert page("messages", *one, "--backward") == (["three"], 3, 3)
    assert page("messages", *one, "--sort=-Identity") == (["three"], 1, 3)
    at = ("--bookmark-object", f"FAX\\{second.message_id}")
    assert page("messages", *one, *at) == (["two"], 2, 3)
    assert page("messages", *one, *at, "--sort=-Subject") == (["two"], 1, 3)
    assert page("messages", *one, *at, "--no-bookmark") == (["three"], 3, 3)

    QueueItem.objects.filter(pk=second.pk).update(state=ItemState.DELIVERED)  # gone: the nearest one that follows

    assert page("messages", *one, *at) == (["three"], 2, 2)
    assert page("messages", *one, *at, "--no-bookmark") == (["three"], 2, 2)
    for words in (("--bookmark-index", "1", *at), ("--bookmark-object", "FAX\\999999"), ("--result-size", "250001")):
        with pytest.raises(CommandError):
            page("messages", *words)


@pytest.mark.rule("QU-21")
def test_queues_are_paged_too_and_the_total_is_told_on_request(busy):
    def names(*words):
        return [row["Identity"].partition("\\")[2] for row in rows("list", *words)]

    assert names() == ["FAX", "SMS", "stopped.test", "Submission"]
    assert names("--sort=-MessageCount,-Identity") == ["FAX", "SMS", "Submission", "stopped.test"]
    assert names("--bookmark-object", "SMS", "--result-size", "2") == ["SMS", "stopped.test"]
    assert names("--bookmark-object", "idle.test", "--result-size", "1") == ["SMS"]  # not listed: what follows
    assert "1 rows" not in run("list", "--filter", "MessageCount -eq 2")
    assert "1 of 1 rows, from row 1" in run("list", "--filter", "MessageCount -eq 2", "--return-page-info")


@pytest.mark.rule("QU-14", "QX-2")
def test_the_digest_counts_now_and_leaves_nothing_out_for_being_small(site, busy):
    def digest(*words):
        return {row["GroupByValue"]: row["MessageCount"] for row in rows("digest", *words)}

    assert list(digest().items()) == [("FAX", 2), ("SMS", 1)]  # most first; empty suspended and idle ones are not there
    queued(site, Queue.objects.get(next_hop_domain="stopped.test"), now=NOW, state=ItemState.SUSPENDED)
    assert digest()["stopped.test"] == 1  # at once
    assert digest("--group-by", "DeliveryType") == {"NonSmtpGatewayDelivery": 4}
    assert digest("--group-by", "LastError") == {"451 4.3.5 x": 2, "": 2}
    assert digest("--group-by", "NextHopCategory") == {"External": 4}
    assert digest("--group-by", "Status") == {"Retry": 2, "Connecting": 1, "Suspended": 1}
    assert digest("--group-by", "ServerName") == {"node.test": 4}
    assert f"NonSmtpGatewayDelivery:FAX:{busy.next_hop_connector}" in digest("--group-by", "NextHopKey")
    assert digest("--filter", "Status -eq 'Retry'", "--server", "node.test") == {"FAX": 2}
    found = json.loads(run("digest", "--result-size", "1", "--json"))
    assert ([row["GroupByValue"] for row in found["rows"]], found["total"], found["truncated"]) == (["FAX"], 3, True)


@pytest.mark.rule("QU-14")
def test_the_digest_has_three_levels_of_detail(busy):
    assert "Details" not in rows("digest")[0]
    (normal,) = rows("digest", "--details-level", "Normal")[0]["Details"]
    assert normal == {
        "Identity": "node.test\\FAX",
        "DeliveryType": "NonSmtpGatewayDelivery",
        "Status": "Retry",
        "MessageCount": 2,
        "LastError": "451 4.3.5 x",
        "NextHopDomain": "FAX",
    }
    (verbose,) = rows("digest", "--details-level", "Verbose")[0]["Details"]
    assert set(normal) < set(verbose)
    assert "node.test\\FAX  Retry  2" in run("digest", "--details-level", "Normal")


@pytest.mark.rule("QU-1", "QU-7")
def test_what_waits_to_be_routed_is_listed_in_submission_alone(site, pickup, transport):
    run("suspend", "Submission")
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nSubject: early\r\n\r\nBody\r\n")
    transport()

    (row,) = rows("messages", "--queue", "Submission", "--include-recipient-info")

    message = Message.objects.get()
    assert row["Identity"] == f"node.test\\Submission\\{message.pk}"
    assert (row["Subject"], row["Status"], row["MessageLatency"]) == ("early", "Ready", "00:00:00.00")
    assert [one["Address"] for one in row["Recipients"]] == ["IMCEAFAX-1@fcweb.test"]
    known = {prop.name for prop in queue_properties.MESSAGE.values()} | set(queue_properties.RESERVED_OF_MESSAGE)
    assert known <= set(row)
    assert rows("messages") == []
    run("resume", "Submission")
    transport()
    assert rows("messages", "Submission") == []
