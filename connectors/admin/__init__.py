"""Django admin of the configuration: forms read and show; `configuration` and its sisters decide, auditlog signs.

One module an object: connector, node, domain, recipient, notice, audit, account; `labelled` is what they share.
"""

from connectors.admin import account, audit, connector, domain, node, notice, recipient

__all__ = ["account", "audit", "connector", "domain", "node", "notice", "recipient"]
