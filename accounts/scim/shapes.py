"""The messages of SCIM: the core schemas, cut down to what is kept here, and what the service says of itself."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import scim2_models as scim
from pydantic import Field
from scim2_models import CaseExact, Mutability, Reference, Required, ScimPolicy, Uniqueness
from scim2_models.urn import URN

# Identity providers send more than is kept (phone numbers, titles, passwords); it is left out and not refused.
POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    # Entra removes members with a value beside the path, and replaces what is not there yet.
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


class Name(scim.ComplexAttribute):
    formatted: str | None = None
    """The full name, formatted for display."""

    family_name: str | None = None
    """The family name."""

    given_name: str | None = None
    """The given name."""


class Email(scim.ComplexAttribute):
    """Of any form: members have addresses that no public mail server knows (`jane@corp.local`), and they are shown too.

    What a provider sends is checked in resources.py.
    """

    value: str | None = None
    """The e-mail address."""

    display: str | None = None
    """The address as it is shown."""

    type: scim.Email.Type | None = None
    """What the address is for, work or home."""

    primary: bool | None = None
    """Whether it is the one that the member is known by."""


class User(scim.Resource[Any]):
    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    """What the provider calls the member; unique in the organisation."""

    name: Name | None = None
    """The parts of the member's name."""

    Name: ClassVar[type[scim.ComplexAttribute]] = Name

    display_name: str | None = None
    """The name as it is shown."""

    emails: list[Email] | None = None
    """The primary address, or else the first, is the one that the member is known by."""

    Emails: ClassVar[type[scim.ComplexAttribute]] = Email

    active: Annotated[bool | None, Required.true] = True
    """Whether the member may sign in."""

    groups: Annotated[list[scim.GroupMembership] | None, Mutability.read_only] = None
    """The groups that the member belongs to."""

    Groups: ClassVar[type[scim.ComplexAttribute]] = scim.GroupMembership


class Member(scim.ComplexAttribute):
    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The id of the member."""

    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    """The address of the member."""

    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])
    """Always User: groups hold no groups."""


class Group(scim.Resource[Any]):
    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    """The name of the group."""

    members: list[Member] | None = None
    """Who belongs to the group."""

    Members: ClassVar[type[scim.ComplexAttribute]] = Member


MAX_RESULTS = 200
CONFIG = scim.ServiceProviderConfig(
    documentation_uri=None,
    patch=scim.Patch(supported=True),
    bulk=scim.Bulk(supported=False, max_operations=0, max_payload_size=0),
    filter=scim.Filter(supported=True, max_results=MAX_RESULTS),
    change_password=scim.ChangePassword(supported=False),
    sort=scim.Sort(supported=True),
    etag=scim.ETag(supported=True),
    authentication_schemes=[
        scim.AuthenticationScheme(
            type=scim.AuthenticationScheme.Type.oauthbearertoken,
            name="Bearer token",
            description="The provisioning token of the organisation.",
            primary=True,
        )
    ],
)
PROVIDER = scim.ScimProvider(models=[User, Group], config=CONFIG, policy=POLICY)
