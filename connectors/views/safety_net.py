"""Safety Net: what was delivered and is still kept, found by connector, time or message, and delivered again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from connectors import operation_words, routing_table
from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.models import TransportSettings
from connectors.reads import safety_net as reads
from connectors.transport import jobs
from connectors.transport.safety_net import Wanted
from connectors.views.guards import may, needs_setup
from connectors.views.safety_net_form import DeliverAgainForm, SafetyNetForm

_AT_ONCE = 200  # a job this small is worked before the answer
_SAMPLE = 10


@require_safe
@may("connectors.view_queue")
@needs_setup
def kept(request: HttpRequest) -> HttpResponse:
    """List delivered copies that are still kept, newest first; all state is in the URL."""
    node = routing_table.local_node()
    form = SafetyNetForm(request.GET)
    wanted = form.wanted() if form.is_valid() else Wanted()
    page = reads.page(node, wanted, before=request.GET.get("before", ""))
    asked = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    context: dict[str, Any] = {"form": form, "page": page, "asked": urlencode(asked), "is_narrowed": wanted != Wanted()}
    context["count"] = reads.count(node, wanted, at=timezone.now())
    context["cap"] = reads.CAP
    context["hold"] = TransportSettings.of(node).safety_net_hold
    context["older_url"] = "?" + urlencode(asked | {"before": page.before}) if page.before else ""
    return render(request, "connectors/safety_net.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may("connectors.change_queue")
@needs_setup
def deliver_again(request: HttpRequest) -> HttpResponse:
    """Show count, sample and consequence and ask for a reason; then start it as a job (QO-3, QR-18)."""
    node = routing_table.local_node()
    now = timezone.now()
    is_post = request.method == "POST"
    asked = request.POST if is_post else request.GET
    criteria = SafetyNetForm(asked)
    if not criteria.is_valid() or criteria.wanted() == Wanted():
        messages.error(request, _("Name a message, a connector or a time span."))
        return redirect("safety-net")
    wanted = criteria.wanted()
    form = DeliverAgainForm(request.POST if is_post else None, initial={"snapshot": now.isoformat()})
    if is_post and form.is_valid():
        user = _user(request)
        job = jobs.start_again(
            node,
            wanted,
            actor=user.get_username(),
            user=user,
            reason=form.cleaned_data["reason"],
            at=form.cleaned_data["snapshot"],
            now=now,
        )
        if job.total <= _AT_ONCE:
            jobs.run_to_end(job, config=transport_config(), now=now)
        return redirect("operation", pk=job.pk)
    count = reads.count(node, wanted, at=now)
    context: dict[str, Any] = {"form": form, "wanted": wanted, "count": count, "cap": reads.CAP, "sample_size": _SAMPLE}
    context["sample"] = reads.page(node, wanted).items[:_SAMPLE]
    context["criteria"] = [(name, asked[name]) for name in criteria.fields if asked.get(name)]
    context["back_query"] = urlencode(context["criteria"])
    context["title"] = operation_words.title(Verb.DELIVER_AGAIN, count)
    context["consequence"] = operation_words.consequence(Verb.DELIVER_AGAIN)
    return render(request, "connectors/deliver_again.html", context)


def _user(request: HttpRequest) -> AbstractUser:
    assert isinstance(request.user, AbstractUser)  # the guard let only people with permissions in
    return request.user
