"""Traffic: messages as an office writes them, put into Pickup and Replay through a temp name.

Every number is one that regulators keep free for fiction, every domain is reserved: a demo on a live system
reaches nobody.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from pathlib import Path
from random import Random

from connectors.mail import replay_format
from connectors.mail.address import TypedAddress
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.imcea import encapsulate

MARK = "X-Mailer: fcweb demo"  # the played gateways collect only what bears it

PEOPLE = (
    ("claire.martin", "Claire Martin"),
    ("jules.petit", "Jules Petit"),
    ("helene.lefevre", "Hélène Lefèvre"),
    ("noe.garnier", "Noé Garnier"),
    ("emma.brown", "Emma Brown"),
    ("oliver.jones", "Oliver Jones"),
    ("priya.nair", "Priya Nair"),
    ("erp", "ERP"),
)
GROUP = "orders"
GROUP_MEMBERS = ("claire.martin", "jules.petit", "emma.brown")
_OUTSIDE = ("orders@fabrikam.example", "compta@dupont.example", "lab@hopital-nord.example", "desk@northwind.example")

_FAX = (
    ("Bon de commande n° {n}", "Bonjour,\n\nVeuillez trouver ci-joint le bon de commande n° {n}.\n\nCordialement"),
    ("Ordonnance du patient {n}", "Ordonnance à transmettre à la pharmacie de garde."),
    ("Résiliation du contrat {n}", "Nous vous confirmons la résiliation du contrat {n} à son échéance."),
    ("Purchase order {n}", "Please find attached purchase order {n}.\n\nKind regards"),
    ("Signed contract {n}", "The signed copy of contract {n} is attached, four pages."),
    ("Lab results {n}", "Results of sample {n}; please confirm receipt by return."),
)
_SMS = (
    ("Rappel", "Rappel : votre rendez-vous est demain à 9 h 30. Répondez STOP pour ne plus en recevoir."),
    ("Livraison {n}", "Votre colis {n} arrive aujourd’hui entre 14 h et 16 h."),
    ("Astreinte", "Alarme chaufferie, bâtiment C. Rappelez le 01 99 00 27 43."),
    ("Reminder", "Your appointment is tomorrow at 9:30. Reply STOP to opt out."),
    ("Code", "Your sign-in code is {n}. It is valid for ten minutes."),
    ("On call", "UPS on battery in room 4. Call the desk."),
)
_SAP = (
    ("ORDERS05 {n}", "EDI_DC40  800{n}  ORDERS05  ORDERS  SAPECC  LS  ECCCLNT800"),
    ("INVOIC02 {n}", "EDI_DC40  800{n}  INVOIC02  INVOIC  SAPECC  LS  ECCCLNT800"),
)
_X400 = (
    ("Avis de douane {n}", "Déclaration {n} acceptée, mainlevée accordée."),
    ("Customs notice {n}", "Declaration {n} accepted, goods released."),
)
_BOX = (
    ("Compte rendu de la réunion", "Bonjour,\n\nLe compte rendu est sur le serveur.\n\nBonne journée"),
    ("Minutes of Tuesday", "Hello,\n\nThe minutes are on the server.\n\nRegards"),
)
_X400_PEOPLE = (
    "c=FR;a=Fabrikam;p=Douane;s=Moreau;g=Luc",
    "c=DE;a=Fabrikam;p=Zoll;s=Weber;g=Anna",
    "c=GB;a=Fabrikam;p=Customs;s=Reed;g=Tom",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One file to come: its directory, name and bytes."""

    directory: Path
    name: str
    content: bytes


