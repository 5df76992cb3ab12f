"""Identities of queues and messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.queue_identity import IdentityError, MessageIdentity, QueueIdentity, parse_message, parse_queue


@pytest.mark.rule("QU-15", "QU-9")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FAX", QueueIdentity(name="FAX")),
        ("12", QueueIdentity(number=12)),
        ("hub01\\FAX", QueueIdentity(server="hub01", name="FAX")),
        ("hub01.test\\12", QueueIdentity(server="hub01.test", number=12)),
        ("SUBMISSION", QueueIdentity(name="Submission")),
        ("hub\\poison", QueueIdentity(server="hub", name="Poison")),
        ("Shadow\\4", QueueIdentity(number=4, is_shadow=True)),
        ("hub\\Shadow\\4", QueueIdentity(server="hub", number=4, is_shadow=True)),
        ("*", QueueIdentity(name="*")),
        ("*.contoso.com", QueueIdentity(name="*.contoso.com")),
    ],
)
def test_a_queue_is_named(text, expected):
    assert parse_queue(text) == expected
    assert parse_queue(str(expected)) == expected


@pytest.mark.rule("QU-16")
def test_a_message_is_named():
    assert parse_message("hub\\FAX\\7") == MessageIdentity(queue=QueueIdentity(server="hub", name="FAX"), number=7)
    assert parse_message("7") == parse_message("*\\7") == MessageIdentity(queue=QueueIdentity(name="*"), number=7)


@pytest.mark.rule("QU-15", "QU-16")
@pytest.mark.parametrize("text", ["", "  ", "\\FAX", "hub\\", "a\\b\\c", "-x\\FAX"])
def test_what_is_no_queue_is_refused(text):
    with pytest.raises(IdentityError):
        parse_queue(text)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\\*12aS")), max_size=30))
def test_reading_raises_nothing_but_its_own_error(text):
    for read in (parse_queue, parse_message):
        try:
            found = read(text)
        except IdentityError:
            continue
        assert read(str(found)) == found
