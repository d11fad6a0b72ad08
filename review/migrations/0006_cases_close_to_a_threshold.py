"""Give the cases of before the reason that is theirs: an uncertain case whose verdict is real or fake lies close."""

from django.db import migrations
from django.db.models import Exists, OuterRef


def part(apps, schema_editor):
    verdicts = apps.get_model("detection", "InferenceResult").objects.filter(job=OuterRef("job"))
    firm = Exists(verdicts.filter(label__in=["real", "fake"]))
    apps.get_model("review", "ReviewCase").objects.filter(firm, reason="uncertain").update(reason="close")


def join(apps, schema_editor):
    apps.get_model("review", "ReviewCase").objects.filter(reason="close").update(reason="uncertain")


class Migration(migrations.Migration):
    dependencies = [("review", "0005_close_to_a_threshold"), ("detection", "0012_sealed_fields")]

    operations = [migrations.RunPython(part, join)]
