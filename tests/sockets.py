"""Sockets of tests: the consumers in this process, with the frames they send; users who may open them."""

from __future__ import annotations

import json

from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client

from tracking.consumers import LiveConsumer


def make_watcher(name="desk", *, may=True, permission="view_trackingevent"):
    """Return a user who may watch events, or something else, or nothing."""
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create_user(name, password="x")
    if may:
        user.user_permissions.add(Permission.objects.get(codename=permission))
    return user


def session_cookie(user):
    """Return the cookie of a signed-in user."""
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


class Socket:
    """A socket against the consumer or the whole application, in this process."""

    def __init__(self, user=None, *, app=None, cookie="", origin="http://localhost", path="/ws/live/"):
        headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
        if cookie:
            headers.append((b"cookie", cookie.encode()))
        scope = {"type": "websocket", "path": path, "headers": headers, "query_string": b"", "subprotocols": []}
        if user is not None:
            scope["user"] = user
        self.communicator = ApplicationCommunicator(app or LiveConsumer.as_asgi(), scope)

    async def __aenter__(self):
        await self.communicator.send_input({"type": "websocket.connect"})
        answer = await self.communicator.receive_output(timeout=10)
        self.accepted = answer["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *_error):
        await self.communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.communicator.wait(timeout=10)

    async def ask(self, **content):
        await self.text(json.dumps(content))

    async def text(self, text):
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def any_frame(self, timeout=10):
        return json.loads((await self.communicator.receive_output(timeout=timeout))["text"])

    async def frame(self, kind, timeout=10):
        """Return the next frame of a kind; others before it are passed over."""
        while True:
            found = await self.any_frame(timeout)
            if found["type"] == kind:
                return found

    async def started(self, **content):
        await self.ask(**content)
        await self.frame("state")