class Traffic:
    """Writes one message after another; the same `rng` state gives the same messages."""

    def __init__(self, *, rng: Random, domain: str, pickup: Path, replay: Path) -> None:
        self._rng = rng
        self._domain = domain
        self._pickup = pickup
        self._replay = replay
        self._kinds: Sequence[tuple[Callable[[datetime], Letter], int]] = (
            (self._fax, 34),
            (self._sms, 26),
            (self._sap, 12),
            (self._x400, 8),
            (self._mailbox, 7),
            (self._group, 3),
            (self._replayed, 6),
            (self._unroutable, 4),
            (self._bad, 3),
        )

    def next(self, now: datetime) -> Letter:
        """Make one message, dated `now`."""
        make = self._rng.choices([kind for kind, _weight in self._kinds], [weight for _kind, weight in self._kinds])[0]
        return make(now)

    def _fax(self, now: datetime) -> Letter:
        to = [self._fax_address() for _ in range(self._rng.choice((1, 1, 1, 1, 2, 5)))]
        return self._letter(now, to, _FAX, attachment=self._rng.choice((0, 0, 2_000, 20_000, 60_000, 200_000)))

    def _sms(self, now: datetime) -> Letter:
        return self._letter(now, [self._typed("SMS", f"+33639980{self._rng.randint(0, 999):03}")], _SMS)

    def _sap(self, now: datetime) -> Letter:
        to = [self._typed("SAP", f"EDI{self._rng.randint(1, 9):02}/800")]
        return self._letter(now, to, _SAP, sender=f"erp@{self._domain}", lines=self._rng.randint(4, 400))

    def _x400(self, now: datetime) -> Letter:
        return self._letter(now, [self._typed("X400", self._rng.choice(_X400_PEOPLE))], _X400)

    def _mailbox(self, now: datetime) -> Letter:
        to = [f"{self._rng.choice(PEOPLE)[0]}@{self._domain}"]
        return self._letter(now, to, _BOX, sender=self._rng.choice(_OUTSIDE))

    def _group(self, now: datetime) -> Letter:
        return self._letter(now, [f"{GROUP}@{self._domain}"], _FAX)

    def _unroutable(self, now: datetime) -> Letter:
        """Address a type no connector serves, or a mailbox that is not there."""
        to = self._rng.choice((self._typed("TELEX", "842 4041"), f"former.colleague@{self._domain}"))
        return self._letter(now, [to, self._fax_address()][: self._rng.choice((1, 1, 2))], _FAX)

    def _replayed(self, now: datetime) -> Letter:
        """Write what an application hands over with its envelope."""
        sender, to = f"erp@{self._domain}", self._fax_address()
        subject, text = self._rng.choice(_FAX)
        number = self._number()
        content = self._content(now, sender, [to], subject.format(n=number), text.format(n=number))
        envelope = Envelope(mail_from=sender, recipients=(Recipient(address=to),))
        block = replay_format.block(envelope, content_bytes=len(content))
        return Letter(directory=self._replay, name=self._name(), content=block + content)

    def _bad(self, now: datetime) -> Letter:
        """Break a message the way programs do: no sender, no header, a line that is no field."""
        good = self._fax(now)
        head, _blank, body = good.content.partition(b"\r\n\r\n")
        fields = head.split(b"\r\n")
        broken = self._rng.choice(
            (
                b"\r\n".join(f for f in fields if not f.startswith(b"From:")),
                b"\r\n".join([*fields[:2], b"Numero de telecopie 0199002743", *fields[2:]]),
                head.replace(b"From: ", b"From: <<", 1),
            )
        )
        return Letter(directory=good.directory, name=good.name, content=broken + b"\r\n\r\n" + body)

    def _letter(
        self,
        now: datetime,
        to: Sequence[str],
        texts: Sequence[tuple[str, str]],
        *,
        sender: str = "",
        lines: int = 1,
        attachment: int = 0,
    ) -> Letter:
        subject, text = self._rng.choice(texts)
        number = self._number()
        content = self._content(
            now,
            sender or f"{self._rng.choice(PEOPLE[:-1])[0]}@{self._domain}",
            to,
            subject.format(n=number),
            "\n".join([text.format(n=number)] * lines),
            attachment,
        )
        return Letter(directory=self._pickup, name=self._name(), content=content)

    def _content(
        self, now: datetime, sender: str, to: Sequence[str], subject: str, text: str, attachment: int = 0
    ) -> bytes:
        name = next((name for local, name in PEOPLE if sender == f"{local}@{self._domain}"), "")
        shown = f"{Header(name, 'utf-8').encode() if not name.isascii() else name} <{sender}>".strip()
        head = [
            f"From: {shown}",
            f"To: {', '.join(f'<{address}>' for address in to)}".replace(", <", ",\r\n <"),
            f"Subject: {subject if subject.isascii() else Header(subject, 'utf-8').encode()}",
            f"Date: {format_datetime(now)}",
            f"Message-ID: <{self._rng.getrandbits(64):016x}@{self._domain}>",
            MARK,
            "MIME-Version: 1.0",
        ]
        plain = 'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        plain += _base64(text.encode())
        if not attachment:
            return ("\r\n".join(head) + "\r\n" + plain).encode("ascii")
        bound = f"demo{self._rng.getrandbits(48):012x}"
        head.append(f'Content-Type: multipart/mixed; boundary="{bound}"')
        image = "Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n"
        image += 'Content-Disposition: attachment; filename="pages.tif"\r\n\r\n'
        image += _base64(b"II*\0\x08\0\0\0" + self._rng.randbytes(attachment))
        body = f"--{bound}\r\n{plain}--{bound}\r\n{image}--{bound}--\r\n"
        return ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii")

    def _fax_address(self) -> str:
        french = f"+33 1 99 00 {self._rng.randint(10, 99)} {self._rng.randint(10, 99)}"
        return self._typed("FAX", self._rng.choice((french, f"+1 425 555 01{self._rng.randint(0, 99):02}")))

    def _typed(self, kind: str, value: str) -> str:
        return encapsulate(TypedAddress(type=kind, value=value), self._domain)

    def _number(self) -> int:
        return self._rng.randint(100_000, 999_999)

    def _name(self) -> str:
        return f"demo-{self._rng.getrandbits(64):016x}.eml"


def put(letter: Letter) -> Path:
    """Write a file under a temp name and rename it, as every writer should (PU-3); return its path."""
    path = letter.directory / letter.name
    temp = path.with_suffix(".part")
    try:
        temp.write_bytes(letter.content)
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    return path


def _base64(data: bytes) -> str:
    return base64.encodebytes(data).decode("ascii").replace("\n", "\r\n")
