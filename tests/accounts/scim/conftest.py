"""A provisioning token and a client that speaks JSON with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import Organization, ProvisioningToken, User
from accounts.scim import services


class Scim:
    def __init__(self, client: Client, text: str) -> None:
        self.client, self.text = client, text

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(
            method,
            f"/scim/v2{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/scim+json",
            headers={"Authorization": f"Bearer {self.text}"} | named,
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any) -> Any:
        return self.ask("POST", path, body)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.ask("PUT", path, body, **headers)

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Any:
        schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
        return self.ask("PATCH", path, {"schemas": [schema], "Operations": list(operations)}, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.ask("DELETE", path, **headers)


@pytest.fixture
def text(organization: Organization, administrator: User) -> str:
    return services.make_token(organization=organization, actor=administrator)


@pytest.fixture
def token(text: str, organization: Organization) -> ProvisioningToken:
    return ProvisioningToken.objects.get(organization=organization)


@pytest.fixture
def scim(text: str) -> Scim:
    return Scim(Client(), text)


@pytest.fixture
def other_scim(other_organization: Organization, administrator: User) -> Scim:
    return Scim(Client(), services.make_token(organization=other_organization, actor=administrator))
