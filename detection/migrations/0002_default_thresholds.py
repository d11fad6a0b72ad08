"""The threshold profiles that ship: one per kind of media, without an organisation."""

from django.db import migrations

# Thresholds before calibration; apps.py replaces them after each migrate by those of the shipped fusion weights.
DEFAULTS = {"default_image": (0.65, 0.35), "default_video": (0.65, 0.35), "default_audio": (0.65, 0.35)}


def create(apps, schema_editor):
    profiles = apps.get_model("detection", "ThresholdProfile").objects
    for name, (fake_at, real_below) in DEFAULTS.items():
        profiles.get_or_create(
            organization=None, name=name, defaults={"fake_at": fake_at, "real_below": real_below}
        )


def remove(apps, schema_editor):
    apps.get_model("detection", "Job").objects.filter(
        threshold_profile__organization=None, threshold_profile__name__in=DEFAULTS
    ).update(threshold_profile=None)
    apps.get_model("detection", "ThresholdProfile").objects.filter(organization=None, name__in=DEFAULTS).delete()


class Migration(migrations.Migration):
    dependencies = [("detection", "0001_detection")]
    operations = [migrations.RunPython(create, remove)]
