"""Django admin of the configuration: forms read and show; `configuration` and its sisters decide, auditlog signs.

One module an object: connector, node, domain, recipient, notice; `labelled` is what they share.
"""

from connectors.admin import connector, domain, node, notice, recipient

__all__ = ["connector", "domain", "node", "notice", "recipient"]
