"""The app that counts and locks out failed sign-ins, under a name people understand in the settings."""

from axes.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SignIns(AppConfig):  # type: ignore[misc]  # axes ships no types
    verbose_name = _("Sign-ins")
