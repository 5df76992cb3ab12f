"""The search form: the same criteria as the search box, for people who do not type (MTS-1 to MTS-11)."""

from __future__ import annotations

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tracking.choices import EventId, EventSource
from tracking.search import SearchQuery


class SearchForm(forms.Form):
    """Every field is optional; state lives in the URL."""

    start = forms.DateTimeField(
        label=_("From"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    end = forms.DateTimeField(
        label=_("Until"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    sender = forms.CharField(label=_("Sender"), required=False, max_length=600)
    recipient = forms.CharField(label=_("Recipient"), required=False, max_length=600)
    subject = forms.CharField(label=_("Subject contains"), required=False, max_length=200)
    message_id = forms.CharField(label=_("Message-ID"), required=False, max_length=998)
    event = forms.ChoiceField(label=_("Event"), required=False, choices=[("", _("any")), *EventId.choices])
    source = forms.ChoiceField(label=_("Source"), required=False, choices=[("", _("any")), *EventSource.choices])
    connector = forms.CharField(label=_("Connector"), required=False, max_length=255)

    def merged(self, query: SearchQuery) -> SearchQuery:
        """Return the search box's query with the form's criteria on top."""
        from dataclasses import replace

        given = {name: value for name, value in self.cleaned_data.items() if value}
        for name in ("start", "end"):
            if name in given and timezone.is_naive(given[name]):
                given[name] = timezone.make_aware(given[name])
        return replace(query, **given)
