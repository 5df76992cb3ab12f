"""The filter grammar: what is read, what is refused and where, and how a row is matched."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.queue_filter import Filter, FilterError, matches, parse
from connectors.queue_properties import EXTERNAL_TYPES, MESSAGE, QUEUE

ROW = {
    "FromAddress": ["Alice@Contoso.com"],
    "Subject": ["Offer * No. 7 [é]"],
    "Size": [2_000_000],
    "Status": ["PendingRemove"],
    "Priority": [2],
    "Recipients": ["a@fax.test", "b@sms.test"],
    "Queue": ["hub\\FAX", "hub\\12"],
    "LastError": [""],
    "RetryCount": [3],
    "DateReceived": [datetime(2026, 3, 1, 12, tzinfo=UTC)],
    "MessageLatency": [timedelta(seconds=90)],
    "ExpirationTime": [None],
}


@pytest.mark.rule("QU-18", "QU-19", "QA-11")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("FromAddress -like '*@contoso.com' -and Size -gt 1MB", True),
        ('fromaddress -EQ "ALICE@contoso.COM"', True),
        ("FromAddress -like '*@contoso.com' -and Size -gt 2MB", False),
        ("Size -ge 2000000", True),
        ("Size -lt 2KB", False),
        ("Subject -eq 'offer * no. 7 [É]'", True),
        ("Subject -like '*no.*[É]'", True),
        ("Subject -like 'offer?*'", False),
        ("Subject -contains 'NO. 7'", True),
        ("Status -eq 'PendingDelete'", True),
        ("Status -ne 'Ready'", True),
        ("Priority -eq 'High'", True),
        ("Recipients -like '*@sms.test'", True),
        ("Recipients -like 'c@*'", False),
        ("Queue -eq 'HUB\\12'", True),
        ("LastError -absent", True),
        ("LastError present", False),
        ("DateReceived -lt '2026-03-02'", True),
        ("DateReceived -gt '3/1/2026 11:59 AM'", True),
        ("MessageLatency -gt '00:01:00'", True),
        ("ExpirationTime -gt '2020-01-01'", False),
    ],
)
def test_a_row_is_matched(text, expected):
    assert matches(parse(text, MESSAGE), ROW.__getitem__) is expected


@pytest.mark.rule("QU-18", "QU-19")
@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("Sise -gt 1", 0),
        ("Size -like 1", 5),
        ("Size -gt", 8),
        ("Size", 4),
        ("Size -gt 'x'", 9),
        ("Size -gt 1 -or Size -lt 3", 11),
        ("Size -gt 1 -and", 15),
        ("(Size -gt 1)", 0),
        ("FromAddress -eq alice", 16),
        ("FromAddress -eq 'alice", 16),
        ("Status -eq 'Re*'", 11),
        ("Status -like 'Re*'", 7),
        ("DateReceived -gt '2026-13-01'", 17),
        ("Subject -gt 'a'", 8),
        ("ExpirationTime -absent", 15),
        ("Recipients -ne 'a'", 11),
        ("LockReason -eq 'a'", 0),
    ],
)
def test_a_mistake_is_named_with_its_place(text, position):
    with pytest.raises(FilterError) as caught:
        parse(text, MESSAGE)

    assert caught.value.position == position


# The tables of properties, word for word: name, operators (QU 1.3 and 1.5).
_SAME, _LIKE, _ORDER, _SOME = "-eq -ne", "-eq -ne -like", "-gt -ge -lt -le", "-present -absent"
_QUEUE_TABLE = {
    "Identity QueueIdentity": "-like",
    "DeliveryType NextHopCategory Status": _SAME,
    "NextHopDomain NextHopConnector TlsDomain": _LIKE,
    "MessageCount DeferredMessageCount RetryCount FirstRetryTime": f"{_SAME} {_ORDER}",
    "LastError": f"{_LIKE} {_SOME}",
    "LastRetryTime NextRetryTime": f"{_ORDER} {_SOME}",
    "IncomingRate OutgoingRate Velocity": f"{_SAME} {_ORDER}",
    "MessageCountsPerPriority DeferredMessageCountsPerPriority": _LIKE,
}
_MESSAGE_TABLE = {
    "InternetMessageId FromAddress OriginalFromAddress MessageSourceName Queue DeferReason": _LIKE,
    "Subject LastError": f"{_LIKE} {_SOME}",
    "Status SourceIP Priority Directionality": _SAME,
    "Size SCL MessageLatency RetryCount": f"{_SAME} {_ORDER}",
    "DateReceived ExpirationTime": _ORDER,
    "Recipients": "-like",
}


@pytest.mark.rule("QU-19")
@pytest.mark.parametrize(("table", "properties"), [(_QUEUE_TABLE, QUEUE), (_MESSAGE_TABLE, MESSAGE)])
def test_each_property_takes_the_operators_of_the_table_and_no_other(table, properties):
    expected = {name: set(operators.split()) for names, operators in table.items() for name in names.split()}

    assert {prop.name: set(prop.operators) for prop in properties.values()} == expected


@pytest.mark.rule("QU-12")
def test_external_means_the_four_ways_out():
    assert {
        "NonSmtpGatewayDelivery",
        "DeliveryAgent",
        "DnsConnectorDelivery",
        "SmartHostConnectorDelivery",
    } == EXTERNAL_TYPES


@pytest.mark.rule("QU-20")
def test_a_wildcard_with_eq_is_a_warning():
    assert len(parse("FromAddress -eq '*@contoso.com'", MESSAGE).warnings) == 1
    assert parse("FromAddress -like '*@contoso.com'", MESSAGE).warnings == ()


@pytest.mark.rule("QU-9", "QU-12")
def test_names_of_exchange_are_accepted_that_never_occur_here():
    parsed = parse("DeliveryType -eq 'ShadowRedundancy' -and Status -ne 'None'", QUEUE)

    assert [clause.value for clause in parsed.clauses] == ["ShadowRedundancy", "None"]


_PIECES = st.one_of(
    st.sampled_from([*(p.name for p in MESSAGE.values()), "-eq", "-like", "-gt", "-and", "-present", "'", '"', "1MB"]),
    st.text(max_size=8),
)


@given(st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=12).map(" ".join)))
def test_reading_raises_nothing_but_its_own_error(text):
    try:
        found = parse(text, MESSAGE)
    except FilterError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert isinstance(found, Filter)
