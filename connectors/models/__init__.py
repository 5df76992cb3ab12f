"""Tables of connectors. Order: node, domain, directory, connector, message, queue, source_file, submitter, notice."""

from connectors.models.connector import AddressSpace, ConfigGeneration, Connector, ForeignConnector
from connectors.models.directory import Contact, DirectoryRecipient, Mailbox, ProxyAddress, proxy_key
from connectors.models.domain import AcceptedDomain
from connectors.models.event_log import EventLogEntry
from connectors.models.message import Message, MessageRecipient
from connectors.models.node import Node
from connectors.models.notice import NoticeSettings, NoticeText
from connectors.models.queue import Queue, QueueItem
from connectors.models.source_file import SourceFile
from connectors.models.submitter import SubmitterAddress

AUDITED = (
    Node,
    SubmitterAddress,
    AcceptedDomain,
    DirectoryRecipient,
    Mailbox,
    Contact,
    ProxyAddress,
    ForeignConnector,
    AddressSpace,
    NoticeSettings,
    NoticeText,
)

__all__ = [
    "AUDITED",
    "AcceptedDomain",
    "AddressSpace",
    "ConfigGeneration",
    "Connector",
    "Contact",
    "DirectoryRecipient",
    "EventLogEntry",
    "ForeignConnector",
    "Mailbox",
    "Message",
    "MessageRecipient",
    "Node",
    "NoticeSettings",
    "NoticeText",
    "ProxyAddress",
    "Queue",
    "QueueItem",
    "SourceFile",
    "SubmitterAddress",
    "proxy_key",
]
