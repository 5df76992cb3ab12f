"""Guards: what the views share before they ask anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponseNotAllowed, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from connectors import routing_table
from connectors.errors import ConfigurationError
from connectors.models import Node

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def may(permission: str) -> Callable[[View[P]], View[P]]:
    """Let only people with this permission in; others get the 403 page."""
    return permission_required(permission, raise_exception=True)


def allows(request: HttpRequest) -> Callable[[str], bool]:
    """Return a question: has whoever asks this permission? "" is no permission and allowed to all."""
    return lambda permission: not permission or request.user.has_perm(permission)


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


def acts_from(page: str) -> Callable[[View[P]], View[P]]:
    """Let only POST act; a GET, as after signing in again or choosing a language, goes to the page it acts from."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method in {"GET", "HEAD"}:
                return redirect(reverse(page, args=args, kwargs=kwargs))
            if request.method != "POST":
                return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def server_of(asked: QueryDict) -> Node:
    """Return the server that a form or an address names, this one when it names none; 404 when there is no such."""
    name = asked.get("server", "")
    return get_object_or_404(Node, name=name) if name else routing_table.local_node()


def key_of(request: HttpRequest, name: str) -> int | None:
    """Return a keyset key of the query string, None when it is missing or no number."""
    return as_key(request.GET.get(name, ""))


def as_key(text: str) -> int | None:
    """Return a key from outside as a number, None when no row can have it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
