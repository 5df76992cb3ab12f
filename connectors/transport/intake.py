"""Intake: the engine Pickup and Replay share: claim, read, judge, settle (PU-11 to PU-22, RP-1).

Promises: every claimed file ends in exactly one of queued, notice, `.bad` or back to `.eml`; one sync and one
commit a batch. Leaves to neighbours: what a file must contain (`reader`), routing.
Crash: `claims.recover` decides by the row; a file read a second time is known by its source key.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from connectors import event_log, spool
from connectors.choices import FileState, SourceKind
from connectors.conf import TransportConfig
from connectors.event_log import Conditions, Event
from connectors.mail import replay_format
from connectors.mail.verdict import Draft, Fate, Rejection
from connectors.models import Message, Node, SourceFile
from connectors.transport import badmail, claims, refusals, repeats, replay_audit, submission
from connectors.transport.claims import Claim
from connectors.transport.file_names import free_name
from connectors.transport.scan import Scanner
from connectors.transport.submission import Submission
from fcweb import bulk
from tracking import record

logger = logging.getLogger(__name__)

Reader = Callable[[bytes, int], Draft | Rejection]  # bytes as dropped, owner uid
MayNotify = Callable[[int, str], bool]  # owner uid, sender of the file
_CONDITIONS = (Event.PICKUP_READ, Event.PICKUP_RENAME, Event.FILE_VANISHED, Event.FILE_STUCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What differs between Pickup and Replay."""

    node: Node
    stage: str  # "Pickup" or "Replay"
    directory: Path
    per_minute: int | None
    reader: Reader
    may_notify: MayNotify  # whether a refused file may be returned to its sender
    domain: str  # default accepted domain, for generated Message-IDs

    @property
    def source(self) -> str:
        """Tracking source and SourceFile.source."""
        return self.stage.upper()


@dataclass(slots=True, kw_only=True)
class Judged:
    """One claimed file after reading."""

    claim: Claim
    sha256: str
    source_key: str
    verdict: Submission | Rejection | None  # None: read before, nothing to do but to remove the file


