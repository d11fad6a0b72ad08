"""What all of the integrator API shares: who asks, limits, Idempotency-Key, strict bodies, pages, tags, ids."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, serializers
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import HasScope, api_key_of, member_of, organization_of, world_of
from accounts.models import Organization
from accounts.permissions import Permission
from deepfake.api_errors import PROBLEM_TYPE, first_sentence, flat_fields
from deepfake.errors import DomainError, StorageFull
from deepfake.pagination import NewestFirst
from detection import idempotency
from detection.api_limits import SAFE_METHODS, CallerThrottle, add_headers, caller
from detection.models import Job, Media

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": idempotency.MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Any text of your choice, new for each new request. A repeat gets the first answer again.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of an earlier answer: 304 when nothing has changed since.",
)
# Refusals that say "nothing was begun": the same key may be sent again once the reason is mended. What was refused
# after work began (a state that does not allow it, a fault of ours) is an answer, and is kept as one.
BEFORE_WORK = frozenset({400, 401, 403, 404, 405, 406, 412, 413, 415, 422, 429, 460, 503, 507})
KEPT_HEADERS = ("Location", "Tus-Resumable", "Upload-Offset", "Upload-Expires", "Media-Id")


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a misspelt option must not be taken for the usual one."""

    # Fields whose refusals have a code of their own, where a program wants to tell them apart: name → code.
    codes: ClassVar[dict[str, str]] = {}

    def to_internal_value(self, data: Any) -> Any:
        refuse_unknown(self, data)
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError as error:
            self._refuse_by_code(error)
            raise

    def _refuse_by_code(self, error: serializers.ValidationError) -> None:
        """When one field alone is wrong, and was sent, its own code says more than `invalid`. Raises DomainError."""
        fields = flat_fields(error.detail)
        name = next(iter(fields)).partition(".")[0]
        if name not in self.codes or any(other.partition(".")[0] != name for other in fields):
            return
        if error.get_codes() != {name: ["required"]}:
            raise DomainError(first_sentence(fields), self.codes[name], fields=fields) from None


class Choice(serializers.ChoiceField):
    """One of a few words; who sends another is told which there are."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError:
            known = ", ".join(str(choice) for choice in self.choices if choice != "")
            sentence = f"There is no {str(data)[:40]!r} here. Choose one of {known}."
            raise serializers.ValidationError(sentence, "invalid_choice") from None


class Text(serializers.CharField):
    """Text alone: no number or truth value that would be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


MOST_NAMED = 10  # unknown fields that an answer names


def refuse_unknown(serializer: serializers.Serializer[Any], data: Any) -> None:
    if not hasattr(data, "keys"):
        return
    known = serializer.fields
    unknown = [name for name in data if name not in known or known[name].read_only]
    if unknown:
        sentence = f"There is no such field. This address takes {', '.join(known) or 'none'}."
        raise serializers.ValidationError({str(name)[:100]: [sentence] for name in unknown[:MOST_NAMED]})


def _idempotent(post: Callable[..., Response]) -> Callable[..., Response]:
    """Carry a POST out once per Idempotency-Key, in one transaction with the answer that is kept."""

    @wraps(post)
    def carried_out_once(self: ApiView, request: Request, *args: Any, **kwargs: Any) -> Response:
        if self._once is not None:  # called by the post() of a subclass
            return post(self, request, *args, **kwargs)
        with self._entered() as once:
            if once.answer is not None:
                return _replay(once)
            self._once = once
            try:
                with self.prepared(request, *args, **kwargs), transaction.atomic():
                    response = post(self, request, *args, **kwargs)
                    _keep(once, response)
                if self.settle(response):
                    once.amend(response.data)
            except Exception as error:
                response = self.handle_exception(error)
                _keep(once, response)
            return response

    carried_out_once.is_idempotent = True  # type: ignore[attr-defined]
    return carried_out_once


def _keep(once: idempotency.Once, response: Response) -> None:
    if once.is_ours and response.status_code not in BEFORE_WORK and not _is_running(response):
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        once.finish(response.status_code, response.data, headers)


def _is_running(response: Response) -> bool:
    """Another request took this key over while we were slow: its answer counts, not our refusal."""
    return response.status_code == 409 and (response.data or {}).get("code") == "idempotency_in_progress"


def _replay(once: idempotency.Once) -> Response:
    assert once.answer is not None
    status, body = once.answer
    headers = {**once.headers, "Idempotent-Replayed": "true"}
    return Response(body, status=status, headers=headers, content_type=PROBLEM_TYPE if status >= 400 else None)


