"""WebSocket route table."""

from __future__ import annotations

from django.urls import path

from connectors.consumers import QueueConsumer

websocket_urlpatterns = [path("ws/queues/", QueueConsumer.as_asgi())]
