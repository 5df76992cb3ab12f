"""Which route? An address or a message file in, the connector and the reasons out; nothing is stored."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from connectors.mail.address import AddressSyntaxError, TypedAddress, parse_typed
from connectors.mail.imcea import ImceaError
from connectors.mail.sizes import SizeError, parse_size
from connectors.reads import dry_run
from connectors.reads import route as reads
from connectors.views.guards import may, needs_setup

_PREVIEW = 64 * 1024  # bytes of a drop file that are shown
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

    sender = forms.CharField(
        label=gettext_lazy("Sender"),
        max_length=600,
        required=False,
        help_text=gettext_lazy("Who is told when it fails; <> for nobody."),
        widget=forms.TextInput(attrs=_FIELD | {"placeholder": "alice@contoso.com"}),
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


class FileForm(forms.Form):
    """A message file and the directory it is meant for."""

    file = forms.FileField(
        label=gettext_lazy("Message file (.eml)"),
        allow_empty_file=True,
        help_text=gettext_lazy("It is read and forgotten: nothing is sent or stored."),
    )
    via = forms.ChoiceField(
        label=gettext_lazy("Meant for"), choices=[("pickup", "Pickup"), ("replay", "Replay")], initial="pickup"
    )

    def clean_file(self) -> bytes:
        """Return the bytes of the file."""
        upload = self.cleaned_data["file"]
        if upload.size > dry_run.LONGEST:
            raise forms.ValidationError(_("The file is larger than 32 MB."))
        return bytes(upload.read())


@require_http_methods(["GET", "HEAD", "POST"])
@may("connectors.view_connector")
@needs_setup
def route(request: HttpRequest) -> HttpResponse:
    """Show which connector takes an address, and why not the others; or what would become of a file."""
    form = RouteForm(request.GET if "address" in request.GET else None)
    file_form = FileForm(request.POST or None, request.FILES or None)
    explanation = result = None
    if form.is_valid():
        asked = form.cleaned_data
        try:
            explanation = reads.explain(asked["address"], size=asked["size"], sender=asked["sender"] or None)
        except ImceaError:
            form.add_error(
                "address", _("This address cannot be carried by mail: it is empty, too long or not printable.")
            )
    if request.method == "POST" and file_form.is_valid():
        asked = file_form.cleaned_data
        result = dry_run.run(asked["file"], stage=asked["via"], now=timezone.now())
    context = {
        "form": form,
        "file_form": file_form,
        "explanation": explanation,
        "dry_run": result,
        "previews": [_preview(file) for file in result.files] if result else [],
        "fallbacks": reads.oversize_fallbacks(),
    }
    return render(request, "connectors/route.html", context)


def _preview(file: dry_run.DropFile) -> dict[str, object]:
    """Return a file as the page shows it: its first 64 KB as text."""
    return {
        "file": file,
        "size": len(file.data),
        "text": file.data[:_PREVIEW].decode("utf-8", "replace"),
        "is_cut": len(file.data) > _PREVIEW,
    }
