"""Custom texts of notices: a handful of tags, everything else is refused (DSN-52).

Promises: what `clean` returns is safe to put between HTML tags; `plain` is the same text for the other part.
"""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

MAX_LENGTH = 512
_PAIRED = frozenset({"b", "em", "a", "p"})
_SCHEMES = ("http://", "https://", "mailto:", "tel:")


class MarkupError(ValueError):
    """A text with a tag or an attribute that is not allowed; `offender` is what was found."""

    def __init__(self, offender: str) -> None:
        super().__init__(offender)
        self.offender = offender


class _Reader(HTMLParser):
    """Writes the allowed tags anew and all text escaped; open tags are closed at the end."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.html: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._refuse_attributes(tag, attrs)
            self.html.append("<br>")
            self.text.append("\n")
            return
        if tag not in _PAIRED:
            raise MarkupError(f"<{tag}>")
        if tag == "a":
            self.html.append(f'<a href="{escape(_target(attrs))}">')
        else:
            self._refuse_attributes(tag, attrs)
            self.html.append(f"<{tag}>")
        if tag == "p" and self.text:
            self.text.append("\n")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "br":
            return
        if tag not in self._open:
            raise MarkupError(f"</{tag}>")
        while True:
            last = self._open.pop()
            self.html.append(f"</{last}>")
            if last == tag:
                return

    def handle_data(self, data: str) -> None:
        self.html.append(escape(data))
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise MarkupError("<!--")

    def handle_decl(self, decl: str) -> None:
        raise MarkupError(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        raise MarkupError(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        raise MarkupError(f"<![{data}]>")

    def finish(self) -> None:
        self.close()
        self.html.extend(f"</{tag}>" for tag in reversed(self._open))

    def _refuse_attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if attrs:
            raise MarkupError(f"<{tag} {attrs[0][0]}>")


def _target(attrs: list[tuple[str, str | None]]) -> str:
    names = [name for name, _value in attrs]
    if names != ["href"]:
        raise MarkupError("<a " + " ".join(names) + ">")
    target = (attrs[0][1] or "").strip()
    if not target.lower().startswith(_SCHEMES) or any(c.isspace() or not c.isprintable() for c in target):
        raise MarkupError(f'<a href="{target}">')
    return target


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.finish()
    return reader


def clean(text: str) -> str:
    """Return the text as safe HTML; raises MarkupError. Allowed: B, EM, A HREF, BR, P. Rules: DSN-52."""
    return "".join(_read(text).html)


def plain(text: str) -> str:
    """Return the text without its tags; raises MarkupError."""
    return "".join(_read(text).text).strip()
