"""What the back office calls things."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0014_webhook_worlds'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='feedback',
            options={'verbose_name_plural': 'feedback'},
        ),
        migrations.AlterModelOptions(
            name='media',
            options={'verbose_name_plural': 'media'},
        ),
        migrations.AlterModelOptions(
            name='webhookdelivery',
            options={'ordering': ['-created_at', '-id'], 'verbose_name_plural': 'webhook deliveries'},
        ),
    ]
