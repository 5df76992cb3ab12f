"""Folded subjects and the trigram index over them and over the address dictionary (design 5)."""

from django.db import migrations, models

from tracking import text_index
from tracking.fold import address_key, subject_key


def fill(apps, schema_editor):
    """Fold what is there; keys of senders now fall back to the return path."""
    TrackedMessage = apps.get_model("tracking", "TrackedMessage")
    batch = []
    for row in TrackedMessage.objects.only("pk", "subject", "sender", "return_path").iterator(2000):
        row.subject_key = subject_key(row.subject)
        row.sender_key = address_key(row.sender or row.return_path)
        batch.append(row)
        if len(batch) == 2000:
            TrackedMessage.objects.bulk_update(batch, ["subject_key", "sender_key"])
            batch.clear()
    TrackedMessage.objects.bulk_update(batch, ["subject_key", "sender_key"])


def make(apps, schema_editor):
    """Make the index; where pg_trgm is not allowed search does without and says so."""
    text_index.ensure()


def remove(apps, schema_editor):
    """Take the index away."""
    text_index.remove()


class Migration(migrations.Migration):
    dependencies = [("tracking", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="trackedmessage",
            name="subject_key",
            field=models.CharField(blank=True, default="", editable=False, max_length=1000),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="trackedmessage",
            index=models.Index(
                condition=models.Q(("internal_message_id__isnull", False)),
                fields=["internal_message_id"],
                name="tracked_number",
            ),
        ),
        migrations.AlterModelOptions(
            name="trackingevent",
            options={
                "permissions": [("export_trackingevent", "Can export tracking events")],
                "verbose_name": "tracking event",
                "verbose_name_plural": "tracking events",
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(make, remove),
    ]
