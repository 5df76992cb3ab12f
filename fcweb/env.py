"""Typed readers of the environment: every `FCWEB_*` variable passes through here.

A secret may also come from a file named by `<NAME>_FILE`. A value that cannot be read stops the start with
the variable's name and what is expected.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def env_str(name: str, default: str = "") -> str:
    """Return the variable, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def env_bool(name: str, *, default: bool) -> bool:
    """Return a switch: 1/0, true/false, yes/no, on/off."""
    text = env_str(name).strip().lower()
    if not text:
        return default
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={text!r}: expected 1/0, true/false, yes/no or on/off")


def env_int(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number within `low`..`high`."""
    text = env_str(name)
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={text!r}: expected a whole number") from None
    if not low <= number <= high:
        raise ImproperlyConfigured(f"{name}={number}: expected {low} to {high}")
    return number


def env_list(name: str, default: list[str]) -> list[str]:
    """Return a comma-separated list, blanks around entries removed."""
    text = env_str(name)
    return [part.strip() for part in text.split(",") if part.strip()] if text else default


def env_path(name: str, default: Path) -> Path:
    """Return an absolute path; a relative one is taken from the working directory."""
    return Path(env_str(name, str(default))).expanduser().absolute()


def env_secret(name: str) -> str:
    """Return a secret from `name`, or from the file that `<name>_FILE` names; "" when neither is set."""
    file_name = env_str(f"{name}_FILE")
    if file_name:
        try:
            return Path(file_name).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE={file_name!r}: {error.strerror}") from error
    return env_str(name)
