"""SCIM 2.0 (RFC 7643, RFC 7644) at /scim/v2/, each request in the name of the organisation whose token it carries."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import scim2_models as scim
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError
from scim2_models import (
    Context,
    InvalidSyntaxException,
    NotFoundException,
    PreconditionFailedException,
    SCIMException,
    UnauthorizedException,
)
from scim2_models.path import CompareOperator, Comparison

from accounts.models import ProvisioningToken, ScimGroup, ScimUser
from accounts.scim import resources, services, shapes
from deepfake.api_errors import explain
from deepfake.parsers import can_be_kept

logger = logging.getLogger(__name__)
CONTENT_TYPE = "application/scim+json"
PAGE = 100
MAX_FILTER_CHARACTERS = 2000
LAST_INDEX = 1_000_000_000  # a database takes no offset without end; behind the last row, every page is empty


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    content = json.dumps(body).encode() if body is not None else b""
    return HttpResponse(content, status=status, content_type=CONTENT_TYPE, headers=headers)


def problem(status: int, detail: str, scim_type: str | None = None) -> HttpResponse:
    error = scim.Error(status=status, detail=detail, scim_type=scim_type)
    headers = {"WWW-Authenticate": 'Bearer realm="scim"'} if status == 401 else {}
    return answer(error.model_dump(), status, headers)


@method_decorator(csrf_exempt, name="dispatch")
class ScimView(View):
    """Authenticates, runs under the service's description, and answers every error in SCIM's shape."""

    token: ProvisioningToken

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            self.token = _authenticate(request)
            with shapes.PROVIDER, transaction.atomic():
                response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[assignment]
                return response
        except SCIMException as error:
            return problem(error.status, error.detail, error.scim_type or None)
        except RecursionError:
            return problem(400, "What was sent is nested too deeply.", "invalidSyntax")
        except ValidationError as error:
            first = scim.Error.from_validation_errors(error)[0]
            return problem(first.status or 400, first.detail or "", first.scim_type)
        except Exception as error:
            status, _, sentence, _ = explain(error)
            if status == 500:
                logger.exception("Unexpected error in %s", type(self).__name__)
            return problem(status, sentence)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = problem(405, f"{request.method} is not possible here.")
        response["Allow"] = ", ".join(name.upper() for name in self.http_method_names if hasattr(self, name))
        return response

    def search_of(self, model: Any, given: dict[str, Any]) -> Any:
        if len(str(given.get("filter") or "")) > MAX_FILTER_CHARACTERS:
            raise scim.InvalidFilterException(detail=f"A filter may have {MAX_FILTER_CHARACTERS} characters.")
        return scim.SearchRequest[model].model_validate(given, scim_ctx=Context.SEARCH_REQUEST)

    def body(self) -> Any:
        try:
            body = json.loads(self.request.body)
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidSyntaxException(detail="The body holds half of a character (a lone surrogate).") from None
        except (ValueError, RecursionError):
            raise InvalidSyntaxException(detail="The body is no JSON.") from None
        if not isinstance(body, dict):
            raise InvalidSyntaxException(detail="The body is no JSON object.")
        return body


def _authenticate(request: HttpRequest) -> ProvisioningToken:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    token = services.find_token(text.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise UnauthorizedException(detail="Send the provisioning token of your organisation as a bearer token.")
    # audit.record names it where an API key's prefix would stand.
    request.oauth_client = "scim"  # type: ignore[attr-defined]
    return token


def _base() -> str:
    return f"{settings.PUBLIC_URL}/scim/v2"


def _etag(row: ScimUser | ScimGroup) -> str:
    return f'W/"{row.version}"'


# Rows to messages -----------------------------------------------------------------------------------------------------


def user_of(row: ScimUser) -> shapes.User:
    user = row.user
    name = shapes.Name(
        formatted=row.formatted_name or None, family_name=user.last_name or None, given_name=user.first_name or None
    )
    return shapes.User(
        id=str(row.pk),
        external_id=row.external_id or None,
        user_name=row.user_name,
        name=name if any((name.formatted, name.family_name, name.given_name)) else None,
        display_name=row.display_name or None,
        emails=[shapes.Email(**email) for email in row.emails] or None,
        active=user.is_active,
        groups=[
            scim.GroupMembership(
                value=str(group.pk),
                ref=f"{_base()}/Groups/{group.pk}",  # type: ignore[arg-type]
                display=group.display_name,
                type="direct",
            )
            for group in row.groups.all()
        ]
        or None,
        meta=_meta(row, "User"),
    )


def group_of(row: ScimGroup) -> shapes.Group:
    return shapes.Group(
        id=str(row.pk),
        external_id=row.external_id or None,
        display_name=row.display_name,
        members=[
            shapes.Member(
                value=str(member.pk),
                ref=f"{_base()}/Users/{member.pk}",  # type: ignore[arg-type]
                type="User",
            )
            for member in row.members.all()
        ]
        or None,
        meta=_meta(row, "Group"),
    )


def _meta(row: ScimUser | ScimGroup, kind: str) -> scim.Meta:
    return scim.Meta(
        resource_type=kind,
        created=row.created_at,
        last_modified=row.updated_at,
        location=f"{_base()}/{kind}s/{row.pk}",
        version=_etag(row),
    )


# Lists and single resources -------------------------------------------------------------------------------------------


class Kind:
    """What differs between users and groups."""

    def __init__(
        self,
        model: Any,
        rows: Callable[..., Any],
        find: Callable[..., Any],
        to_message: Callable[[Any], Any],
        create: Callable[..., Any],
        change: Callable[..., Any],
        delete: Callable[..., None],
        columns: dict[str, str],
    ) -> None:
        self.model, self.rows, self.find, self.to_message = model, rows, find, to_message
        self.create, self.change, self.delete, self.columns = create, change, delete, columns


USERS = Kind(
    shapes.User, resources.users_of, resources.find_user, user_of, resources.create_user, resources.change_user,
    resources.delete_user, {"username": "user_name__iexact", "externalid": "external_id"},
)  # fmt: skip
GROUPS = Kind(
    shapes.Group, resources.groups_of, resources.find_group, group_of, resources.create_group, resources.change_group,
    resources.delete_group, {"displayname": "display_name__iexact", "externalid": "external_id"},
)  # fmt: skip


class Collection(ScimView):
    kind: Kind = USERS

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._list(request.GET.dict())

    def post(self, request: HttpRequest) -> HttpResponse:
        wanted = self.kind.model.model_validate(self.body(), scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        row = self.kind.create(token=self.token, wanted=wanted)
        row = self.kind.find(self.token.organization, str(row.pk))
        message = self.kind.to_message(row)
        body = message.model_dump(
            scim_ctx=Context.RESOURCE_CREATION_RESPONSE, response_parameters=_shown(self.kind, request)
        )
        return answer(body, 201, {"Location": message.meta.location, "ETag": _etag(row)})

    def _list(self, given: dict[str, Any]) -> HttpResponse:
        resources.ensure_records(self.token.organization)
        search = self.search_of(self.kind.model, given)
        rows = self.kind.rows(self.token.organization)
        count = _page_size(search)
        first = _first_of(search)
        if search.filter is None and search.sort_by is None:
            total = rows.count()
            page = [self.kind.to_message(row) for row in rows[first : first + count]]
        else:
            messages = [self.kind.to_message(row) for row in _narrowed(self.kind, rows, search.filter)]
            found = [one for one in messages if search.filter is None or search.filter.match(one)]
            total, page = len(found), search.sort(found)[first : first + count]
        response = scim.ListResponse[self.kind.model](  # type: ignore[name-defined]
            total_results=total, start_index=first + 1, items_per_page=len(page), resources=page
        )
        return answer(response.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=search))


class SearchAll(ScimView):
    """POST /.search over users and groups."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        organization = self.token.organization
        resources.ensure_records(organization)
        both = shapes.User | shapes.Group
        search = self.search_of(both, self.body())
        messages = [kind.to_message(row) for kind in (USERS, GROUPS) for row in kind.rows(organization)]
        found = [one for one in messages if search.filter is None or search.filter.match(one)]
        first, count = _first_of(search), _page_size(search)
        page = search.sort(found)[first : first + count]
        response = scim.ListResponse[both](
            total_results=len(found), start_index=first + 1, items_per_page=len(page), resources=page
        )
        return answer(response.model_dump(scim_ctx=Context.SEARCH_RESPONSE, response_parameters=search))


