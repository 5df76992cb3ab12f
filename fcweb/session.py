"""Who is not signed in goes to the sign-in page; a part of a page asked for by htmx takes the whole page there.

Promises: the sign-in page is never put into a page that is still open when its session ends.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponse, HttpResponseBase
from django_htmx.middleware import HtmxDetails


class SignInRequired(LoginRequiredMiddleware):
    """Django's own, and 401 with HX-Redirect for a request by htmx: a redirect would be followed unseen."""

    def handle_no_permission(  # type: ignore[override]  # 401 beside the redirect
        self,
        request: HttpRequest,
        view_func: Any,  # Any: as Django has it
    ) -> HttpResponseBase:
        """Answer a request of nobody."""
        htmx: HtmxDetails | None = getattr(request, "htmx", None)
        if not htmx:
            return super().handle_no_permission(request, view_func)
        answer = redirect_to_login(_place(request, htmx), self.get_login_url(view_func))
        return HttpResponse(status=401, headers={"HX-Redirect": answer.url})


def _place(request: HttpRequest, htmx: HtmxDetails) -> str:
    """Return where to go on after signing in: the page that asked, or the address it would have had."""
    here = htmx.current_url_abs_path
    return here if here and urlsplit(here).path != request.path else request.get_full_path()
