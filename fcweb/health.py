"""Health: `/healthz` says that this process answers, `/readyz` that mail can move.

Neither tells an anonymous caller more than names of checks and whether they hold.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

HEARTBEAT_SECONDS = 30  # the transport touches its file every 10 s at the latest
FREE_BYTES = 100 * 1024 * 1024


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 to anybody."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database, disk and transport are well, 503 otherwise, with each check by name."""
    data_dir = Path(settings.DATA_DIR)
    checks = {
        "database": _database_answers(),
        "disk": _disk_has_room(data_dir),
        "transport": _transport_lives(data_dir / "run"),
    }
    well = all(checks.values())
    return JsonResponse({"ready": well, "checks": checks}, status=200 if well else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseError:
        return False


def _disk_has_room(data_dir: Path) -> bool:
    try:
        return shutil.disk_usage(data_dir).free >= FREE_BYTES
    except OSError:
        return False


def _transport_lives(run_dir: Path) -> bool:
    """Tell whether one process runs all stages, or two the halves of `transport --only`."""
    return _beats(run_dir / "transport.heartbeat") or (
        _beats(run_dir / "intake.heartbeat") and _beats(run_dir / "delivery.heartbeat")
    )


def _beats(heartbeat: Path) -> bool:
    try:
        return time.time() - heartbeat.stat().st_mtime <= HEARTBEAT_SECONDS
    except OSError:
        return False