class ApiView(APIView):
    """What all views of the integrator API share: scopes by method, limits, whose request it is.

    Every `post` is idempotent by itself: it runs in a transaction, in which its answer is kept when the request
    carries an Idempotency-Key. What takes long (storing a file) belongs into `prepared`, outside of the transaction.
    """

    throttle_classes = (CallerThrottle,)
    read_scope: ClassVar[str] = "detect:read"
    write_scope: ClassVar[str] = "detect:write"
    also_scopes: ClassVar[dict[str, str]] = {}  # a second scope that is needed, by method
    # What a signed-in member needs beyond the scope, by method; a key's scopes are all that it has.
    member_permissions: ClassVar[dict[str, Permission]] = {}
    _once: idempotency.Once | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        post = cls.__dict__.get("post")
        if post is not None and not hasattr(post, "is_idempotent"):
            cls.post = _idempotent(post)  # type: ignore[attr-defined]

    def get_permissions(self) -> list[BasePermission]:
        method = self.request.method or ""
        scope = self.read_scope if method in SAFE_METHODS else self.write_scope
        needed = [HasScope(scope, self.member_permissions.get(method))()]
        return [*needed, HasScope(self.also_scopes[method])()] if method in self.also_scopes else needed

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(request, Request):
            add_headers(request, response)
        return response

    def handle_exception(self, exc: Exception) -> Response:
        # An upload is spooled to disk while it is parsed; the disk may be full before any of our code runs.
        if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
            exc = StorageFull()
        return super().handle_exception(exc)

    @property
    def organization(self) -> Organization:
        return organization_of(self.request)

    @property
    def world(self) -> bool | None:
        """True: only rows of sandbox keys may be seen; False: only the others; None: both."""
        return world_of(self.request)

    @property
    def who(self) -> dict[str, Any]:
        return {"actor": member_of(self.request), "api_key": api_key_of(self.request)}

    def validated(self, serializer: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
        given = serializer(data=data)
        refuse_unknown(given, data)
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def asked(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """What the address asks for. Not as a form, in which a blank or a missing field would have a meaning."""
        return self.validated(serializer, self.request.query_params.dict())

    def no_body(self) -> None:
        """Of an action without options: a body that names some is a misunderstanding, not a wish."""
        if hasattr(self.request.data, "keys") and self.request.data:
            self.validated(StrictSerializer, self.request.data)

    # Sending a request twice ------------------------------------------------------------------------------------------

    def prepared(self, request: Request, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        """What a POST does before its transaction begins; left with the exception when it fails."""
        return contextlib.nullcontext()

    def settle(self, response: Response) -> bool:
        """Bring the answer up to date with what the commit set off; True when that changed it."""
        return False

    def fingerprint(self) -> str:
        """Digest of all that makes two requests the same."""
        return fingerprint(self.request)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[idempotency.Once]:
        key = self.request.headers.get("Idempotency-Key")
        if key is not None:
            idempotency.check_key(key)
        key = key or ""
        digest = self.fingerprint() if key else ""
        with idempotency.once(
            organization=self.organization, owner=caller(self.request), key=key, request_hash=digest
        ) as once:
            yield once

    # Lists ------------------------------------------------------------------------------------------------------------

    def page(
        self, rows: QuerySet[Any], payload: Callable[[Any], Any], pages: CursorPagination | None = None
    ) -> Response:
        """One page of a list, behind the cursor that the request names. Raises DomainError."""
        pages = pages or NewestFirst()
        try:
            found = pages.paginate_queryset(rows, self.request, view=self) or []
        except exceptions.NotFound:
            raise cursor_invalid() from None
        return pages.get_paginated_response([payload(row) for row in found])


def cursor_invalid() -> DomainError:
    sentence = "This cursor is none of ours. Take the address of the next page from the field `next`."
    return DomainError(sentence, "cursor_invalid", fields={"cursor": [sentence]})


class PageQuery(StrictSerializer):
    """What every list takes."""

    limit = serializers.IntegerField(required=False, min_value=1, max_value=NewestFirst.max_page_size)
    cursor = serializers.CharField(required=False, max_length=500, help_text="From `next` of the page before.")


# Finished things do not change: their answers carry a tag -------------------------------------------------------------


def tagged(request: Request, body: Any) -> Response:
    """The answer with its ETag; 304 without a body when the caller has it already.

    The tag is the digest of the body, which for the same row is the same text: two equal tags are two equal answers.
    """
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), cls=DjangoJSONEncoder)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    asked = request.headers.get("If-None-Match", "")
    if asked.strip() == "*" or tag in [part.strip().removeprefix("W/") for part in asked.split(",")]:
        return Response(status=304, headers=headers)
    return Response(body, headers=headers)


def fingerprint(request: Request) -> str:
    fields = request.data
    if hasattr(fields, "lists"):  # a form: names may repeat
        fields = {name: values for name, values in fields.lists() if name not in request.FILES}
    path = request.get_full_path()
    return idempotency.fingerprint(request.method or "", path, fields, dict(request.FILES.items()))


# Ids ------------------------------------------------------------------------------------------------------------------


def parse_id(text: str, prefix: str) -> uuid.UUID:
    """Accept job_<hex>, med_<hex> and a plain UUID. Raises Http404."""
    try:
        return uuid.UUID(text.removeprefix(prefix))
    except ValueError:
        raise Http404 from None


def find_media(view: ApiView, media_id: str) -> Media:
    rows = Media.objects.visible_to(view.organization).of_world(view.world)
    media = rows.filter(pk=parse_id(media_id, "med_")).first()
    if media is None:
        raise Http404
    return media


def find_job(view: ApiView, job_id: str) -> Job:
    rows = Job.objects.visible_to(view.organization).of_world(view.world)
    job = rows.for_listing().filter(pk=parse_id(job_id, "job_")).first()
    if job is None:
        raise Http404
    return job
