"""Status codes in words: every code fcweb can produce has a sentence of its own in both languages, and what others fall back to."""

import ast
import re
from pathlib import Path

import pytest

from connectors import notice_codes
from tests.unit.test_dsn import REPLIES

ROOT = Path(__file__).resolve().parents[2]
_REPLY = re.compile(r"([245]\d\d) ([245]\.\d{1,3}\.\d{1,3}) ")
# The codes of the specification's table that end a recipient or tell a delay, without the 2.0.0 of success.
TABLE = (
    "4.3.0 4.3.5 4.3.1 4.3.2 4.4.1 4.4.2 4.4.7 5.1.1 5.1.2 5.1.3 5.1.7 5.1.4 4.2.0 5.2.1 5.2.2 5.2.3 5.2.4 5.3.4 5.3.0 5.3.5 "
    "5.4.6 5.4.4 5.5.3 5.5.4 5.6.0 5.7.1 5.7.3"
).split()


def written_replies():
    """Return the beginning of every reply that stands in the code."""
    found = set()
    for path in sorted((ROOT / "connectors").rglob("*.py")):
        if path.name in {"notice_codes.py", "notice_preview.py"} or "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _REPLY.match(node.value):
                found.add(node.value)
    return found


@pytest.mark.rule("DSN-40")
def test_every_reply_that_can_end_a_recipient_is_read_back_by_the_readers_of_bounces():
    ends = {text for text in written_replies() if text[0] == "5"}

    assert len(ends) >= 15
    assert [text for text in sorted(ends) if not any(known.startswith(text) for known in REPLIES)] == []


@pytest.mark.rule("DSN-40", "DSN-53")
@pytest.mark.parametrize("code", TABLE)
def test_each_code_of_the_table_has_a_sentence_of_its_own_in_both_languages(code):
    english, french = (notice_codes.explanation(code, language) for language in ("en", "fr"))

    assert code in notice_codes.EXPLANATIONS
    assert english != french
    for sentence in (english, french):
        assert sentence.endswith(".") and 40 < len(sentence) < 200


@pytest.mark.rule("DSN-40")
def test_no_code_in_the_program_is_without_a_sentence():
    codes = {_REPLY.match(text)[2] for text in written_replies() if text[0] in "45"}

    assert len(codes) >= 14
    assert codes <= set(notice_codes.EXPLANATIONS)


@pytest.mark.rule("DSN-53")
@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("5.1.1", "5.1.1"),
        ("5.1.99", "5.1.0"),
        ("5.2.9", "5.2.0"),
        ("5.9.9", "5.0.0"),
        ("4.9.9", "4.0.0"),
        ("4.4.9", "4.0.0"),
    ],
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_an_unknown_code_is_explained_by_its_subject_then_by_its_class(code, meant, language):
    from django.utils import translation

    with translation.override(language):
        expected = str(notice_codes.EXPLANATIONS[meant])

    assert notice_codes.explanation(code, language) == expected
