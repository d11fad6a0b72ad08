"""Harsh material is covered for everybody, so "Nothing" and "Only material marked as harsh" came to mean the same."""

from django.db import migrations, models


def join(apps, schema_editor):
    apps.get_model("review", "ReviewPreference").objects.filter(veil="off").update(veil="harsh")


class Migration(migrations.Migration):
    dependencies = [("review", "0007_harsh_media")]

    operations = [
        migrations.RunPython(join, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="reviewpreference",
            name="veil",
            field=models.CharField(
                choices=[("all", "All material"), ("harsh", "Only material marked as harsh")],
                default="all",
                max_length=6,
            ),
        ),
    ]
