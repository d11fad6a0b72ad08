"""What an operator does for an organisation's single sign-on: vouch for a domain, or let passwords in again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import sign_in
from accounts.models import EmailDomain, Organization
from accounts.sso import services
from deepfake.errors import DomainError


class Command(BaseCommand):
    help = "Vouch for an e-mail domain of an organisation, or let its members sign in with passwords again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="slug of the organisation")
        parser.add_argument("--verify-domain", metavar="DOMAIN", help="take this domain as verified without a look-up")
        parser.add_argument("--passwords-on", action="store_true", help="when its identity provider is out of reach")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organisation {options['organization']}.")
        try:
            if name := options["verify_domain"]:
                row = EmailDomain.objects.filter(organization=organization, domain=name.lower()).first()
                row = row or EmailDomain.objects.create(organization=organization, domain=name.lower())
                services.verify_domain(domain=row, actor=None, by_operator=True)
                self.stdout.write(f"{row.domain} counts as verified for {organization.name}.")
            if options["passwords_on"]:
                sign_in.allow_passwords(organization=organization, is_allowed=True, actor=None)
                self.stdout.write(f"Members of {organization.name} may sign in with passwords.")
        except DomainError as error:
            raise CommandError(error.message) from None
