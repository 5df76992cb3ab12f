"""The form of the Safety Net page: which delivered copies are meant, and why they shall be delivered again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from connectors.models import Queue
from connectors.transport.safety_net import Wanted

_MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")
_FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]


class SafetyNetForm(forms.Form):
    """Connector, span of delivery, message; empty fields mean any. Times are local."""

    connector = forms.ChoiceField(label=_("Connector"), required=False)
    start = forms.DateTimeField(label=_("Delivered from"), required=False, widget=_MOMENT, input_formats=_FORMATS)
    end = forms.DateTimeField(label=_("until before"), required=False, widget=_MOMENT, input_formats=_FORMATS)
    message = forms.CharField(
        label=_("Message-ID or internal id"),
        required=False,
        max_length=998,
        widget=forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's own arguments
        super().__init__(*args, **kwargs)
        names = Queue.objects.exclude(connector_name="").order_by("connector_name")
        connectors = [(name, name) for name in names.values_list("connector_name", flat=True).distinct()]
        field = self.fields["connector"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("any")), *connectors]

    def clean_message(self) -> str:
        return str(self.cleaned_data["message"]).replace("\0", "").strip()

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("start") and data.get("end") and data["start"] >= data["end"]:
            self.add_error("end", _("The end lies before the beginning."))
        return data

    def wanted(self) -> Wanted:
        """Return what a valid form asks for."""
        data = self.cleaned_data
        return Wanted(message=data["message"], connector=data["connector"], start=data["start"], end=data["end"])


class DeliverAgainForm(forms.Form):
    """Why, and the instant the set was shown at: what is delivered later is not meant (QO-3)."""

    snapshot = forms.DateTimeField(input_formats=["iso8601"], widget=forms.HiddenInput)
    reason = forms.CharField(
        label=pgettext_lazy("of a person", "Reason"),
        max_length=500,
        widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
        help_text=_("Stands in the audit log and in the timeline of each message."),
    )
