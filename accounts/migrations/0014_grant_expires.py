"""A grant ends some time after the member agreed."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0013_one_password_switch'),
    ]

    operations = [
        migrations.AlterField(
            model_name='oauthgrant',
            name='revoked_because',
            field=models.CharField(blank=True, choices=[('member', 'taken back by the member'), ('administrator', 'revoked by an administrator'), ('client', 'given back by the program'), ('disabled', 'the program was switched off'), ('refresh_reused', 'a refresh token was used twice'), ('expired', 'a member has to agree again from time to time'), ('code_reused', 'an authorization code was used twice')], max_length=20),
        ),
    ]
