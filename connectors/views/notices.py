"""Notices: each one as its reader will get it, before it is ever sent."""

from __future__ import annotations

from urllib.parse import urlencode

from csp.constants import NONE, SELF
from csp.decorators import csp
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from connectors import notice_codes
from connectors.choices import Audience, NoticeLanguage
from connectors.models import ForeignConnector
from connectors.notices import TAGS
from connectors.reads import notice_preview as reads
from connectors.views.guards import may, needs_setup

_ACTIONS = (
    ("failed", gettext_lazy("Not delivered")),
    ("delayed", gettext_lazy("Delayed")),
    ("delivered", gettext_lazy("Delivered")),
    ("relayed", gettext_lazy("Relayed")),
    ("expanded", gettext_lazy("Expanded to a group’s members")),
)


class PreviewForm(forms.Form):
    """Which notice to show; every field has a value, so the page always shows one."""

    action = forms.ChoiceField(label=gettext_lazy("What happened"), choices=_ACTIONS)
    code = forms.ChoiceField(
        label=gettext_lazy("Status code"),
        choices=[(code, code) for code in sorted(notice_codes.EXPLANATIONS)],
        help_text=gettext_lazy("For “Not delivered”."),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), choices=NoticeLanguage.choices)
    audience = forms.ChoiceField(label=gettext_lazy("Audience"), choices=Audience.choices)
    connector = forms.ModelChoiceField(
        label=gettext_lazy("Connector"),
        queryset=ForeignConnector.objects.order_by("name_key"),
        required=False,
        to_field_name="id",
        empty_label=gettext_lazy("none: an ordinary mail address"),
    )


def _form(request: HttpRequest) -> PreviewForm:
    """Return the form with the query string over the defaults, all of it checked."""
    language = (get_language() or "en").split("-")[0]
    values = {
        "action": "failed",
        "code": reads.DEFAULT_CODE,
        "language": language if language in TAGS else "en",
        "audience": Audience.INTERNAL.value,
    }
    return PreviewForm(values | {name: request.GET[name] for name in PreviewForm.base_fields if name in request.GET})


def _preview(form: PreviewForm) -> reads.Preview | None:
    if not form.is_valid():
        return None
    chosen = form.cleaned_data
    return reads.preview(
        chosen["action"],
        language=chosen["language"],
        code=chosen["code"],
        audience=chosen["audience"],
        connector=chosen["connector"],
        now=timezone.now(),
    )


@require_safe
@may("connectors.view_noticesettings")
@needs_setup
def notices(request: HttpRequest) -> HttpResponse:
    """Show one notice: subject, text, formatted text in a frame of its own, and its source."""
    form = _form(request)
    shown = _preview(form)
    context = {"form": form, "preview": shown, "query": urlencode(form.data)}
    context["source"] = shown.raw.decode("utf-8", "replace").replace("\r\n", "\n") if shown else ""
    return render(request, "connectors/notices.html", context)


@require_safe
@xframe_options_sameorigin
@csp({"default-src": [NONE], "sandbox": [""], "frame-ancestors": [SELF], "base-uri": [NONE], "form-action": [NONE]})
@may("connectors.view_noticesettings")
@needs_setup
def notice_html(request: HttpRequest) -> HttpResponse:
    """Serve the formatted part alone, for the sandboxed frame: no script, style, image or form works in it."""
    shown = _preview(_form(request))
    return HttpResponse(shown.html if shown else "", content_type="text/html; charset=utf-8")
