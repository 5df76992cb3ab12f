"""Bad files: the list, one file with its offending line, and the buttons that hand it in again (PU-56, UP-3, RP-25)."""

from __future__ import annotations

from collections.abc import Callable

from auditlog.models import LogEntry
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import SourceFile
from connectors.reads import bad_files as reads
from connectors.transport import bad_file_split, badmail
from connectors.views.guards import acts_from, key_of, may

_SHOWN_STATES = (FileState.BAD, FileState.SPLITTING, FileState.CHANGING, FileState.RESUBMITTED)


@require_safe
@may("connectors.view_sourcefile")
def bad_files(request: HttpRequest) -> HttpResponse:
    """Show files that wait for a decision, newest first."""
    number = reads.count()
    found = reads.reasons_found() if number else []
    reason = request.GET.get("reason", "")
    reason = reason if reason in {code for code, _number, _sentence in found} else ""
    page = reads.page(newer=key_of(request, "newer"), older=key_of(request, "older"), reason=reason)
    context = {"page": page, "number": number, "answer": reads.answer(number), "reasons": found, "reason": reason}
    return render(request, "connectors/bad_files.html", context)


@require_safe
@may("connectors.view_sourcefile")
def bad_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one file: reason, cure and, to those who may read content, its lines; that reading is audited."""
    row = get_object_or_404(SourceFile, pk=pk, state__in=_SHOWN_STATES)
    may_read = request.user.has_perm("connectors.view_content")
    excerpt = badmail.read_excerpt(row) if may_read and row.state == FileState.BAD else []
    if excerpt:
        LogEntry.objects.log_create(row, force_log=True, action=LogEntry.Action.ACCESS)
    context = {"file": reads.in_words(row), "excerpt": excerpt, "may_read": may_read}
    context["is_bad"] = row.state == FileState.BAD
    context["can_split"] = context["is_bad"] and row.reason == "CONCATENATED_EXPORT"
    return render(request, "connectors/bad_file.html", context)


@acts_from("bad-file")
@may("connectors.change_sourcefile")
def resubmit(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand a bad file in again; it is read like a new one (PU-56)."""
    return _hand_in(request, pk, badmail.resubmit)


@acts_from("bad-file")
@may("connectors.change_sourcefile")
def split(request: HttpRequest, pk: int) -> HttpResponse:
    """Cut a file of glued exports into its messages and hand each in (RP-25)."""
    return _hand_in(request, pk, bad_file_split.split)


def _hand_in(request: HttpRequest, pk: int, action: Callable[..., str | list[str]]) -> HttpResponse:
    """Do it, say what happened and return to the list."""
    row = get_object_or_404(SourceFile, pk=pk, state__in=_SHOWN_STATES)
    try:
        done = action(row, by=request.user.get_username(), now=timezone.now())
    except FcwebError as error:
        messages.error(request, str(error))
    except OSError as error:
        text = _("%(name)s could not be renamed in %(directory)s: %(error)s.")
        facts = {"name": row.bad_name, "directory": row.directory, "error": error.strerror}
        messages.error(request, text % facts)
    else:
        text = _("%(name)s was handed in again; it is read within seconds.")
        messages.success(request, text % {"name": done if isinstance(done, str) else ", ".join(done)})
    return redirect("bad-files")
