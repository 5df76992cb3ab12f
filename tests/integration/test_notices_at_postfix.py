"""Every kind of notice is taken by a real Postfix, over SMTP, as it stands."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.sample_notices import FAX, HEADER, NOW, SMTP, failed, manner, original, written

_SAMPLE = Path("/usr/share/postfix/master.cf.dist")
_BINARIES = f"{os.environ.get('PATH', '')}:/usr/sbin"


@pytest.fixture(scope="module")
def postfix(tmp_path_factory):
    """A Postfix of this module alone on a free port; it takes mail for fcweb.test and drops it: (port, log)."""
    program = shutil.which("postfix", path=_BINARIES)
    if program is None or not _SAMPLE.is_file():
        pytest.skip("no postfix: install the package postfix")
    if os.getuid() != 0:
        pytest.skip("a Postfix of our own starts as root alone")
    # Short and open to the users Postfix runs as: sockets live below it.
    base = Path(f"/tmp/fcweb-postfix-{uuid.uuid4().hex[:8]}")  # removed below
    for name in ("etc", "queue", "data"):
        (base / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.chown(base / "data", "postfix")
    lines = []
    for line in _SAMPLE.read_text().splitlines():
        words = line.split()
        if words[:2] == ["smtp", "inet"]:
            words[0] = f"127.0.0.1:{port}"
        if len(words) >= 8 and words[1] in {"inet", "unix", "fifo"}:
            words[4] = "n"
            line = " ".join(words)
        lines.append(line)
    (base / "etc" / "master.cf").write_text("\n".join(lines) + "\n")
    (base / "etc" / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {base}/queue\ndata_directory = {base}/data\n"
        f"multi_instance_name = postfix-{base.name}\nmyhostname = mx.fcweb.test\ninet_interfaces = 127.0.0.1\n"
        "inet_protocols = ipv4\nmydestination =\nrelay_domains = fcweb.test\n"
        "transport_maps = inline:{fcweb.test=discard:}\nsmtpd_relay_restrictions = reject_unauth_destination\n"
        f"maillog_file = {base}/log\nmaillog_file_prefixes = /tmp\nalias_maps =\nsmtp_dns_support_level = disabled\n"
    )
    command = [program, "-c", str(base / "etc")]
    env = os.environ | {"PATH": _BINARIES}
    with (base / "out").open("wb") as out:
        subprocess.run([*command, "start"], env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=True)
    for _attempt in range(50):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield port, base / "log"
    with (base / "out").open("ab") as out:
        subprocess.run([*command, "stop"], env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False)
    shutil.rmtree(base, ignore_errors=True)


def letters():
    eight_bit = original(content=HEADER + "Éléments\r\n.\r\n".encode())
    return [
        written(action, fate, about=about, language=language, how=manner(internal_send_html=html))
        for action in ("failed", "delayed", "relayed", "delivered", "expanded")
        for fate in (failed(SMTP, "550 5.1.1 not found", last_attempt_at=NOW), failed(FAX, "550 5.1.2 no connector"))
        for about in (original(), original(content=None), eight_bit)
        for language in ("en", "fr")
        for html in (True, False)
    ]


@pytest.mark.rule("DSN-20", "DSN-30", "DSN-54")
def test_postfix_takes_every_notice(postfix):
    port, log = postfix
    sent = letters()
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        for data in sent:
            options = [] if data.isascii() else ["BODY=8BITMIME"]
            refused = client.sendmail(
                "", ["alice@fcweb.test"], data, mail_options=options, rcpt_options=["NOTIFY=NEVER"]
            )
            assert refused == {}
    for _attempt in range(100):
        done = len(re.findall(r"postfix-\S*/discard\[\d+\]: .*status=sent", log.read_text()))
        if done == len(sent):
            break
        time.sleep(0.1)

    assert (done, len(sent)) == (120, 120)
    assert "warning" not in log.read_text()
