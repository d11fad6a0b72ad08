"""Cases of a firm label that lies close to a threshold have a reason of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("review", "0004_uncertain_from")]

    operations = [
        migrations.AlterField(
            model_name="reviewcase",
            name="reason",
            field=models.CharField(
                choices=[
                    ("appeal", "Appeal"),
                    ("disagreement", "Checks disagree"),
                    ("uncertain", "Uncertain verdict"),
                    ("close", "Close to a threshold"),
                    ("manual", "Sent by a colleague"),
                    ("audit", "Random audit"),
                ],
                max_length=12,
            ),
        ),
    ]
