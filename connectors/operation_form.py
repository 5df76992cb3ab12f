"""The form that confirms an operation on messages: the filter, the snapshot and the reason travel in it (QO-3)."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from connectors.choices import Verb
from connectors.models import ForeignConnector
from connectors.queue_filter import MAX_LENGTH

OFFERED = (
    Verb.SUSPEND,
    Verb.RESUME,
    Verb.REMOVE,
    Verb.REMOVE_NDR,
    Verb.REDIRECT,
    Verb.RESUBMIT,
    Verb.EXPORT,
    Verb.EXPORT_REMOVE,
)


class OperationForm(forms.Form):
    """What a person wants done; `item` may be repeated for rows that were picked."""

    verb = forms.ChoiceField(choices=[(verb.value, verb.label) for verb in OFFERED], widget=forms.HiddenInput)
    f = forms.CharField(required=False, max_length=MAX_LENGTH, widget=forms.HiddenInput)
    last_item = forms.IntegerField(min_value=0, max_value=2**62, widget=forms.HiddenInput)
    recipient = forms.CharField(required=False, max_length=600, widget=forms.HiddenInput)
    connector = forms.ModelChoiceField(
        label=_("New connector"), queryset=ForeignConnector.objects.none(), required=False, to_field_name="name"
    )
    reason = forms.CharField(
        label=pgettext_lazy("of a person", "Reason"),
        max_length=500,
        widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"}),
        help_text=_("Stands in the audit log and in the timeline of each message."),
    )

    def __init__(self, *args: object, verb: str, source: UUID | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # Django's own arguments
        if verb == Verb.REDIRECT:
            field = self.fields["connector"]
            assert isinstance(field, forms.ModelChoiceField)
            others = ForeignConnector.objects.exclude(guid=source) if source else ForeignConnector.objects.all()
            field.queryset = others.filter(enabled=True).order_by("name_key")
            field.required = True
            field.widget.attrs["class"] = "input"
        else:
            del self.fields["connector"]
