"""FcwebError and its kinds: each carries a stable code and, where one exists, the rule it rests on."""

from __future__ import annotations


class FcwebError(Exception):
    """Something a person or a caller can act on; args[0] is a translated sentence.

    `code` is stable (e.g. "CONNECTOR_NAME_EXISTS"), `rule` a specification id or "".
    """

    def __init__(self, message: str, *, code: str, rule: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.rule = rule


class ConfigurationError(FcwebError):
    """A configuration that cannot be saved or resolved. Rules: FC-E1 to FC-E12."""
