"""Gateways: played readers of the drop directories, who collect after a while and answer through Replay.

They take only files of the demo's own traffic, so a demo beside real gateways steals nothing from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

from connectors.demo import traffic
from connectors.mail import replay_format
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.imcea import ImceaError, decode_local

_HEAD_BYTES = 64 * 1024
_DELAY_SECONDS = (2.0, 20.0)  # how long a file lies before a gateway takes it
_STRIKE_SECONDS = (60.0, 240.0)  # how long one stops collecting
_STRIKE_SHARE = 0.004  # chance of that at each file collected
_ANSWERED = 0.5  # share of messages that get a report
_FAILED = 0.12  # share of recipients the far end did not answer


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One connector's gateway; `say` tells the person at the terminal what it does."""

    name: str
    drop: Path
    replay: Path
    fqdn: str
    rng: Random
    say: Callable[[str], None]
    resumes_at: datetime | None = None
    collected: int = 0
    _due: dict[str, datetime] = field(default_factory=dict)  # file name → when it is taken
    _foreign: set[str] = field(default_factory=set)  # files that are not the demo's

    def step(self, now: datetime) -> int:
        """Collect what is due; return the number of files taken. Stops for a while now and then."""
        if self.resumes_at is not None:
            if now < self.resumes_at:
                return 0
            self.resumes_at = None
            self.say(f"{self.name} collects again")
        present = self._present()
        self._due = {name: due for name, due in self._due.items() if name in present}
        self._foreign &= present
        for name in present - self._due.keys() - self._foreign:
            self._due[name] = now + timedelta(seconds=self.rng.uniform(*_DELAY_SECONDS))
        taken = 0
        for name in sorted(name for name, due in self._due.items() if due <= now):
            taken += self._collect(self.drop / name, now)
            if self.rng.random() < _STRIKE_SHARE:
                self.strike(now)
                break
        self.collected += taken
        return taken

    def strike(self, now: datetime) -> None:
        """Stop collecting for some minutes, so that files age and the quota fills."""
        pause = timedelta(seconds=round(self.rng.uniform(*_STRIKE_SECONDS)))
        self.resumes_at = now + pause
        self.say(f"{self.name} stops collecting for {pause.seconds} s")

    def _present(self) -> set[str]:
        try:
            return {path.name for path in self.drop.glob("*.eml") if not path.name.startswith(".")}
        except OSError:
            return set()

    def _collect(self, path: Path, now: datetime) -> int:
        self._due.pop(path.name, None)
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            if traffic.MARK.encode() not in head:
                self._foreign.add(path.name)
                return 0
            path.unlink()
        except FileNotFoundError:
            return 0  # a real gateway was quicker
        envelope, _offset = replay_format.read_block(head)
        if envelope.mail_from and self.rng.random() < _ANSWERED:
            traffic.put(self._report(envelope, now))
        return 1

    def _report(self, envelope: Envelope, now: datetime) -> traffic.Letter:
        """Write the report a fax machine or message centre sends back (RFC 3464), as a Replay file."""
        recipients = [(recipient.address, self.rng.random() >= _FAILED) for recipient in envelope.recipients]
        whole = all(ok for _address, ok in recipients)
        bound = f"report{self.rng.getrandbits(48):012x}"
        lines = [f"{_readable(a)}: {'delivered' if ok else 'no answer after 3 attempts'}" for a, ok in recipients]
        statuses = [
            f"Final-Recipient: rfc822;{address}\r\nAction: {'delivered' if ok else 'failed'}\r\n"
            f"Status: {'2.0.0' if ok else '4.4.1'}\r\n"
            for address, ok in recipients
        ]
        content = (
            f"From: {self.name} gateway <gateway@{self.fqdn}>\r\nTo: <{envelope.mail_from}>\r\n"
            f"Subject: {'Delivered' if whole else 'Not delivered'}: {self.name}\r\nDate: {format_datetime(now)}\r\n"
            f"Message-ID: <{self.rng.getrandbits(64):016x}@{self.fqdn}>\r\n{traffic.MARK}\r\nMIME-Version: 1.0\r\n"
            f'Content-Type: multipart/report; report-type=delivery-status; boundary="{bound}"\r\n\r\n'
            f"--{bound}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" + "\r\n".join(lines) + "\r\n"
            f"--{bound}\r\nContent-Type: message/delivery-status\r\n\r\n"
            f"Reporting-MTA: dns;{self.fqdn}\r\n\r\n" + "\r\n".join(statuses) + f"\r\n--{bound}--\r\n"
        ).encode("ascii", "replace")
        back = Envelope(mail_from="", recipients=(Recipient(address=envelope.mail_from, notify="NEVER"),))
        return traffic.Letter(
            directory=self.replay,
            name=f"report-{self.rng.getrandbits(64):016x}.eml",
            content=replay_format.block(back, content_bytes=len(content)) + content,
        )


def _readable(address: str) -> str:
    try:
        carried = decode_local(address.rpartition("@")[0])
    except ImceaError:
        carried = None
    return str(carried or address)
