"""Operations on queues: one click for a queue's status, a confirmation for messages, progress, cancel, download."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from auditlog.models import LogEntry
from django.contrib import messages
from django.contrib.auth.models import AbstractUser
from django.contrib.contenttypes.models import ContentType
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from connectors import choices, operation_words, queue_filter, queue_properties, routing_table, waiting_rows
from connectors.choices import REMOVALS, WAITING, JobScope, JobState, Outcome, QueueStatus, Verb
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import BulkJob, JobTarget, Node, Queue, QueueItem
from connectors.operation_form import OFFERED, OperationForm
from connectors.reads import queues as reads
from connectors.reads import waiting
from connectors.transport import exports, jobs, queue_operations
from connectors.transport.jobs import Order
from connectors.views.guards import acts_from, as_key, may, needs_setup, server_of
from fcweb.http import wants_partial

_AT_ONCE = 200  # a job this small is worked before the answer
_SAMPLE = 10
_QUEUE_VERBS = (Verb.SUSPEND, Verb.RESUME, Verb.RETRY)


@acts_from("queue")
@may("connectors.change_queue")
def operate(request: HttpRequest, pk: int) -> HttpResponse:
    """Suspend, resume or retry a queue."""
    queue = get_object_or_404(Queue.objects.select_related("node"), pk=pk)
    return _operate(request, queue)


@acts_from("queues")
@may("connectors.change_queue")
@needs_setup
def operate_submission(request: HttpRequest) -> HttpResponse:
    """Suspend or resume routing as a whole (QO 3.1, Submission)."""
    return _operate(request, queue_operations.special_queue(routing_table.local_node(), choices.SUBMISSION_DOMAIN))


def _operate(request: HttpRequest, queue: Queue) -> HttpResponse:
    verb = request.POST.get("verb", "")
    if verb not in _QUEUE_VERBS:
        raise Http404
    user = _user(request)
    reason = request.POST.get("reason", "")
    job = jobs.operate_queue(queue, verb, actor=user.get_username(), user=user, reason=reason, now=timezone.now())
    name = reads.queue_name(queue)
    if job.changed:
        messages.success(request, operation_words.queue_done(verb, name))
    elif verb == Verb.RETRY:
        messages.info(request, _("%(name)s no longer waits for a retry.") % {"name": name})
    else:
        why = operation_words.why(JobTarget.objects.get(job=job).why)
        messages.warning(request, _("%(name)s: nothing was changed: %(why)s.") % {"name": name, "why": why})
    is_list = request.POST.get("back") == "queues"
    return redirect("queues") if is_list else redirect("queue", pk=queue.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@may("connectors.change_queue")
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before an operation on messages of one queue (QO-3)."""
    return _confirm(request, get_object_or_404(Queue.objects.select_related("node"), pk=pk))


@require_http_methods(["GET", "HEAD", "POST"])
@may("connectors.change_queue")
@needs_setup
def confirm_everywhere(request: HttpRequest) -> HttpResponse:
    """Ask before an operation on messages in whatever queue (QX-1)."""
    return _confirm(request, None)


def _confirm(request: HttpRequest, queue: Queue | None) -> HttpResponse:
    """Show count, sample and consequence of an operation and ask for a reason; then start it as a job (QO-3)."""
    asked = request.POST if request.method == "POST" else request.GET
    verb = asked.get("verb", "")
    is_submission = queue is not None and queue.is_submission
    if verb not in (REMOVALS if is_submission else OFFERED):
        raise Http404
    node = queue.node if queue else server_of(asked)
    server = "" if queue else asked.get("server", "")
    back = reverse("queue", args=[queue.pk]) if queue else reverse("queue-messages")
    back += f"?{urlencode({'server': server})}" if server else ""
    if is_submission and queue and queue.status != QueueStatus.SUSPENDED and request.method != "POST":
        messages.error(request, _("Messages can be removed here only while routing rests: suspend the queue first."))
        return redirect(back)
    source_rows = waiting_rows.of(queue)
    items = tuple(number for text in asked.getlist("item") if (number := as_key(text)) is not None)
    values: dict[str, Any] = {"verb": verb, "f": asked.get("f", ""), "recipient": asked.get("recipient", "")}
    last_item = as_key(asked.get("last_item", ""))
    values["last_item"] = source_rows.newest_item() if last_item is None else last_item
    source = queue.next_hop_connector if queue else None
    form = OperationForm(request.POST if request.method == "POST" else None, initial=values, verb=verb, source=source)
    try:
        if request.method == "POST" and form.is_valid():
            job = _start(request, node, queue, form.cleaned_data, items)
            return redirect("operation", pk=job.pk)
        wanted = queue_filter.parse(values["f"], queue_properties.MESSAGE)
    except FcwebError as error:
        messages.error(request, str(error))
        return redirect(back)
    rows = source_rows.listed(wanted, node=node, queue=queue.pk if queue else None, last_item=values["last_item"])
    if asked.getlist("item"):
        rows = rows.filter(pk__in=items)
    count = source_rows.count(rows)
    sample = waiting.some(queue, source_rows.keys_after(rows, 0, limit=_SAMPLE))
    name = reads.queue_name(queue) if queue else _("All queues")
    context = {"back": back, "name": name, "form": form, "verb": verb, "items": items}
    context |= {"count": count, "sample": sample, "f": values["f"], "sample_size": _SAMPLE}
    context["title"] = operation_words.title(verb, count)
    context["consequence"] = operation_words.consequence(verb)
    context |= {"is_submission": is_submission, "server": server}
    context["is_dangerous"] = verb in operation_words.DANGEROUS
    context["tone"] = "wait" if verb in operation_words.DANGEROUS else "info"
    return render(request, "connectors/operation_confirm.html", context)


