"""What the back office calls things."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0014_grant_expires'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='apikey',
            options={'verbose_name': 'API key'},
        ),
    ]
