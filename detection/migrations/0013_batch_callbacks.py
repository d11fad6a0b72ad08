"""A batch may name an address that is called at its end."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0012_sealed_fields'),
    ]

    operations = [
        migrations.AddField(
            model_name='batch',
            name='callback_url',
            field=models.URLField(blank=True, max_length=2000),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='batch',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='detection.batch'),
        ),
    ]
