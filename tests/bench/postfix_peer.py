"""A private Postfix: SMTP in, Maildir out, defaults otherwise; needs root and the package postfix."""

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from process_meter import Meter

SESSIONS = 8
DOMAIN = "bench.test"


def is_installed() -> bool:
    """Tell whether a private Postfix can be started here."""
    return os.geteuid() == 0 and shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin") is not None


class Postfix:
    """One instance below `home`, listening on a free port of the loopback; use it as a context manager."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.maildir = home / "mail" / "user" / "new"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def __enter__(self) -> "Postfix":
        user = pwd.getpwnam("postfix")
        etc = self._home / "etc"
        for name in ("etc", "queue", "data", "mail", "log"):
            (self._home / name).mkdir(parents=True)
        nobody = pwd.getpwnam("nobody")
        os.chown(self._home / "data", user.pw_uid, user.pw_gid)
        os.chown(self._home / "mail", nobody.pw_uid, nobody.pw_gid)
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = []
        for line in master.splitlines():
            words = line.split()
            if len(words) >= 8 and not line.startswith(("#", " ")):
                words[4] = "n"
                if words[0] == "smtp" and words[1] == "inet":
                    words[0] = f"127.0.0.1:{self._port}"
                line = "\t".join(words)
            lines.append(line)
        (etc / "master.cf").write_text("\n".join(lines) + "\n")
        (etc / "main.cf").write_text(
            f"""compatibility_level = 3.6
queue_directory = {self._home}/queue
data_directory = {self._home}/data
maillog_file = {self._home}/log/mail.log
maillog_file_prefixes = {self._home}
multi_instance_name = postfix-bench
multi_instance_enable = yes
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.bench.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
alias_database =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = {self._home}/mail
virtual_mailbox_maps = static:user/
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
message_size_limit = 20480000
virtual_mailbox_limit = 0
"""
        )
        self._run("start")
        self._master = self._master_pid()
        return self

    def __exit__(self, *error: object) -> None:
        self._run("stop")

    def _run(self, verb: str) -> None:
        with (self._home / "log" / f"{verb}.out").open("wb") as out:
            subprocess.run(
                ["/usr/sbin/postfix", "-c", self._home / "etc", verb], check=True, stdout=out, stderr=subprocess.STDOUT
            )

    def _master_pid(self) -> int:
        pid_file = self._home / "queue" / "pid" / "master.pid"
        for _attempt in range(100):
            if pid_file.exists() and pid_file.read_text().strip():
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                        return int(pid_file.read_text())
            time.sleep(0.1)
        raise RuntimeError(f"Postfix did not start: {(self._home / 'log' / 'start.out').read_text()}")

    def deliver(self, files: list[Path]) -> tuple[float, float, float]:
        """Send all files over 8 sessions; return seconds until all are in the Maildir, CPU seconds, peak MB."""
        batches = [[_smtp_data(path.read_bytes()) for path in files[start::SESSIONS]] for start in range(SESSIONS)]
        meter = Meter(self._master)
        began = time.perf_counter()
        threads = [threading.Thread(target=self._send, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while not self.maildir.is_dir() or len(os.listdir(self.maildir)) < len(files):
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        cpu, peak = meter.stop()
        return seconds, cpu, peak

    def _send(self, batch: list[bytes]) -> None:
        """Speak SMTP with pipelining: one write for the envelope, one for the data."""
        with socket.create_connection(("127.0.0.1", self._port)) as link:
            reader = link.makefile("rb")
            _reply(reader)
            link.sendall(b"EHLO client.bench.test\r\n")
            _reply(reader)
            for data in batch:
                link.sendall(b"MAIL FROM:<sender@fcweb.test>\r\nRCPT TO:<user@" + DOMAIN.encode() + b">\r\nDATA\r\n")
                for _line in range(3):
                    _reply(reader)
                link.sendall(data)
                _reply(reader)
            link.sendall(b"QUIT\r\n")


def _smtp_data(content: bytes) -> bytes:
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def _reply(reader) -> None:
    while True:
        line = reader.readline()
        if line[:1] not in b"23":
            raise RuntimeError(f"Postfix said {line!r}")
        if line[3:4] != b"-":
            return
