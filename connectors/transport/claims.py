"""Claims: the rows that make taking a file happen once (PU-13, PU-17 to PU-21).

Promises: a claim row is committed before its rename; what a crash leaves is decided by the row alone.
Leaves to neighbours: reading and judging (intake). Crash: `recover` puts back what was never committed and
removes what was; a file that broke two processes becomes `.bad`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from connectors import disk, event_log, owner, spool
from connectors.choices import FileState
from connectors.conf import TransportConfig
from connectors.event_log import Conditions, Event
from connectors.models import Node, SourceFile
from connectors.transport import badmail, rate
from connectors.transport.file_names import free_name
from connectors.transport.scan import Candidate
from fcweb import bulk

logger = logging.getLogger(__name__)
_HELD_AGE = timedelta(minutes=5)  # a batch takes seconds
_STRANGER_AGE = timedelta(seconds=60)  # a .tmp without a row is left alone this long: somebody may be writing it


@dataclass(slots=True, kw_only=True)
class Claim:
    """One file that is ours: renamed to `.tmp`, row in state `claimed`."""

    pk: int
    candidate: Candidate
    claimed_name: str
    crash_count: int


_FIELDS = [
    "id",
    "node",
    "source",
    "directory",
    "name",
    "claimed_name",
    "claimed_by",
    "device",
    "inode",
    "size",
    "modified_ns",
    "owner_uid",
    "sha256",
    "state",
    "crash_count",
    "claimed_at",
    "bad_name",
    "reason",
    "line",
    "text",
    "sender",
    "subject",
]


def suspicious(candidates: Sequence[Candidate]) -> dict[tuple[int, int, int, int], int]:
    """Return crash counts of candidates that broke a process before, by identity (PU-21)."""
    rows = SourceFile.objects.filter(state=FileState.RELEASED, crash_count__gt=0).values_list(
        "device", "inode", "size", "modified_ns", "crash_count"
    )
    known: dict[tuple[int, int, int, int], int] = {}
    for device, inode, size, modified_ns, count in rows:
        identity = (device, inode, size, modified_ns)
        known[identity] = max(count, known.get(identity, 0))
    return {c.identity: known[c.identity] for c in candidates if c.identity in known} if known else {}


def claim(
    candidates: Sequence[Candidate],
    *,
    node: Node,
    source: str,
    directory: Path,
    per_minute: int | None,
    token: str,
    crash_counts: dict[tuple[int, int, int, int], int],
    conditions: Conditions,
    now: datetime,
) -> tuple[list[Claim], list[Candidate]]:
    """Claim as many candidates as the rate allows; return the claims and what is left over. Rules: PU-3, PU-17."""
    with transaction.atomic():
        allowed = rate.budget(node, source, per_minute, now=now)
        chosen = list(candidates) if allowed is None else list(candidates[:allowed])
        left_over = list(candidates[len(chosen) :])
        claims = []
        names: set[str] = set()
        for key, candidate in zip(bulk.allocate_keys(SourceFile, len(chosen)), chosen, strict=True):
            claimed_name = free_name(directory, candidate.name, ".tmp", now)
            if claimed_name in names:
                claimed_name = f"{claimed_name[:-4]}-{key}.tmp"
            names.add(claimed_name)
            count = crash_counts.get(candidate.identity, 0)
            claims.append(Claim(pk=key, candidate=candidate, claimed_name=claimed_name, crash_count=count))
        rows = [_row(item, node=node, source=source, directory=directory, token=token, now=now) for item in claims]
        bulk.insert(SourceFile, _FIELDS, rows)
    return _rename_all(claims, directory=directory, conditions=conditions, now=now), left_over


def _row(item: Claim, *, node: Node, source: str, directory: Path, token: str, now: datetime) -> tuple[object, ...]:
    candidate = item.candidate
    name = os.fsencode(candidate.name).decode("utf-8", "replace")[:255]
    identity = (candidate.device, candidate.inode, candidate.size, candidate.modified_ns, candidate.owner_uid)
    head = (item.pk, node.pk, source, str(directory), name, item.claimed_name, token)
    return (*head, *identity, "", FileState.CLAIMED.value, item.crash_count, now, "", "", 0, "", "", "")


def _rename_all(claims: list[Claim], *, directory: Path, conditions: Conditions, now: datetime) -> list[Claim]:
    """Rename to `.tmp`; a file that went away or cannot be renamed is no longer ours. Rules: PU-8, PU-13, EV-6."""
    held = []
    lost = []
    gone = []
    for item in claims:
        try:
            disk.rename_new(f"{directory}/{item.candidate.name}", f"{directory}/{item.claimed_name}")
        except FileNotFoundError:
            lost.append(item)  # another instance took it, or somebody else did
            gone.append(item)
        except OSError as error:
            lost.append(item)
            conditions.saw(Event.PICKUP_RENAME, f"{item.candidate.name}: {error.strerror}", now=now)
        else:
            held.append(item)
    if lost:
        for item in lost:
            item.candidate.close()
        SourceFile.objects.filter(pk__in=[item.pk for item in lost]).delete()
    for item in gone:
        if not _is_taken(item):
            conditions.saw(Event.FILE_VANISHED, item.candidate.name, now=now)
    return held


def _is_taken(item: Claim) -> bool:
    """Tell whether another instance of ours took the file; `claimed_name` is indexed."""
    inode = {"device": item.candidate.device, "inode": item.candidate.inode}
    return SourceFile.objects.filter(claimed_name=item.claimed_name, **inode).exists()


def put_back(claims: Sequence[Claim], *, directory: Path, now: datetime) -> None:
    """Return claimed files to `.eml`; the rename comes first, so a crash between the two repeats nothing."""
    for item in claims:
        if not _rename_back(directory, item.claimed_name, item.candidate.name, now):
            event_log.raise_event(Event.FILE_VANISHED, str(directory), item.candidate.name, now=now)
        item.candidate.close()
    bulk.update(
        SourceFile,
        ["state", "crash_count", "settled_at"],
        [(FileState.RELEASED.value, item.crash_count, now, item.pk) for item in claims],
    )


def _rename_back(directory: Path, claimed_name: str, name: str, now: datetime) -> bool:
    """Rename a `.tmp` to `.eml`, dated when that is taken (PU-19); tell whether it was there."""
    target = name if name[-4:].lower() == ".eml" else name[:-4] + ".eml"
    try:
        disk.rename_new(directory / claimed_name, directory / target)
    except FileExistsError:
        disk.rename_new(directory / claimed_name, directory / free_name(directory, target, ".eml", now))
    except FileNotFoundError:
        return False
    return True


def recover(*, node: Node, source: str, directory: Path, config: TransportConfig, now: datetime) -> int:
    """Settle what processes that ended left behind; return how many files were put back. Rules: PU-19, PU-21."""
    returned = 0
    held = None
    for row in SourceFile.objects.filter(node=node, source=source, state=FileState.CLAIMED).order_by("id"):
        if not owner.is_alive(config.run_dir, row.claimed_by):
            returned += _recover_claim(row, config=config, now=now)
        elif held is None and now - row.claimed_at > _HELD_AGE:
            held = row
    _tell_held(held, directory=directory, now=now)
    returned += _recover_strangers(node=node, source=source, directory=directory, config=config, now=now)
    return returned


def _tell_held(row: SourceFile | None, *, directory: Path, now: datetime) -> None:
    """Open or close the condition that a live process has kept a `.tmp` for minutes (UP-5)."""
    if row is not None:
        detail = f"{row.claimed_name} process {row.claimed_by} since {row.claimed_at:%Y-%m-%d %H:%M:%S} UTC"
        event_log.raise_event(Event.CLAIM_HELD, str(directory), detail, now=now)
    elif event_log.is_open(Event.CLAIM_HELD, str(directory)):
        event_log.clear_events((Event.CLAIM_HELD,), str(directory), now=now)


def _recover_claim(row: SourceFile, *, config: TransportConfig, now: datetime) -> int:
    """Decide one claim of a dead process: back to `.eml`, or `.bad` when it broke us too often."""
    folder = Path(row.directory)
    if not os.path.lexists(folder / row.claimed_name):
        SourceFile.objects.filter(pk=row.pk, state=FileState.CLAIMED).update(state=FileState.RELEASED, settled_at=now)
        return 0
    count = row.crash_count + 1
    if count >= config.poison_threshold:
        event_log.raise_event(Event.POISON_FILE, row.directory, row.name, now=now)
        row.crash_count = count
        badmail.set_aside_poison(row, now=now)
        return 0
    _rename_back(folder, row.claimed_name, row.name, now)
    SourceFile.objects.filter(pk=row.pk).update(state=FileState.RELEASED, crash_count=count, settled_at=now)
    return 1


def _recover_strangers(*, node: Node, source: str, directory: Path, config: TransportConfig, now: datetime) -> int:
    """Finish `.tmp` files whose outcome is committed; give `.tmp` files nobody claimed back as `.eml`."""
    returned = 0
    finished = []
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.name[-4:] == ".tmp" and entry.name[0] != "."]
    for name in names:
        row = (
            SourceFile.objects.filter(node=node, source=source, directory=str(directory), claimed_name=name)
            .order_by("-id")
            .first()
        )
        path = directory / name
        if row is None or row.state == FileState.RELEASED:
            returned += _return_unclaimed(path, now)
        elif row.state in {FileState.QUEUED, FileState.NOTICE}:
            finished.append(path)
        elif row.state == FileState.BAD:
            badmail.rename_aside(row, now=now)
    _discard_finished(finished, directory=directory, config=config, now=now)
    return returned


def _discard_finished(paths: Sequence[Path], *, directory: Path, config: TransportConfig, now: datetime) -> None:
    """Try again to remove finished `.tmp` files; the condition lasts as long as that fails (EV-4)."""
    try:
        spool.discard(config.spool_dir, paths)
    except OSError as error:
        event_log.raise_event(Event.PICKUP_DELETE, str(directory), str(error), now=now)
    else:
        if event_log.is_open(Event.PICKUP_DELETE, str(directory)):
            event_log.clear_events((Event.PICKUP_DELETE,), str(directory), now=now)


def _return_unclaimed(path: Path, now: datetime) -> int:
    """Rename a `.tmp` without a claim to `.eml` once nobody has written to it for a minute (PU-16, PU-19)."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    age = now.timestamp() - status.st_mtime
    if not stat.S_ISREG(status.st_mode) or age < _STRANGER_AGE.total_seconds():
        return 0
    _rename_back(path.parent, path.name, path.name[:-4] + ".eml", now)
    return 1
