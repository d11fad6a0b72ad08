"""What a person called harsh is covered wherever it is shown: the item itself holds the mark."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("detection", "0016_jobs_by_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="media",
            name="is_harsh",
            field=models.BooleanField(default=False),
        ),
    ]
