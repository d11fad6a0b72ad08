"""What people wrote about a case, and who appealed, is sealed in the database (docs/privacy.md)."""

from django.db import migrations

from deepfake.sealed_fields import SealedTextField
from deepfake.sealed_migrations import seal_column


class Migration(migrations.Migration):
    dependencies = [("review", "0002_decision_case_reviewer")]

    operations = [
        *seal_column("review", "annotation", "text", SealedTextField(context="annotation.text", blank=True)),
        *seal_column("review", "appeal", "text", SealedTextField(context="appeal.text")),
        *seal_column("review", "appeal", "email", SealedTextField(context="appeal.email", blank=True)),
        *seal_column("review", "appeal", "answer", SealedTextField(context="appeal.answer", blank=True)),
        *seal_column("review", "decision", "answer", SealedTextField(context="decision.answer", blank=True)),
        *seal_column("review", "note", "text", SealedTextField(context="note.text")),
    ]
