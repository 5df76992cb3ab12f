"""Content: what couriers read of a message from the spool, and what an unreadable one means for it (QR-24).

A file that is there and cannot be read concerns its message alone: it waits, the others of its queue go. A file that is
gone is another matter: `delivery` fails its message at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from connectors.choices import Refusal
from connectors.transport.couriers.base import ItemDeferral
from connectors.transport.leasing import LeasedItem

logger = logging.getLogger(__name__)
_Read = TypeVar("_Read")


def read(item: LeasedItem, reader: Callable[[], _Read], deferred: list[ItemDeferral]) -> _Read | None:
    """Return what `reader` makes of an item's spool file; None, and a deferral, when it cannot be read now.

    `reader` must read nothing else. Raises FileNotFoundError for a file that is gone.
    """
    try:
        return reader()
    except FileNotFoundError:
        raise
    except OSError as error:
        logger.error("content cannot be read", extra={"spool_name": item.message.spool_name, "error": str(error)})
        text = f"451 4.3.0 Message content cannot be read: {error.strerror or error}"
        deferred.append(ItemDeferral(item=item, text=text, context=Refusal.CONTENT_UNREADABLE.value))
        return None
