"""What a French page still says in English: its visible text against every msgid that has a French text of its own."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import auditlog
import axes
import django
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
SHORTEST = 8  # letters between two placeholders; "Message" and "Notice" are words of French, too
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|%[sd]|%%|\{[a-z_:]*\}|<[^>]+>")
# What people read: text, and the words inside fields, buttons and titles. Content of mail and code is not ours.
SAID = """() => {
  const said = [document.title];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const parent = walk.currentNode.parentElement;
    if (!parent.closest('script, style, template, pre, textarea, code, option, .mono')) said.push(walk.currentNode.data);
  }
  for (const element of document.querySelectorAll('[title], [aria-label], [placeholder], [alt]'))
    for (const name of ['title', 'aria-label', 'placeholder', 'alt'])
      if (element.hasAttribute(name) && !element.hasAttribute('data-copy')) said.push(element.getAttribute(name));
  for (const element of document.querySelectorAll('input[type=submit], input[type=button], input[type=reset]'))
    said.push(element.value);
  for (const element of document.querySelectorAll('option')) said.push(element.text);
  return said.map(text => text.replace(/\\s+/g, ' ').trim()).filter(text => text.length > 3);
}"""


def english_on(page) -> list[str]:
    """Return the English sentences a French page shows."""
    said = [text for text in page.evaluate(SAID) if text not in _names()]
    return sorted({text for text in said if _english().fullmatch(text) or _english().search(f" {text} ")})


@cache
def _english() -> re.Pattern[str]:
    """One pattern that finds any English text, placeholders standing for anything."""
    found = {pattern for source, target in _pairs() if source != target and (pattern := _pattern(source))}
    return re.compile("|".join(sorted(found, key=len, reverse=True)))


def _pattern(text: str) -> str:
    text = " ".join(text.split())
    parts = [part.strip() for part in PLACEHOLDER.split(text)]
    longest = max(parts, key=len)
    if len(longest) < SHORTEST or " " not in longest:
        return ""
    return rf"(?<![\w’'-]){re.escape(longest)}(?![\w’'-])"


@cache
def _names() -> frozenset[str]:
    """Texts that stay English on purpose: Exchange's own names."""
    return frozenset({"Organization Management", "Help desk"})


def _pairs() -> list[tuple[str, str]]:
    places = [
        ROOT / "locale",
        *(Path(package.__file__).parent / "locale" for package in (auditlog, axes)),
        Path(django.__file__).parent / "conf/locale",
        *(Path(django.__file__).parent / "contrib" / app / "locale" for app in ("admin", "auth", "contenttypes")),
    ]
    pairs = []
    for place in places:
        path = place / "fr/LC_MESSAGES/django.po"
        if path.exists():
            with path.open("rb") as file:
                catalog = read_po(file, locale="fr")
        elif path.with_suffix(".mo").exists():
            with path.with_suffix(".mo").open("rb") as file:
                catalog = read_mo(file)
        else:
            continue
        for message in catalog:
            sources = [message.id] if isinstance(message.id, str) else list(message.id)
            targets = [message.string] if isinstance(message.string, str) else list(message.string)
            pairs.extend((source, target) for source, target in zip(sources, targets, strict=False) if source)
    return pairs
