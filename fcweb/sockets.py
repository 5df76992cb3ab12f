"""GuardedConsumer: a WebSocket that only people with a permission keep open (MTL-5).

The right is looked up when the socket opens and again on a slow tick; what a socket says is its own business.
"""

from __future__ import annotations

import asyncio

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user_model

FORBIDDEN = 4403


class GuardedConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """One socket of somebody who may see what it tells."""

    permission = ""  # "app.codename"
    recheck_seconds = 15.0  # how often the right is looked up again

    async def is_permitted(self) -> bool:
        """Tell whether the user of this socket has the permission now."""
        user = self.scope.get("user")
        if not user or not user.is_authenticated:
            return False
        return bool(await database_sync_to_async(_may)(user.pk, self.permission))

    async def recheck(self) -> None:
        """Close the socket when the right is taken away; runs as long as it is open."""
        while True:
            await asyncio.sleep(self.recheck_seconds)
            await self.tick()
            if not await self.is_permitted():
                await self.close(code=FORBIDDEN)
                return

    async def tick(self) -> None:
        """Say what is to be said now and then; nothing here."""


def _may(pk: int, permission: str) -> bool:
    user = get_user_model().objects.filter(pk=pk, is_active=True).first()
    return user is not None and user.has_perm(permission)
