"""Guards: what the views share before they ask anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from connectors.errors import ConfigurationError

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def may(permission: str) -> Callable[[View[P]], View[P]]:
    """Let only people with this permission in; others get the 403 page."""
    return permission_required(permission, raise_exception=True)


def needs_setup(view: View[P]) -> View[P]:
    """Answer with what to do, instead of an error, while `setup` was never run on this server."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except ConfigurationError as error:
            if error.code != "NODE_UNKNOWN":
                raise
            return render(request, "connectors/not_set_up.html", {"problem": str(error)}, status=503)

    return guarded


def key_of(request: HttpRequest, name: str) -> int | None:
    """Return a keyset key of the query string, None when it is missing or no number."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
