"""Make an API key and print it, alone, on standard output."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import Organization
from deepfake.errors import DomainError


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Make an API key for an organisation and print it; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", required=True, help="slug of the organisation, such as demo")
        parser.add_argument("--scopes", required=True, help="separated by commas, such as detect:read,detect:write")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument(
            "--sandbox",
            action="store_true",
            help="for trying out: shipped samples are answered at once from recordings, any other file is analysed as "
            "usual; nothing of it alerts, is reviewed or counted (docs/api.md, Sandbox)",
        )
        parser.add_argument(
            "--allow", action="append", default=[], metavar="ADDRESS", help="may be used from there only"
        )
        parser.add_argument("--days", type=int, help="after how many days it expires; never without")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        if organization is None:
            known = ", ".join(Organization.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no organisation {options['organization']!r}. Known: {known}.")
        scopes = [scope.strip() for scope in options["scopes"].split(",") if scope.strip()]
        try:
            _, text = create_api_key(
                organization=organization,
                scopes=scopes,
                name=options["name"],
                is_sandbox=options["sandbox"],
                ip_allow_list=options["allow"],
                expires_at=timezone.now() + timedelta(days=options["days"]) if options["days"] else None,
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(text)