class Intake:
    """One watched directory; `run_once` takes one batch."""

    def __init__(self, door: Door, *, config: TransportConfig, token: str) -> None:
        self.door = door
        self.closed: set[str] = set()  # names inotify saw closed after writing or moved in
        self._config = config
        self._token = token
        self._conditions = Conditions(str(door.directory), _CONDITIONS, patience=2 * config.poll_interval)
        self._scanner = Scanner(
            door.directory,
            settle=timedelta(seconds=door.node.settle_seconds),
            empty_age=config.empty_file_age,
        )
        self.throttled_until: datetime | None = None
        self._tells: Callable[[str], bool] | None = None  # asked of the first refused file of a batch

    def next_due(self) -> datetime | None:
        """Return when a file left alone, or a used-up rate, is worth another look."""
        times = [time for time in (self._scanner.next_due(), self.throttled_until) if time is not None]
        return min(times, default=None)

    def run_once(self, now: datetime) -> int:
        """Take one batch; return the number of files that left the directory."""
        taken = self._take_batch(now)
        stuck = self._scanner.stuck
        told = stuck.told()
        if told is not None:
            self._conditions.saw(Event.FILE_STUCK, told[0], now=now, since=told[1])
        if self._scanner.is_exhausted():
            self._conditions.settle(now=now, lasting=(Event.FILE_STUCK,) if stuck else ())
        return taken

    def _take_batch(self, now: datetime) -> int:
        door = self.door
        try:
            candidates = self._scanner.take(
                self._config.batch, limit_bytes=self._config.batch_bytes, now=now, closed=self.closed
            )
        except OSError as error:
            self._conditions.saw(Event.PICKUP_READ, str(error), now=now)
            return 0
        if not candidates:
            return 0
        crash_counts = claims.suspicious(candidates)
        if crash_counts:
            # A file that broke a process is read alone, so that a second crash names the culprit (PU-21).
            alone = next(c for c in candidates if c.identity in crash_counts)
            self._scanner.give_back([c for c in candidates if c is not alone])
            candidates = [alone]
        held, left_over = claims.claim(
            candidates,
            node=door.node,
            source=door.source,
            directory=door.directory,
            per_minute=door.per_minute,
            token=self._token,
            crash_counts=crash_counts,
            conditions=self._conditions,
            now=now,
        )
        self._scanner.give_back(left_over)
        self.throttled_until = now + timedelta(seconds=1) if left_over else None
        if not held:
            return 0
        try:
            judged, bad_rows = self._take(held, now)
        except Exception:
            # Database down, disk full, a bug: nothing of this batch is settled, everything goes back (PU-53).
            claims.put_back(held, directory=door.directory, now=now)
            raise
        self._follow(judged, bad_rows, now)
        return len(judged)

    def _take(self, held: list[Claim], now: datetime) -> tuple[list[Judged], list[SourceFile]]:
        self._tells = None
        judged = []
        waiting = []
        unfinished = []
        for claim in held:
            result = self._judge(claim, now)
            if result is None:
                waiting.append(claim)
            elif isinstance(result.verdict, Rejection) and result.verdict.fate is Fate.WAIT:
                unfinished.append(result)
            else:
                judged.append(result)
        seen = self._seen_unfinished(unfinished, now)
        judged.extend(item for item in unfinished if item.claim.candidate.identity in seen)
        waiting.extend(item.claim for item in unfinished if item.claim.candidate.identity not in seen)
        if waiting:
            claims.put_back(waiting, directory=self.door.directory, now=now)
            for claim in waiting:
                self._scanner.wait_for(claim.candidate.name, now + self._config.poll_interval)
        return judged, self._settle(judged, now)

    def _judge(self, claim: Claim, now: datetime) -> Judged | None:
        """Read one file and decide; None sends it back for another poll (PU-9, PU-49)."""
        candidate = claim.candidate
        limit = self.door.node.max_message_bytes
        try:
            too_big = limit is not None and candidate.size > limit
            data = _read(candidate.descriptor, refusals.HEAD_BYTES if too_big else candidate.size)
            if too_big and self._entered_smaller(data, claim, limit):
                too_big = False
                data = _read(candidate.descriptor, candidate.size)
            status = os.fstat(candidate.descriptor)
            if (status.st_size, status.st_mtime_ns) != (candidate.size, candidate.modified_ns):
                return None
            digest = hashlib.sha256(data).hexdigest()
            verdict = self._verdict(data, claim, digest, too_big=too_big, now=now)
        except Exception:
            # A message of a kind nobody foresaw must not stop the others: it is counted as a crash of its own.
            logger.exception("file could not be judged", extra={"file": candidate.name})
            return self._crashed(claim, now)
        finally:
            candidate.close()
        return Judged(claim=claim, sha256=digest, source_key=_source_key(claim, digest), verdict=verdict)

    def _seen_unfinished(self, items: Sequence[Judged], now: datetime) -> set[tuple[int, int, int, int]]:
        """Return the identities that were put back unfinished a poll ago and did not change since (PU-49)."""
        if not items:
            return set()
        rows = SourceFile.objects.filter(
            claimed_name__in=[item.claim.claimed_name for item in items],
            state=FileState.RELEASED,
            settled_at__lte=now - self._config.poll_interval,
        )
        return set(rows.values_list("device", "inode", "size", "modified_ns"))

    def _entered_smaller(self, head: bytes, claim: Claim, limit: int | None) -> bool:
        """Tell whether a file over the limit was within it when it entered the organisation (QL-20)."""
        draft = self.door.reader(head, claim.candidate.owner_uid)
        if not isinstance(draft, Draft) or not draft.has_org_headers:
            return False
        size = replay_format.original_size(b"".join(draft.header_fields) + b"\r\n")
        return size is not None and limit is not None and size <= limit

    def _crashed(self, claim: Claim, now: datetime) -> Judged | None:
        claim.crash_count += 1
        if claim.crash_count < self._config.poison_threshold:
            return None
        event_log.raise_event(Event.POISON_FILE, str(self.door.directory), claim.candidate.name, now=now)
        poison = Rejection(fate=Fate.BAD, reason="POISON")
        return Judged(claim=claim, sha256="", source_key=_source_key(claim, ""), verdict=poison)

    def _verdict(
        self, data: bytes, claim: Claim, digest: str, *, too_big: bool, now: datetime
    ) -> Submission | Rejection:
        """Read a file; what would be returned to a sender who may not be told is a bad file (A-26)."""
        door = self.door
        uid = claim.candidate.owner_uid
        result = door.reader(data, uid)
        refusal = None
        if isinstance(result, Rejection):
            if result.fate is not Fate.NOTICE:
                return result
            if not door.may_notify(uid, result.originator):
                return replace(result, fate=Fate.BAD)
            result, refusal = refusals.as_draft(result, data=data, is_whole=not too_big, file_name=claim.candidate.name)
        elif too_big and not door.may_notify(uid, result.envelope.mail_from):
            return refusals.as_bad(result, "MESSAGE_TOO_BIG")
        elif too_big:
            result, refusal = refusals.too_big(result, claim.candidate.name)
        else:
            refusal = refusals.looping(result, claim.candidate.name, door.node)
        if refusal is not None:
            self._tells = self._tells or refusals.tells_failures(door.node)
            rejection = refusals.untellable(result, tells=self._tells)
            if rejection is not None:
                return rejection
        return submission.from_draft(
            result,
            node=door.node,
            domain=door.domain,
            stage=door.stage,
            now=now,
            source_file=os.fsencode(claim.candidate.name).decode("utf-8", "replace"),
            source_key=_source_key(claim, digest),
            owner_uid=claim.candidate.owner_uid,
            refusal=refusal,
        )

    def _settle(self, judged: list[Judged], now: datetime) -> list[SourceFile]:
        """Make the batch durable and commit it; return the rows of bad files. Rules: PU-18."""
        if not judged:
            return []
        door = self.door
        known = Message.objects.filter(source_key__in=[item.source_key for item in judged]).values_list(
            "source_key", "pk"
        )
        seen = {str(key): pk for key, pk in known}
        fresh = [item for item in judged if isinstance(item.verdict, Submission) and item.source_key not in seen]
        submissions = [item.verdict for item in fresh if isinstance(item.verdict, Submission)]
        if door.source == SourceKind.REPLAY:
            submissions = repeats.marked(submissions, now=now)
        spooled = submission.spool_all(submissions, config=self._config, now=now)
        with transaction.atomic():
            if door.source == SourceKind.REPLAY:
                replay_audit.write([_audited(item) for item in judged], now=now)
            keys = submission.insert(spooled, node=door.node, config=self._config, now=now)
            by_key = dict(zip((item.source_key for item in fresh), keys, strict=True)) | seen
            _settle_taken(judged, by_key, now)
            return self._settle_bad(judged, now)

    def _settle_bad(self, judged: Sequence[Judged], now: datetime) -> list[SourceFile]:
        """Mark the rejected files bad, with BADMAIL events; in the caller's transaction."""
        rejected = {item.claim.pk: item for item in judged if isinstance(item.verdict, Rejection)}
        rows = list(SourceFile.objects.filter(pk__in=list(rejected)).select_related("node"))
        events = []
        for row in rows:
            item = rejected[row.pk]
            assert isinstance(item.verdict, Rejection)
            verdict = item.verdict
            row.state = FileState.BAD
            row.sha256 = item.sha256
            row.settled_at = now
            row.bad_name = free_name(self.door.directory, item.claim.candidate.name, ".bad", now)
            row.reason = verdict.reason
            row.line = verdict.line
            row.text = submission.clean(verdict.text, 400)
            row.sender = submission.clean(verdict.originator or verdict.sender, 600)
            row.subject = submission.clean(verdict.subject, 1000)
            row.crash_count = item.claim.crash_count
            recipients = [(submission.clean(r.address, 600), "") for r in verdict.recipients]
            message_id = submission.clean(verdict.message_id, 998)
            events.append(badmail.badmail_event(row, recipients=recipients, message_id=message_id, now=now))
        fields = ["state", "sha256", "settled_at", "bad_name", "reason", "line", "text", "sender", "subject"]
        SourceFile.objects.bulk_update(rows, [*fields, "crash_count"])
        record.save(events)
        return rows

    def _follow(self, judged: Sequence[Judged], bad_rows: Sequence[SourceFile], now: datetime) -> None:
        """After the commit: taken files disappear, bad files get their name. Repeated by recovery after a crash."""
        directory = self.door.directory
        taken = [f"{directory}/{item.claim.claimed_name}" for item in judged if not isinstance(item.verdict, Rejection)]
        try:
            spool.discard(self._config.spool_dir, taken)
        except OSError as error:
            event_log.raise_event(Event.PICKUP_DELETE, str(directory), str(error), now=now)
        for row in bad_rows:
            badmail.rename_aside(row, now=now)


