"""Drop directories: where a connector's files go, whether that works, and how full it is (FC-10 to FC-17, DR-1 to DR-11).

The directory is never made silently; `create` is the explicit action (FC-13).
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connectors import disk
from connectors.errors import ConfigurationError
from connectors.models import ForeignConnector, Node

_FORBIDDEN = set('/\\:*?"<>|')
_LONGEST_NAME = 255  # bytes of one name, bytes of a whole path (FC-16)
_LONGEST_PATH = 4096
_FILE_NAME = 80  # room for the name of a message file and its temp forms
WINDOWS_PATH = 246  # characters a directory path may have when it is also shared by SMB (FC-16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step of a directory test."""

    code: str  # exists, directory, write, rename, delete, same-disk, space, quota
    state: str  # ok, warn or fail
    text: str  # a sentence
    cure: str = ""  # exact shell command, when there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What lies in a drop directory (DR-29)."""

    bytes: int
    files: int
    oldest: datetime | None  # modification time of the oldest waiting file


def root(node: Node) -> Path:
    """Return the root drop directory of a node; blank means the drop folder of the data directory (FC-12)."""
    return Path(node.root_drop_directory_path) if node.root_drop_directory_path else Path(settings.DATA_DIR) / "drop"


def effective_path(connector: ForeignConnector, node: Node) -> Path:
    """Return where files of a connector are written on a node; ConfigurationError when that is unsafe.

    Rules: FC-10 to FC-12, FC-E8, FC-E9, DR-1 to DR-5, DR-10.
    """
    name = connector.drop_directory or connector.name
    is_absolute = name.startswith("/")
    encoded = os.fsencode(name if is_absolute else root(node) / name)
    if max(map(len, encoded.split(b"/"))) > _LONGEST_NAME or len(encoded) + _FILE_NAME > _LONGEST_PATH:
        raise ConfigurationError(
            _("The path of the drop directory is too long: 255 bytes a name, 4096 bytes in all."),
            code="DROP_PATH_UNSAFE",
            rule="FC-16",
        )
    return _absolute(name, node) if is_absolute else _below_root(name, node)


def _absolute(name: str, node: Node) -> Path:
    """Return an absolute drop directory: only without a root, below the allowed roots (FC-11, DR-4, DR-5, AM-2)."""
    if node.root_drop_directory_path:
        raise ConfigurationError(
            _("An absolute drop directory is not allowed while a root drop directory is set."),
            code="DROP_ROOT_CONFLICT",
            rule="DR-5",
        )
    if ".." in Path(name).parts or not name.isprintable():
        raise _unsafe(name)
    path = Path(name)
    real = path.resolve()
    allowed = [Path(root).resolve() for root in settings.FCWEB_DROP_ROOTS]
    if allowed and not any(real.is_relative_to(root) for root in allowed):
        raise ConfigurationError(
            _("%(path)s is not below a directory of FCWEB_DROP_ROOTS.") % {"path": name},
            code="DROP_PATH_UNSAFE",
            rule="AM-2",
        )
    ours = [node.pickup_directory_path, node.replay_directory_path, str(Path(settings.DATA_DIR) / "spool")]
    if any(taken and real.is_relative_to(Path(taken).resolve()) for taken in ours):
        raise ConfigurationError(
            _("%(path)s belongs to fcweb itself: files written there would be taken again.") % {"path": name},
            code="DROP_PATH_UNSAFE",
            rule="FC-E9",
        )
    return path


def _below_root(name: str, node: Node) -> Path:
    """Return a directory below the root; its name is one safe file name (DR-1 to DR-3, DR-10)."""
    if name.startswith("\\\\"):
        raise ConfigurationError(
            _("A network share must be mounted first; give the path it is mounted on."),
            code="DROP_PATH_UNSAFE",
            rule="DR-10",
        )
    if _FORBIDDEN & set(name) or name in {".", ".."} or name.strip(" .") != name or not name.isprintable():
        raise _unsafe(name)
    base = root(node)
    path = base / name
    if path.is_symlink() and not path.resolve().is_relative_to(base.resolve()):
        raise _unsafe(name)
    return path


def _unsafe(name: str) -> ConfigurationError:
    return ConfigurationError(
        _("“%(name)s” is not a safe directory name below the root.") % {"name": name},
        code="DROP_PATH_UNSAFE",
        rule="FC-E9",
    )


