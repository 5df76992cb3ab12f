"""Tables of connectors. Order: node, domain, directory, connector, message, queue, job, source_file, ledger, submitter, notice, remote_domain, transport_settings."""

from connectors.models.connector import AddressSpace, ConfigGeneration, Connector, ForeignConnector
from connectors.models.directory import Contact, DirectoryRecipient, Group, Mailbox, ProxyAddress, proxy_key
from connectors.models.domain import AcceptedDomain
from connectors.models.event_log import EventLogEntry
from connectors.models.job import BulkJob, JobTarget
from connectors.models.ledger import LedgerCheck
from connectors.models.message import Message, MessageRecipient
from connectors.models.node import Node
from connectors.models.notice import NoticeSettings, NoticeText
from connectors.models.queue import IN_POISON, IN_TRANSFER, IS_SUBMISSION, OFF_THE_LADDER, Queue, QueueItem, QueueSample
from connectors.models.remote_domain import RemoteDomain
from connectors.models.source_file import SourceFile
from connectors.models.submitter import SubmitterAddress
from connectors.models.transport_settings import TransportSettings, config_of

AUDITED = (
    Node,
    TransportSettings,
    SubmitterAddress,
    AcceptedDomain,
    DirectoryRecipient,
    Mailbox,
    Contact,
    Group,
    ProxyAddress,
    ForeignConnector,
    AddressSpace,
    NoticeSettings,
    NoticeText,
    RemoteDomain,
)

__all__ = [
    "IN_POISON",
    "IN_TRANSFER",
    "IS_SUBMISSION",
    "OFF_THE_LADDER",
    "AUDITED",
    "AcceptedDomain",
    "AddressSpace",
    "BulkJob",
    "ConfigGeneration",
    "Connector",
    "Contact",
    "DirectoryRecipient",
    "EventLogEntry",
    "ForeignConnector",
    "Group",
    "JobTarget",
    "LedgerCheck",
    "Mailbox",
    "Message",
    "MessageRecipient",
    "Node",
    "NoticeSettings",
    "NoticeText",
    "ProxyAddress",
    "Queue",
    "QueueItem",
    "QueueSample",
    "RemoteDomain",
    "SourceFile",
    "SubmitterAddress",
    "TransportSettings",
    "config_of",
    "proxy_key",
]
