"""Metadata of items, notes of feedback and bodies of webhooks are sealed in the database (docs/privacy.md)."""

from django.db import migrations

from deepfake.sealed_fields import SealedJSONField, SealedTextField
from deepfake.sealed_migrations import seal_column


class Migration(migrations.Migration):
    dependencies = [("detection", "0011_privacy")]

    operations = [
        *seal_column("detection", "media", "info", SealedJSONField(context="media.info", default=dict, blank=True)),
        *seal_column("detection", "feedback", "notes", SealedTextField(context="feedback.notes", blank=True)),
        *seal_column("detection", "webhookdelivery", "body", SealedJSONField(context="webhook.body", default=dict)),
    ]