def _start(
    request: HttpRequest, node: Node, queue: Queue | None, data: dict[str, Any], items: tuple[int, ...]
) -> BulkJob:
    """Write the job; a small one of this server is worked at once, others by the transport of their server."""
    user, config, now = _user(request), transport_config(), timezone.now()
    directory = ""
    if data["verb"] in {Verb.EXPORT, Verb.EXPORT_REMOVE}:
        path = config.data_dir / "exports" / f"{now:%Y%m%d-%H%M%S}-{user.pk}"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = str(path)
    order = Order(
        verb=data["verb"],
        actor=user.get_username(),
        user=user,
        reason=data["reason"],
        filter_text=data["f"],
        queue=queue,
        items=items,
        last_item=data["last_item"],
        recipient=data["recipient"],
        connector_name=data["connector"].name if data.get("connector") else "",
        directory=directory,
    )
    job = jobs.start(node, order, now=now)
    is_ours = node.name == routing_table.local_name()
    return jobs.run_to_end(job, config=config, now=now) if is_ours and job.total <= _AT_ONCE else job


@require_safe
@may("connectors.view_queue")
def operation(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how far an operation is: done, failed, left; while it runs its figures are asked for every second."""
    job = get_object_or_404(BulkJob.objects.select_related("queue"), pk=pk)
    troubled = JobTarget.objects.filter(job=job).exclude(outcome=Outcome.CHANGED).order_by("pk")[:20]
    seen = job.changed + job.unchanged + job.failed
    is_queue = job.scope == JobScope.QUEUE
    context = {"job": job, "title": operation_words.title(job.verb, job.total, is_queue=is_queue), "seen": seen}
    context["is_queue"] = is_queue
    context |= {"share": min(100, seen * 100 // job.total) if job.total else 100}
    if request.user.is_staff and request.user.has_perm("auditlog.view_logentry"):
        kind = ContentType.objects.get_for_model(BulkJob).pk
        query = urlencode({"kind": kind, "object_pk": job.pk})
        context["audit_url"] = f"{reverse('admin:auditlog_logentry_changelist')}?{query}"
    context["tone"], context["answer"] = operation_words.progress(job)
    context["troubled"] = [(target, operation_words.why(target.why)) for target in troubled]
    template = "connectors/_operation.html" if wants_partial(request) else "connectors/operation.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    if wants_partial(request) and job.state != JobState.RUNNING:
        response["HX-Refresh"] = "true"  # the figures were kept up to date; now the page is another one
    return response


@acts_from("operation")
@may("connectors.change_queue")
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop an operation before its next batch."""
    job = get_object_or_404(BulkJob, pk=pk)
    user = _user(request)
    if not jobs.cancel(job, user=user, actor=user.get_username(), now=timezone.now()):
        messages.info(request, _("The operation was over already."))
    return redirect("operation", pk=pk)


@require_safe
@may("connectors.view_content")
def download(request: HttpRequest, pk: int) -> HttpResponse:
    """Return one waiting copy in the Replay format; the reading is audited (QO-8, QX-3)."""
    item = get_object_or_404(QueueItem.objects.select_related("message"), pk=pk, state__in=WAITING)
    try:
        name, data = exports.download(item.pk, transport_config())
    except (OSError, ValueError):
        messages.error(request, _("The content of this message cannot be read."))
        return redirect(reverse("queue", args=[item.queue_id]))
    LogEntry.objects.log_create(item.message, force_log=True, action=LogEntry.Action.ACCESS, actor=_user(request))
    response = HttpResponse(data, content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _user(request: HttpRequest) -> AbstractUser:
    assert isinstance(request.user, AbstractUser)  # the guard let only people with permissions in
    return request.user
