"""Two switches said whether passwords are taken; the rules of sign-in keep the only one."""

import django.db.models.deletion
from django.db import migrations, models


def into_rules(apps, schema_editor):
    rules = apps.get_model("accounts", "SignInRules")
    for policy in apps.get_model("accounts", "SsoPolicy").objects.filter(passwords_off=True):
        rules.objects.update_or_create(
            organization_id=policy.organization_id, defaults={"passwords_allowed": False}
        )


def into_policies(apps, schema_editor):
    policies = apps.get_model("accounts", "SsoPolicy")
    for row in apps.get_model("accounts", "SignInRules").objects.filter(passwords_allowed=False):
        policies.objects.update_or_create(organization_id=row.organization_id, defaults={"passwords_off": True})


class Migration(migrations.Migration):
    dependencies = [("accounts", "0012_cors")]

    operations = [
        migrations.RunPython(into_rules, into_policies),
        migrations.DeleteModel(name="SsoPolicy"),
    ]
