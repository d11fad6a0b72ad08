"""What a sandbox key registers is told of what sandbox keys do, alone."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0013_batch_callbacks'),
    ]

    operations = [
        migrations.AddField(
            model_name='webhookendpoint',
            name='is_sandbox',
            field=models.BooleanField(default=False),
        ),
    ]
