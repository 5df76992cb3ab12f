"""Edit one bad file: its text, the differences and what would become of it, and the changed file handed in (PU-56)."""

from __future__ import annotations

from auditlog.models import LogEntry
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from connectors import line_edit
from connectors.choices import FileState, SourceKind
from connectors.errors import FcwebError
from connectors.models import SourceFile
from connectors.reads import bad_files as reads
from connectors.reads import dry_run
from connectors.transport import bad_file_edit
from connectors.transport.bad_file_edit import Editable
from connectors.views.guards import acts_from, may, needs_setup

_LONGEST_TEXT = 2 * bad_file_edit.WHOLE  # characters
_ROWS = (8, 24)  # fewest and most lines the field shows at once


class EditForm(forms.Form):
    """The text of the file, and which bytes it was made from."""

    text = forms.CharField(
        label=gettext_lazy("Text"),
        required=False,
        strip=False,
        max_length=_LONGEST_TEXT,
        widget=forms.Textarea(attrs={"spellcheck": "false", "autocomplete": "off", "wrap": "off"}),
    )
    made_from = forms.CharField(max_length=64, widget=forms.HiddenInput)


@require_safe
@may("connectors.view_content")
@may("connectors.change_sourcefile")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the text of a bad file in a form; that reading is audited."""
    row = _bad_file(pk)
    try:
        before = bad_file_edit.read(row)
    except (FcwebError, OSError) as error:
        return _back(request, row, error)
    LogEntry.objects.log_create(row, force_log=True, action=LogEntry.Action.ACCESS)
    form = EditForm(initial={"text": line_edit.shown(before.part), "made_from": before.sha256})
    return _page(request, row, before, form)


@acts_from("bad-file-edit")
@may("connectors.view_content")
@may("connectors.change_sourcefile")
@needs_setup
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the differences and what would become of the changed file; nothing is stored."""
    return _posted(request, pk, hand_in=False)


@acts_from("bad-file-edit")
@may("connectors.view_content")
@may("connectors.change_sourcefile")
@needs_setup
def resubmit_changed(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand in the changed file; the original stays beside it."""
    return _posted(request, pk, hand_in=True)


def _posted(request: HttpRequest, pk: int, *, hand_in: bool) -> HttpResponse:
    row = _bad_file(pk)
    form = EditForm(request.POST)
    try:
        before = bad_file_edit.read(row)
        if not form.is_valid():
            return _page(request, row, before, form, status=422)
        if form.cleaned_data["made_from"] != before.sha256:
            form.add_error("text", _("The file was changed in its directory meanwhile. Open it again."))
            return _page(request, row, before, form, status=409)
        after = before.joined(line_edit.apply(before.part, form.cleaned_data["text"]))
        if after == before.whole:
            form.add_error("text", _("Nothing was changed."))
            return _page(request, row, before, form, status=422)
        if not hand_in:
            return _page(request, row, before, form, after=after)
        now = timezone.now()
        name = bad_file_edit.resubmit_changed(row, before, after, by=request.user.get_username(), now=now)
    except (FcwebError, OSError) as error:
        return _back(request, row, error)
    text = _("%(name)s was handed in; it is read within seconds. The original stays as %(bad)s.")
    messages.success(request, text % {"name": name, "bad": row.bad_name})
    return redirect("bad-files")


def _page(
    request: HttpRequest,
    row: SourceFile,
    before: Editable,
    form: EditForm,
    *,
    after: bytes | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with the form and, once checked, the differences and the dry run."""
    rows = line_edit.shown(before.part).count("\n") + 3
    form.fields["text"].widget.attrs["rows"] = min(max(rows, _ROWS[0]), _ROWS[1])
    context: dict[str, object] = {"row": row, "form": form, "is_header_only": bool(before.rest)}
    context["file"] = reads.in_words(row)
    if after is not None:
        stage = "replay" if row.source == SourceKind.REPLAY else "pickup"
        context["lines"] = line_edit.diff(before.part, after[: len(after) - len(before.rest)])
        context["dry_run"] = dry_run.run(after, stage=stage, now=timezone.now())
    return render(request, "connectors/bad_file_edit.html", context, status=status)


def _bad_file(pk: int) -> SourceFile:
    states = (FileState.BAD, FileState.RESUBMITTED)
    return get_object_or_404(SourceFile.objects.select_related("node"), pk=pk, state__in=states)


def _back(request: HttpRequest, row: SourceFile, error: Exception) -> HttpResponse:
    """Say what is in the way on the page of the file."""
    if isinstance(error, OSError):
        facts = {"name": row.bad_name, "directory": row.directory, "error": error.strerror}
        messages.error(request, _("%(name)s could not be read or written in %(directory)s: %(error)s.") % facts)
    else:
        messages.error(request, str(error))
    return redirect("bad-file", row.pk)
