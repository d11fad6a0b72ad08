"""Make the demo organisation with one member of each role and print their passwords once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.models import Organization, Role, User
from accounts.services import create_organization, create_user, set_password

SLUG = "demo"
MEMBERS = {
    "admin": Role.ADMIN,
    "analyst": Role.ANALYST,
    "reviewer": Role.REVIEWER,
    "viewer": Role.VIEWER,
}


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Make the demo organisation and its sign-ins; passwords are generated and shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reset-passwords", action="store_true", help="give the existing members new passwords")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            organization = Organization.objects.filter(slug=SLUG).first() or create_organization(
                name="Demo organisation", slug=SLUG
            )
            fresh = {
                username: password
                for username, role in MEMBERS.items()
                if (password := _member(organization, username, role, reset=options["reset_passwords"]))
            }
        if fresh:
            self.stdout.write(_box(fresh))
        else:
            self.stdout.write(
                "The demo sign-ins exist already. `python manage.py seed_demo --reset-passwords` gives new passwords."
            )


def _member(organization: Organization, username: str, role: Role, *, reset: bool) -> str:
    """Return the member's new password, or nothing when it keeps the one it has."""
    password = secrets.token_urlsafe(12)
    user = User.objects.filter(username=username, organization=organization).first()
    if user is None:
        create_user(
            organization=organization, username=username, password=password, role=role, email=f"{username}@demo.invalid"
        )
        if role == Role.ADMIN:
            # On a demo the administrator also runs the installation: /admin/.
            User.objects.filter(username=username).update(is_staff=True, is_superuser=True)
        return password
    if reset:
        set_password(user=user, password=password)
        return password
    return ""


def _box(passwords: dict[str, str]) -> str:
    lines = [f"{username:<10} {password}" for username, password in passwords.items()]
    lines = ["Sign-ins of the demo organisation (shown this once)", "", *lines]
    width = max(len(line) for line in lines)
    body = "\n".join(f"│ {line:<{width}} │" for line in lines)
    return f"┌{'─' * (width + 2)}┐\n{body}\n└{'─' * (width + 2)}┘"
