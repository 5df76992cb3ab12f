"""Context of every page: the entries of the rail with their live counts, and the search box.

Promises: nothing for anonymous visitors; at most three small queries, and only when the rail is drawn, so a
part swapped by htmx costs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from connectors.choices import FileState, QueueStatus
from connectors.event_log import DROP_EVENTS
from connectors.models import EventLogEntry, Queue, SourceFile

_CAP = 99  # the rail says "99+" beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class NavEntry:
    """One entry of the rail; `count` is "" when there is nothing to count."""

    key: str
    label: str | Promise
    icon: str
    url: str
    current: bool
    count: str
    count_title: str
    tone: str
    apart: bool  # set off from the entries above


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    key: str
    url_name: str
    label: Promise
    icon: str
    permission: str
    pages: frozenset[str] = frozenset()  # url names below it
    apart: bool = False


_PLACES = (
    _Place(key="overview", url_name="overview", label=gettext_lazy("Overview"), icon="overview", permission=""),
    _Place(key="needs", url_name="needs", label=gettext_lazy("Needs you"), icon="bell", permission=""),
    _Place(
        key="live",
        url_name="live",
        label=gettext_lazy("Live"),
        icon="live",
        permission="tracking.view_trackingevent",
    ),
    _Place(
        key="tracking",
        url_name="tracking",
        label=gettext_lazy("Tracking"),
        icon="tracking",
        permission="tracking.view_trackingevent",
        pages=frozenset({"message"}),
    ),
    _Place(
        key="queues",
        url_name="queues",
        label=gettext_lazy("Queues"),
        icon="queues",
        permission="connectors.view_queue",
        pages=frozenset(
            {
                "queue",
                "queue-confirm",
                "queue-messages",
                "queue-messages-confirm",
                "operation",
                "safety-net",
                "deliver-again",
            }
        ),
    ),
    _Place(
        key="bad-files",
        url_name="bad-files",
        label=gettext_lazy("Bad files"),
        icon="bad-file",
        permission="connectors.view_sourcefile",
        pages=frozenset({"bad-file", "bad-file-edit", "bad-file-check", "bad-file-resubmit-changed"}),
    ),
    _Place(
        key="connectors",
        url_name="connectors-list",
        label=gettext_lazy("Connectors"),
        icon="connectors",
        permission="connectors.view_connector",
        pages=frozenset({"drop-directory", "drop-directory-test"}),
    ),
    _Place(
        key="route",
        url_name="route",
        label=gettext_lazy("Which route?"),
        icon="route",
        permission="connectors.view_connector",
    ),
    _Place(
        key="notices",
        url_name="notices",
        label=gettext_lazy("Notices"),
        icon="mail",
        permission="connectors.view_noticesettings",
    ),
)


class Shell:
    """What base.html shows around a page; computed when it is asked for."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def query(self) -> str:
        """Text of the search box: kept on the pages that search."""
        match = self._request.resolver_match
        return self._request.GET.get("q", "") if match and match.url_name in {"tracking", "live"} else ""

    @property
    def search_url(self) -> str:
        """Target of the search box."""
        return reverse("tracking")

    @property
    def time_zone(self) -> str:
        """Name of the zone times are shown in."""
        return timezone.get_current_timezone_name()

    @cached_property
    def nav(self) -> tuple[NavEntry, ...]:
        """Entries this person may open, with their counts."""
        user = self._request.user
        match = self._request.resolver_match
        here = match.url_name or "" if match else ""
        entries = [
            self._entry(place, current=here == place.url_name or here in place.pages)
            for place in _PLACES
            if not place.permission or user.has_perm(place.permission)
        ]
        if user.is_staff:
            entries.append(
                NavEntry(
                    key="settings",
                    label=_("Settings"),
                    icon="settings",
                    url=reverse("admin:index"),
                    current=bool(match and match.app_name == "admin"),
                    count="",
                    count_title="",
                    tone="",
                    apart=True,
                )
            )
        return tuple(entries)

    def _entry(self, place: _Place, *, current: bool) -> NavEntry:
        count, title, tone = _COUNTS[place.key]() if place.key in _COUNTS else (0, "", "")
        return NavEntry(
            key=place.key,
            label=place.label,
            icon=place.icon,
            url=reverse(place.url_name),
            current=current,
            count=("" if not count else f"{_CAP}+" if count > _CAP else str(count)),
            count_title=title,
            tone=tone,
            apart=place.apart,
        )


def _failing_queues() -> tuple[int, str, str]:
    count = Queue.objects.filter(status=QueueStatus.RETRY).count()
    return count, ngettext("queue in Retry", "queues in Retry", count), "wait"


def _bad_files() -> tuple[int, str, str]:
    count = SourceFile.objects.filter(state=FileState.BAD)[: _CAP + 1].count()
    return count, ngettext("bad file", "bad files", count), "fail"


def _failing_directories() -> tuple[int, str, str]:
    count = EventLogEntry.objects.filter(code__in=[event.value for event in DROP_EVENTS], cleared_at=None).count()
    return count, ngettext("drop directory with a problem", "drop directories with a problem", count), "fail"


_COUNTS = {"queues": _failing_queues, "bad-files": _bad_files, "connectors": _failing_directories}


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `shell` for people who signed in, nothing for others."""
    user = getattr(request, "user", None)
    return {"shell": Shell(request)} if user is not None and user.is_authenticated else {}