def _settle_taken(judged: Sequence[Judged], keys: dict[str, int], now: datetime) -> None:
    """Mark the taken files queued or returned; in the caller's transaction."""
    rows = []
    for item in judged:
        if isinstance(item.verdict, Rejection):
            continue
        refused = item.verdict is not None and item.verdict.refusal is not None
        state = FileState.NOTICE if refused else FileState.QUEUED
        rows.append((state.value, item.sha256, now, keys[item.source_key], item.claim.pk))
    bulk.update(SourceFile, ["state", "sha256", "settled_at", "message"], rows)


def _audited(item: Judged) -> replay_audit.ReplayFile:
    """Return what the audit trail says of one Replay file (RP-8)."""
    verdict = item.verdict
    candidate = item.claim.candidate
    envelope = verdict.envelope if isinstance(verdict, Submission) else None
    rejection = verdict if isinstance(verdict, Rejection) else None
    return replay_audit.ReplayFile(
        pk=item.claim.pk,
        name=os.fsencode(candidate.name).decode("utf-8", "replace"),
        owner_uid=candidate.owner_uid,
        sha256=item.sha256,
        mail_from=envelope.mail_from if envelope else rejection.originator if rejection else "",
        recipients=envelope.recipients if envelope else rejection.recipients if rejection else (),
        created_by=envelope.created_by if envelope else "",
        reason=rejection.reason if rejection else "",
        warnings=verdict.warnings if isinstance(verdict, Submission) else (),
    )


def _read(descriptor: int, size: int) -> bytes:
    """Read up to `size` bytes from the start of an open file."""
    data = os.pread(descriptor, size, 0)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), len(data))
        if not more:
            break
        data += more
    return data


def _source_key(claim: Claim, digest: str) -> str:
    """Return the identity of a dropped file: the same file read twice is one submission (PU-18, UP-4)."""
    device, inode, size, modified_ns = claim.candidate.identity
    text = f"{device}:{inode}:{size}:{modified_ns}:{digest}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
