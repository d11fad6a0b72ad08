"""Accounts app: users, organisations, API keys, audit."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import audit_signals, schema, signals  # noqa: F401 -- connects receivers, registers schemes
        from accounts.oauth import validator

        validator.install()
