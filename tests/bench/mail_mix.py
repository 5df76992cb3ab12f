"""The mail the benchmarks move: 80 % 2 KB of text, 15 % 20 KB and 5 % 200 KB with an attachment."""

import base64
import random
from pathlib import Path

SIZES = ((80, 2_000), (95, 20_000), (100, 200_000))  # upper percentile, bytes


def write_mix(directory: Path, count: int, *, recipient: str, seed: int = 7) -> int:
    """Write `count` messages named 000000.eml and up; return their total size in bytes.

    `recipient` may hold one %d for the number of the message.
    """
    source = random.Random(seed)
    noise = base64.encodebytes(source.randbytes(160_000)).replace(b"\n", b"\r\n")
    words = [source.choice(["fax", "order", "offre", "livraison", "invoice", "number"]) for _ in range(400)]
    text = "".join(f"{' '.join(words[start : start + 10])}\r\n" for start in range(0, 400, 10)).encode()
    total = 0
    for number in range(count):
        size = next(size for bound, size in SIZES if number % 100 < bound)
        to = recipient % number if "%d" in recipient else recipient
        head = (
            f"From: sender{number % 50}@fcweb.test\r\nTo: {to}\r\nSubject: Benchmark message {number}\r\n"
            f"Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{number}.{seed}@bench.test>\r\nMIME-Version: 1.0\r\n"
        ).encode()
        if size == SIZES[0][1]:
            data = head + b"Content-Type: text/plain\r\n\r\n" + (text * 2)[: size - len(head) - 30]
        else:
            data = (
                head
                + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nSee the attachment.\r\n'
                + b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + noise[: size - len(head) - 250]
                + b"\r\n--b--\r\n"
            )
        (directory / f"{number:06d}.eml").write_bytes(data)
        total += len(data)
    return total
