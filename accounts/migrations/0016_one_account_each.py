"""One account for an e-mail address and a user name, in letters of any size."""

from django.db import migrations, models
from django.db.models import Count, Q
from django.db.models.functions import Lower


def check(apps, schema_editor):
    users = apps.get_model("accounts", "User").objects
    for field in ("username", "email"):
        named = users.exclude(**{field: ""}).values(low=Lower(field)).annotate(times=Count("pk"))
        if shared := named.filter(times__gt=1).order_by("low").values_list("low", flat=True)[:10]:
            raise RuntimeError(
                f"Several accounts share one {'user name' if field == 'username' else 'e-mail address'}: "
                f"{', '.join(shared)}. Give each its own with the release before, then migrate again."
            )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0015_names")]

    operations = [
        migrations.RunPython(check, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                Lower("username"), name="user_name_once", violation_error_message="The user name is taken."
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                Lower("email"),
                condition=~Q(email=""),
                name="user_email_once",
                violation_error_message="There is an account with this e-mail address already.",
            ),
        ),
    ]
