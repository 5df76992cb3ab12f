"""HTTP and WebSocket entry point. Sockets need a session and an allowed origin."""

from __future__ import annotations

import gc
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
http_application = get_asgi_application()

from connectors.websocket_urls import websocket_urlpatterns as queue_sockets  # noqa: E402 (needs the app registry)
from tracking.websocket_urls import websocket_urlpatterns as event_sockets  # noqa: E402 (needs the app registry)

application = ProtocolTypeRouter(
    {
        "http": http_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([*queue_sockets, *event_sockets]))),
    }
)

gc.collect()
gc.freeze()  # what is loaded now stays: a full collection, which holds up every page and socket, need not look at it
