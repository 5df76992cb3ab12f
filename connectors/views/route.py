"""Which route? An address and a size in, the connector and the reasons out."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from connectors.mail.address import AddressSyntaxError, TypedAddress, parse_typed
from connectors.mail.imcea import ImceaError
from connectors.mail.sizes import SizeError, parse_size
from connectors.reads import route as reads
from connectors.views.guards import may, needs_setup

_FIELD = {"autocomplete": "off", "spellcheck": "false"}


class RouteForm(forms.Form):
    """An address in any form people write, and a size."""

    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=2000,
        help_text=gettext_lazy("bob@contoso.com, FAX:+1 425 555 0100 or the encoded form."),
        widget=forms.TextInput(attrs=_FIELD | {"placeholder": "FAX:+1 425 555 0100"}),
    )
    size = forms.CharField(
        label=gettext_lazy("Size"),
        max_length=20,
        required=False,
        help_text=gettext_lazy("For example 2MB."),
        widget=forms.TextInput(attrs=_FIELD | {"placeholder": "10KB"}),
    )

    def clean_address(self) -> TypedAddress:
        """Return the address with its type."""
        try:
            return parse_typed(self.cleaned_data["address"])
        except AddressSyntaxError:
            raise forms.ValidationError(
                _("This is neither an SMTP address nor TYPE:address, such as FAX:5551234.")
            ) from None

    def clean_size(self) -> int:
        """Return bytes; an unlimited size makes no sense here."""
        try:
            size = parse_size(self.cleaned_data["size"] or "0B")
        except SizeError:
            size = None
        if size is None:
            raise forms.ValidationError(_("Write a number with B, KB, MB or GB, such as 2MB."))
        return size


@require_safe
@may("connectors.view_connector")
@needs_setup
def route(request: HttpRequest) -> HttpResponse:
    """Show which connector takes an address, and why not the others."""
    form = RouteForm(request.GET if "address" in request.GET else None)
    explanation = None
    if form.is_valid():
        try:
            explanation = reads.explain(form.cleaned_data["address"], size=form.cleaned_data["size"])
        except ImceaError:
            form.add_error(
                "address", _("This address cannot be carried by mail: it is empty, too long or not printable.")
            )
    context = {"form": form, "explanation": explanation, "fallbacks": reads.oversize_fallbacks()}
    return render(request, "connectors/route.html", context)
