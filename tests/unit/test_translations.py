"""Every string for people stands in French too; a new one without a translation fails here."""

import re
from io import BytesIO
from pathlib import Path

from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
MARKER = "notice marker"  # the context of lines that programs look for, as Exchange writes them


def catalog():
    with (ROOT / "locale/fr/LC_MESSAGES/django.po").open("rb") as file:
        return read_po(file, locale="fr")


def sources():
    for app in ("fcweb", "connectors", "tracking"):
        for path in (ROOT / app).rglob("*.py"):
            if "migrations" not in path.parts:
                yield path, path.read_text()
    for path in (ROOT / "templates").rglob("*.html"):
        text = templatize(path.read_text(), origin=str(path))
        yield path, "\n".join(line.strip() for line in text.splitlines())


def test_no_french_text_is_missing_or_fuzzy():
    unfinished = [
        message.id
        for message in catalog()
        if message.id and (message.fuzzy or not message.string or not all(message.string))
    ]

    assert unfinished == []


def test_french_punctuation_never_begins_a_line():
    wrong = []
    for message in catalog():
        for text in [message.string] if isinstance(message.string, str) else message.string:
            running = text.removesuffix(" : ").replace(r"/ \ : * ? ", "")  # subjects of notices; forbidden characters
            if message.context != MARKER and re.search(r"\S [:;?!»]|« ", running):
                wrong.append(text)

    assert wrong == []


def test_every_source_string_is_in_the_catalog():
    known = {message.id if isinstance(message.id, str) else message.id[0] for message in catalog() if message.id}
    missing = set()
    for path, text in sources():
        for _line, ids, _comments, _context in extract("python", BytesIO(text.encode()), KEYWORDS):
            first = ids if isinstance(ids, str) else ids[0]
            if first and first not in known:
                missing.add((path.name, first))

    assert missing == set()
