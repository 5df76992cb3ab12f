"""The drop directory of one connector: why mail cannot be written there, made or tested with one click (FC-13, DR-11)."""

from __future__ import annotations

from auditlog.models import LogEntry
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from connectors import drop_directory, routing_table
from connectors.drop_directory import Check
from connectors.errors import ConfigurationError
from connectors.models import ForeignConnector
from connectors.reads import connectors as reads
from connectors.views.guards import acts_from, may, needs_setup


@require_safe
@may("connectors.view_connector")
@needs_setup
def show(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how the directory looks from outside, what waits for it and what to do; nothing is written."""
    return _page(request, get_object_or_404(ForeignConnector, id=pk))


@acts_from("drop-directory")
@may("connectors.change_foreignconnector")
@needs_setup
def test(request: HttpRequest, pk: int) -> HttpResponse:
    """Write, rename and delete a file there as a delivery does, and show each step."""
    connector = get_object_or_404(ForeignConnector, id=pk)
    return _page(request, connector, steps=drop_directory.check(connector, routing_table.local_node()))


@acts_from("drop-directory")
@may("connectors.change_foreignconnector")
@needs_setup
def create(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the directory; that is audited."""
    connector = get_object_or_404(ForeignConnector, id=pk)
    try:
        path = drop_directory.create(connector, routing_table.local_node())
    except ConfigurationError as error:
        messages.error(request, str(error))
    except OSError as error:
        facts = {"path": error.filename or connector.name, "error": error.strerror}
        messages.error(request, _("%(path)s could not be created: %(error)s.") % facts)
    else:
        facts = {"verb": "create_directory", "directory": str(path)}
        LogEntry.objects.log_create(
            connector, force_log=True, action=LogEntry.Action.UPDATE, changes={}, additional_data=facts
        )
        messages.success(request, _("%(path)s is there.") % {"path": path})
    return redirect("drop-directory", pk=pk)


def _page(request: HttpRequest, connector: ForeignConnector, *, steps: tuple[Check, ...] = ()) -> HttpResponse:
    found = reads.directory(connector, routing_table.local_node())
    tone, answer = reads.directory_answer(found)
    context = {"found": found, "steps": steps, "tone": tone, "answer": answer}
    return render(request, "connectors/drop_directory.html", context)
