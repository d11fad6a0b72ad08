"""The marks "harsh" of cases, written on their items."""

from django.db import migrations


def mark_items(apps, schema_editor):
    cases = apps.get_model("review", "ReviewCase").objects.filter(is_harsh=True)
    apps.get_model("detection", "Media").objects.filter(pk__in=cases.values("job__media")).update(is_harsh=True)


class Migration(migrations.Migration):
    dependencies = [
        ("review", "0006_cases_close_to_a_threshold"),
        ("detection", "0017_harsh_media"),
    ]

    operations = [
        migrations.RunPython(mark_items, migrations.RunPython.noop, elidable=True),
    ]