def create(connector: ForeignConnector, node: Node) -> Path:
    """Make the directory on request: group-readable, files keep its group (FC-13)."""
    path = effective_path(connector, node)
    path.mkdir(mode=0o2770, parents=True, exist_ok=True)
    path.chmod(0o2770)
    disk.sync_directory(path.parent)
    return path


def usage(path: Path) -> Usage:
    """Add up the regular files directly inside; raises OSError when the directory cannot be read (DR-29)."""
    total = files = 0
    oldest: float | None = None
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                if not entry.is_file(follow_symlinks=False):
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            total += status.st_size
            if not entry.name.startswith("."):
                files += 1
                oldest = status.st_mtime if oldest is None else min(oldest, status.st_mtime)
    return Usage(bytes=total, files=files, oldest=datetime.fromtimestamp(oldest, UTC) if oldest is not None else None)


def check(connector: ForeignConnector, node: Node) -> tuple[Check, ...]:
    """Test a directory step by step, as each delivery will use it; stops at the first failure (DR-11, FC-W1)."""
    try:
        path = effective_path(connector, node)
    except ConfigurationError as error:
        return (Check(code="path", state="fail", text=str(error)),)
    if not path.exists():
        text = _("%(path)s does not exist; messages wait until it does.") % {"path": path}
        return (Check(code="exists", state="fail", text=text, cure=f"install -d -m 2770 '{path}'"),)
    checks = [Check(code="exists", state="ok", text=_("%(path)s exists.") % {"path": path})]
    if not path.is_dir():
        return (*checks, Check(code="directory", state="fail", text=_("%(path)s is not a directory.") % {"path": path}))
    problem = _try_cycle(path)
    if problem is not None:
        return (*checks, problem)
    checks.append(Check(code="write", state="ok", text=_("A test file was written, renamed and deleted.")))
    return (*checks, _same_disk(path), _quota(connector, path))


def _try_cycle(path: Path) -> Check | None:
    first = path / f".{uuid.uuid4()}.probe"
    second = first.with_suffix(".probed")
    try:
        disk.write_batch(path, [(first.name, (b"fcweb\r\n",))], mode="fsync")
        disk.rename_new(first, second)
        second.unlink()
    except OSError as error:
        disk.unlink_all([first, second])
        text = _("A test file cannot be written, renamed and deleted in %(path)s: %(error)s") % {
            "path": path,
            "error": error.strerror,
        }
        return Check(
            code="write", state="fail", text=text, cure=f"chown {os.geteuid()} '{path}' && chmod u+rwx '{path}'"
        )
    return None


def _same_disk(path: Path) -> Check:
    spool = Path(settings.DATA_DIR)
    if spool.exists() and os.stat(spool).st_dev == os.stat(path).st_dev:
        return Check(
            code="same-disk", state="ok", text=_("Same file system as the spool: files are linked, not copied.")
        )
    return Check(code="same-disk", state="warn", text=_("Another file system than the spool: files are copied."))


def _quota(connector: ForeignConnector, path: Path) -> Check:
    used = usage(path)
    if connector.drop_directory_quota is None:
        text = ngettext("%(files)d file waits for the gateway.", "%(files)d files wait for the gateway.", used.files)
        text %= {"files": used.files}
        return Check(code="quota", state="ok", text=text)
    full = used.bytes >= connector.drop_directory_quota
    text = _("%(used)d of %(quota)d bytes are used.") % {"used": used.bytes, "quota": connector.drop_directory_quota}
    return Check(code="quota", state="fail" if full else "ok", text=text)


def trouble_detail(connector_name: str, node: Node, text: str) -> str:
    """Return what an event about a drop directory carries: the error, its path, and the quota in MB (EV-7, EV-8)."""
    connector = ForeignConnector.objects.filter(name=connector_name).first()
    if connector is None:
        return text
    try:
        facts = [text, str(effective_path(connector, node))]
    except ConfigurationError as error:
        return f"{text}; {error.code}"
    if connector.drop_directory_quota is not None:
        facts.append(f"quota {connector.drop_directory_quota / 1024**2:g} MB")
    return "; ".join(facts)