class Search(Collection):
    """POST …/.search (RFC 7644, 3.4.3)."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        return self._list(self.body())


def _first_of(search: Any) -> int:
    return min(search.start_index_0 or 0, LAST_INDEX)


def _page_size(search: Any) -> int:
    return PAGE if search.count is None else min(search.count, shapes.MAX_RESULTS)


def _narrowed(kind: Kind, rows: Any, wanted: Any) -> Any:
    """What providers ask all day, an equality on one name, is answered from the database; match() then decides."""
    tree = wanted.ast if wanted is not None else None
    if isinstance(tree, Comparison) and tree.op == CompareOperator.eq and isinstance(tree.value, str):
        column = kind.columns.get(tree.attr_path.attr.lower()) if tree.attr_path.sub_attr is None else None
        if column and not can_be_kept(tree.value):  # written as an escape of JSON
            raise scim.InvalidFilterException(detail="A filter holds a character that is part of no text.")
        if column:
            return rows.filter(**{column: tree.value})
    return rows


class Single(ScimView):
    kind: Kind = USERS

    def get(self, request: HttpRequest, pk: str) -> HttpResponse:
        row = self._row(pk)
        if request.headers.get("If-None-Match") in (_etag(row), "*"):
            return answer(None, 304, {"ETag": _etag(row)})
        return self._answer(request, row, Context.RESOURCE_QUERY_RESPONSE)

    def put(self, request: HttpRequest, pk: str) -> HttpResponse:
        row = self._row(pk, lock=True)
        wanted = self.kind.model.model_validate(self.body(), scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST)
        wanted.replace(self.kind.to_message(row))
        return self._saved(request, row, wanted, Context.RESOURCE_REPLACEMENT_RESPONSE)

    def patch(self, request: HttpRequest, pk: str) -> HttpResponse:
        row = self._row(pk, lock=True)
        given = _as_meant(self.body())
        operations = scim.PatchOp[self.kind.model].model_validate(  # type: ignore[name-defined]
            given, scim_ctx=Context.RESOURCE_PATCH_REQUEST
        )
        wanted = self.kind.to_message(row)
        operations.patch(wanted)
        return self._saved(request, row, wanted, Context.RESOURCE_PATCH_RESPONSE)

    def delete(self, request: HttpRequest, pk: str) -> HttpResponse:
        self.kind.delete(token=self.token, row=self._row(pk, lock=True))
        return HttpResponse(status=204)

    def _row(self, pk: str, *, lock: bool = False) -> Any:
        row = self.kind.find(self.token.organization, pk, lock=lock)
        wanted = self.request.headers.get("If-Match")
        if lock and wanted and wanted.strip() != "*" and _etag(row) not in [one.strip() for one in wanted.split(",")]:
            raise PreconditionFailedException(detail=f"The resource has changed; it is at version {_etag(row)} now.")
        return row

    def _saved(self, request: HttpRequest, row: Any, wanted: Any, context: Context) -> HttpResponse:
        changed = self.kind.change(token=self.token, row=row, wanted=wanted)
        return self._answer(request, self.kind.find(self.token.organization, str(changed.pk)), context)

    def _answer(self, request: HttpRequest, row: Any, context: Context) -> HttpResponse:
        message = self.kind.to_message(row)
        body = message.model_dump(scim_ctx=context, response_parameters=_shown(self.kind, request))
        return answer(body, 200, {"ETag": _etag(row), "Location": message.meta.location})


def _shown(kind: Kind, request: HttpRequest) -> Any:
    given = {name: request.GET[name] for name in ("attributes", "excludedAttributes") if request.GET.get(name)}
    return scim.ResponseParameters[kind.model].model_validate(given)  # type: ignore[name-defined]


def _as_meant(body: dict[str, Any]) -> dict[str, Any]:
    """Entra writes booleans as "True" and "False"."""
    for operation in body.get("Operations") or []:
        if not isinstance(operation, dict):
            continue
        if str(operation.get("path", "")).lower() == "active":
            operation["value"] = _truth(operation.get("value"))
        elif isinstance(operation.get("value"), dict) and "active" in operation["value"]:
            operation["value"]["active"] = _truth(operation["value"]["active"])
    return body


def _truth(value: Any) -> Any:
    return {"true": True, "false": False}.get(str(value).lower(), value) if isinstance(value, str) else value


# What the service says of itself --------------------------------------------------------------------------------------


class Config(ScimView):
    http_method_names = ["get"]

    def get(self, request: HttpRequest) -> HttpResponse:
        config = shapes.CONFIG.model_copy(deep=True)
        config.meta = scim.Meta(resource_type="ServiceProviderConfig", location=f"{_base()}/ServiceProviderConfig")
        return answer(config.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))


class Described(ScimView):
    """/Schemas and /ResourceTypes, as lists and one by one."""

    http_method_names = ["get"]
    name = "Schemas"

    def get(self, request: HttpRequest, pk: str = "") -> HttpResponse:
        if request.GET.get("filter"):
            raise scim.ForbiddenException(detail="These cannot be filtered.")  # RFC 7644, section 4
        is_schemas = self.name == "Schemas"
        rows: Any = shapes.PROVIDER.schemas if is_schemas else shapes.PROVIDER.resource_types
        shown = [self._placed(row.model_copy(deep=True)) for row in rows]
        if pk:
            found = next((row for row in shown if str(row.id).lower() == pk.lower()), None)
            if found is None:
                raise NotFoundException(detail=f"There is no {self.name[:-1]} {pk}.")
            return answer(found.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))
        kind = scim.Schema if is_schemas else scim.ResourceType
        response = scim.ListResponse[kind](  # type: ignore[valid-type]
            total_results=len(shown), start_index=1, items_per_page=len(shown), resources=shown
        )
        return answer(response.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))

    def _placed(self, row: Any) -> Any:
        if row.id is None:
            row.id = row.name
        row.meta = scim.Meta(resource_type=self.name[:-1], location=f"{_base()}/{self.name}/{row.id}")
        return row


@method_decorator(csrf_exempt, name="dispatch")
class Nothing(ScimView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _authenticate(request)
        except SCIMException as error:
            return problem(error.status, error.detail)
        return problem(404, "There is nothing at this address.")
