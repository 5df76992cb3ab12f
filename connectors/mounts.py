"""Mounts: what kind of file system a directory is on, from the kernel's table (PU-65)."""

from __future__ import annotations

import os
import re
from pathlib import Path

# File systems whose rename is not one indivisible step, or that keep files in an object store.
NOT_ATOMIC = frozenset(
    "vfat msdos exfat fuse.s3fs fuse.goofys fuse.rclone fuse.gcsfuse fuse.mountpoint-s3 fuse.davfs fuse.sshfs "
    "fuse.curlftpfs fuse.gvfsd-fuse".split()
)
NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph gfs2 ocfs2 lustre glusterfs fuse.glusterfs fuse.ceph virtiofs".split()
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system(path: str, *, table: str | None = None) -> str:
    """Return the type of the file system that holds `path`, "" when the kernel does not say.

    `table` has the form of /proc/self/mountinfo, which is read when it is None.
    """
    if table is None:
        try:
            table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in table.splitlines():
        left, _dash, right = line.partition(" - ")
        columns = left.split()
        if len(columns) < 5 or not right:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), columns[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point hides the earlier one
            best, kind = point, right.split()[0]
    return kind
