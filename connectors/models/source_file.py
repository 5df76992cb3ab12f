"""SourceFile: the claim on one dropped file and what became of it (PU-17 to PU-21, PU-58)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import FileState, SourceKind
from connectors.models.message import Message
from connectors.models.node import Node


class SourceFile(models.Model):
    """One taken file. A row in state `queued` or `notice` means: never read this file again (PU-19)."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, db_index=False)
    source = models.CharField(_("source"), max_length=8, choices=SourceKind)
    directory = models.CharField(_("directory"), max_length=4096)
    name = models.CharField(_("file"), max_length=255)  # as dropped, ending in .eml
    claimed_name = models.CharField(max_length=300)  # the .tmp name
    claimed_by = models.CharField(max_length=40)  # token of the owning process (connectors.owner)
    device = models.BigIntegerField()
    inode = models.BigIntegerField()
    size = models.PositiveBigIntegerField(_("size"))
    modified_ns = models.BigIntegerField()
    owner_uid = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)  # of the bytes as dropped; set once read
    state = models.CharField(_("state"), max_length=12, choices=FileState, default=FileState.CLAIMED)
    crash_count = models.PositiveSmallIntegerField(default=0)  # carried over by identity (PU-21)
    claimed_at = models.DateTimeField(_("taken"))
    settled_at = models.DateTimeField(null=True)
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="source_files")
    # The rest is filled for bad files alone.
    bad_name = models.CharField(_("bad file"), max_length=300, blank=True)
    reason = models.CharField(_("reason"), max_length=32, blank=True)
    line = models.PositiveIntegerField(_("line"), default=0)
    text = models.CharField(_("text"), max_length=400, blank=True)
    sender = models.CharField(_("sender"), max_length=600, blank=True)
    subject = models.CharField(_("subject"), max_length=1000, blank=True)
    parts = models.PositiveSmallIntegerField(default=0, db_default=0)  # hidden parts, once durable (bad_file_parts)

    class Meta:
        verbose_name = _("taken file")
        verbose_name_plural = _("taken files")
        permissions = [("view_content", "Can read the content of messages and files")]
        indexes = [
            # start-up: claims that were never settled; crash counts by identity
            models.Index(fields=["source", "id"], condition=models.Q(state="claimed"), name="file_claimed"),
            # files that crashed us before, to be read alone (PU-21)
            models.Index(
                fields=["id"], condition=models.Q(state="released", crash_count__gt=0), name="file_suspicious"
            ),
            # Bad files page, newest first
            models.Index(fields=["-id"], condition=models.Q(state="bad"), name="file_bad"),
            # splits and edits that a process left unfinished
            models.Index(fields=["id"], condition=models.Q(state="splitting"), name="file_splitting"),
            models.Index(fields=["id"], condition=models.Q(state="changing"), name="file_changing"),
            # sweep and recovery of .tmp files by name
            models.Index(fields=["claimed_name"], name="file_claimed_name"),
        ]

    def __str__(self) -> str:
        return self.name
