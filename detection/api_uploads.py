"""The integrator API: large files in pieces (tus 1.0, https://tus.io), or directly to storage."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import IO, Any

from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from deepfake import quarantine
from deepfake.errors import DomainError
from deepfake.parsers import ShallowJSONParser
from detection import api_shapes as shapes
from detection import idempotency, payloads, uploads
from detection.api import IDEMPOTENCY_KEY, ApiView, PageQuery, StrictSerializer, Text, parse_id
from detection.api_limits import SAFE_METHODS
from detection.models import Upload, UploadState
from detection.querysets import of_keys_world

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
OFFSET_STREAM = "application/offset+octet-stream"
_METADATA_KEY = re.compile(r"[!-+\--~]+")
MAX_LENGTH_DIGITS = 15


def _header(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description, required=required)


_NUMBER = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999}
TUS_RESUMABLE = _header("Tus-Resumable", {"type": "string", "const": VERSION}, "Version of tus.", required=True)
UPLOAD_LENGTH = _header("Upload-Length", {**_NUMBER, "minimum": 1}, "Bytes of the whole file.", required=True)
UPLOAD_OFFSET = _header("Upload-Offset", _NUMBER, "Where this piece begins.", required=True)
UPLOAD_METADATA = _header(
    "Upload-Metadata",
    {"type": "string", "maxLength": 4000, "pattern": r"^filename [A-Za-z0-9+/]{4,400}$"},
    "Pairs of a name and a value in Base64, separated by commas; `filename` is kept.",
)
UPLOAD_CHECKSUM = _header(
    "Upload-Checksum",
    {"type": "string", "pattern": r"^sha256 [A-Za-z0-9+/]{43}=$"},
    f"Algorithm ({', '.join(CHECKSUMS)}) and digest of this piece in Base64.",
)


class OffsetStreamParser(BaseParser):
    """Leaves the body where it is: pieces are read block by block."""

    media_type = OFFSET_STREAM

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class TusView(ApiView):
    """What the addresses of tus share: its version, asked for and told."""

    parser_classes = (OffsetStreamParser, ShallowJSONParser)

    def limit_family_of(self, request: Request) -> str:
        """Beginning an upload is a submission; its pieces are plain writes, however many there are."""
        if request.method == "POST":
            return "submissions"
        return "reads" if request.method in SAFE_METHODS else "writes"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        speaks_tus = request.method in ("POST", "HEAD", "PATCH", "DELETE")  # GET is ours, OPTIONS asks for the version
        is_known = hasattr(self, (request.method or "").lower())  # what is not is a 405, in any version
        if speaks_tus and is_known and request.headers.get("Tus-Resumable") != VERSION:
            raise DomainError(
                f"Send the header Tus-Resumable: {VERSION}, the version of tus that is spoken here.",
                "tus_version",
                412,
            )

    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny()] if self.request.method == "OPTIONS" else super().get_permissions()

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = VERSION
        if response.status_code == 412:
            response["Tus-Version"] = VERSION
        if request.method == "HEAD":
            response["Cache-Control"] = "no-store"
        return response

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(settings.MAX_UPLOAD_BYTES),
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        }
        return Response(status=204, headers=headers)

    def has_piece(self) -> bool:
        """Whether the request has a body, which then must be a piece. Raises DomainError."""
        if int(self.request.META.get("CONTENT_LENGTH") or 0) == 0:
            return False
        if (self.request.content_type or "").partition(";")[0].strip() != OFFSET_STREAM:
            raise DomainError(f"Send pieces as {OFFSET_STREAM}.", "unsupported_media_type", 415)
        return True

    def stream(self) -> IO[bytes]:
        found: IO[bytes] | None = self.request.stream
        return found if found is not None else _NOTHING

    def store(self, upload: Upload, offset: int) -> uploads.Piece:
        digest, expected = self._checksum()
        return uploads.store_piece(upload, offset=offset, stream=self.stream(), digest=digest, expected=expected)

    def _checksum(self) -> tuple[Any, bytes]:
        text = self.request.headers.get("Upload-Checksum", "")
        if not text:
            return None, b""
        name, _, value = text.partition(" ")
        if name not in CHECKSUMS:
            raise _bad_header("Upload-Checksum", f"The algorithms are {', '.join(CHECKSUMS)}.")
        digest = hashlib.new(name, usedforsecurity=False)
        expected = _decoded("Upload-Checksum", value)
        if len(expected) != digest.digest_size:
            raise _bad_header("Upload-Checksum", f"A digest of {name} has {digest.digest_size} bytes.")
        return digest, expected

    def number(self, name: str) -> int:
        text = self.request.headers.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_LENGTH_DIGITS):
            raise _bad_header(name, "Give a whole number of bytes.")
        return int(text)

    def headers_of(self, upload: Upload) -> dict[str, str]:
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.state == UploadState.RECEIVING:
            headers["Upload-Expires"] = http_date(upload.expires_at.timestamp())
        if upload.media_id:
            headers["Media-Id"] = f"med_{upload.media_id.hex}"
        return headers


class _Nothing:
    def read(self, size: int = -1) -> bytes:
        return b""


_NOTHING: Any = _Nothing()


class UploadsView(TusView):
    @extend_schema(
        operation_id="list_uploads",
        summary="List uploads, newest first",
        description="Those under way, and for a week what became of the others.",
        parameters=[PageQuery],
        responses={
            200: shapes.page(shapes.UploadListShape, shapes.UPLOAD_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        self.asked(PageQuery)
        return self.page(of_keys_world(Upload.objects.filter(organization=self.organization), self.world), payload)

    @extend_schema(
        operation_id="create_upload",
        summary="Begin an upload in pieces (tus)",
        description="Announce the length; the answer names the address that takes the pieces. The first piece may come "
        "along as the body. Any client of tus 1.0 can do this. The item is made of the last piece: the header "
        "`Media-Id` names it.",
        parameters=[TUS_RESUMABLE, UPLOAD_LENGTH, UPLOAD_METADATA, IDEMPOTENCY_KEY],
        request={OFFSET_STREAM: OpenApiTypes.BINARY},
        examples=[OpenApiExample("First bytes of the file", value="…", media_type=OFFSET_STREAM, request_only=True)],
        responses={201: OpenApiResponse(description="`Location` takes the pieces."), **shapes.TUS_PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        upload = self.upload
        if self.piece is not None:
            upload = uploads.add_piece(self.piece)
        headers = self.headers_of(upload) | {"Location": _address(request, upload)}
        return Response(status=201, headers=headers)

    @contextlib.contextmanager
    def prepared(self, request: Request, *args: Any, **kwargs: Any) -> Iterator[None]:
        metadata = request.headers.get("Upload-Metadata", "")
        if request.headers.get("Upload-Defer-Length"):
            raise _bad_header("Upload-Defer-Length", "The length must be known at the beginning: send Upload-Length.")
        has_body = self.has_piece()
        self.piece: uploads.Piece | None = None
        self.upload = uploads.begin(
            organization=self.organization,
            size_bytes=self.number("Upload-Length"),
            filename=_filename(metadata),
            metadata=metadata,
            **self.who,
        )
        try:
            if has_body:
                self.piece = self.store(self.upload, 0)
            yield
        except BaseException:
            uploads.end(upload=self.upload, **self.who)
            raise
        self.upload.refresh_from_db()
        if self.upload.is_whole:
            # The upload was taken, whatever its file turns out to be: that is told of the upload.
            with contextlib.suppress(DomainError):
                uploads.finish(self.upload)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        media_id = getattr(getattr(self, "upload", None), "media_id", None)
        if media_id and response.status_code == 201:
            response["Media-Id"] = f"med_{media_id.hex}"
        return response

    def fingerprint(self) -> str:
        headers = self.request.headers
        named = ("Upload-Length", "Upload-Metadata", "Upload-Checksum", "Content-Length", "Content-Type")
        fields = {name: headers.get(name, "") for name in named}
        return idempotency.fingerprint("POST", self.request.get_full_path(), fields)


class UploadView(TusView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # For clients behind something that lets only GET and POST through; tus asks servers to understand it.
        wanted = request.headers.get("X-HTTP-Method-Override", "")
        if request.method == "POST" and wanted in ("PATCH", "DELETE", "HEAD"):
            request.method = wanted
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        operation_id="get_upload",
        summary="Read how far an upload is, and what became of it",
        description="`HEAD` of the same address is what clients of tus ask to go on: `Upload-Offset`.",
        responses={
            200: shapes.answer(shapes.UploadShape, "The upload.", shapes.UPLOAD_EXAMPLE),
            **shapes.problems(404),
        },
    )
    def get(self, request: Request, upload_id: str) -> Response:
        return Response(payload(find_upload(self, upload_id)))

    @extend_schema(exclude=True)
    def head(self, request: Request, upload_id: str) -> Response:
        upload = find_upload(self, upload_id)
        if upload.state == UploadState.REFUSED or upload.expires_at < timezone.now():
            raise DomainError("This upload has ended without an item.", "upload_expired", 410)
        headers = self.headers_of(upload) | {"Upload-Length": str(upload.size_bytes)}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return Response(status=200, headers=headers)

    @extend_schema(
        operation_id="append_to_upload",
        summary="Send a piece of an upload (tus)",
        description="Of any size, beginning where the upload stands. Of a piece whose connection broke, what came "
        "until then is kept if it has no checksum: ask with `HEAD` where to go on. The last one makes the item.",
        parameters=[TUS_RESUMABLE, UPLOAD_OFFSET, UPLOAD_CHECKSUM],
        request={OFFSET_STREAM: OpenApiTypes.BINARY},
        examples=[OpenApiExample("Bytes of the file", value="…", media_type=OFFSET_STREAM, request_only=True)],
        responses={
            204: OpenApiResponse(description="It is kept; `Upload-Offset` says where the next one begins."),
            **shapes.TUS_PROBLEMS,
            **shapes.problems(404, 410, 460),
        },
    )
    def patch(self, request: Request, upload_id: str) -> Response:
        upload = find_upload(self, upload_id)
        self.has_piece()
        offset = self.number("Upload-Offset")
        if upload.state != UploadState.COMPLETED or offset != upload.offset:
            upload = uploads.add_piece(self.store(upload, offset))
        if upload.is_whole:
            uploads.finish(upload)
        return Response(status=204, headers=self.headers_of(upload))

    @extend_schema(
        operation_id="end_upload",
        summary="End an upload and forget what was received (tus)",
        description="An item that was made of it stays.",
        parameters=[TUS_RESUMABLE],
        responses={204: OpenApiResponse(description="It is gone."), **shapes.problems(404, 412)},
    )
    def delete(self, request: Request, upload_id: str) -> Response:
        uploads.end(upload=find_upload(self, upload_id), **self.who)
        return Response(status=204)


class DirectUploadView(ApiView):
    limit_family = "submissions"

    class Input(StrictSerializer):
        filename = Text(required=False, default="", allow_blank=True, max_length=255)
        size_bytes = serializers.IntegerField(min_value=1, max_value=10**15)

    @extend_schema(
        operation_id="create_direct_upload",
        summary="Begin an upload directly to storage",
        description="Only where the installation keeps its files in a bucket (S3). The answer is a form, signed for an "
        "hour, for exactly this many bytes: POST its fields and then the file, as `file`, to its `url`; then complete.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input},
        examples=[
            OpenApiExample("A clip", value={"filename": "statement.mp4", "size_bytes": 48219040}, request_only=True)
        ],
        responses={
            201: shapes.answer(shapes.DirectUploadShape, "The form.", shapes.DIRECT_UPLOAD_EXAMPLE),
            **shapes.problems(400, 409, 413, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        upload = uploads.begin(organization=self.organization, is_direct=True, **given, **self.who)
        form = quarantine.permit(
            upload.organization_id, upload.pk, size_bytes=upload.size_bytes, seconds=DIRECT_SECONDS
        )
        return Response({**payload(upload), "method": "POST", "url": form["url"], "fields": form["fields"]}, status=201)


DIRECT_SECONDS = 3600


class UploadCompleteView(ApiView):
    @extend_schema(
        operation_id="complete_upload",
        summary="Make the item of a file that was sent directly to storage",
        description="It is fetched, checked, stored encrypted, and removed from where it was sent to.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: shapes.answer(
                shapes.UploadShape,
                "The item is there.",
                {**shapes.UPLOAD_EXAMPLE, "state": "completed", "media_id": shapes.MEDIA_ID},
            ),
            **shapes.problems(400, 404, 409, 413, 415, 422, 507),
        },
    )
    def post(self, request: Request, upload_id: str) -> Response:
        self.upload.refresh_from_db()
        return Response(payload(self.upload))

    @contextlib.contextmanager
    def prepared(self, request: Request, *args: Any, **kwargs: Any) -> Iterator[None]:
        self.no_body()
        self.upload = find_upload(self, kwargs["upload_id"])
        if uploads.complete_direct(self.upload) is None:
            raise DomainError("This upload is being completed. Ask again in a moment.", "upload_incomplete", 409)
        yield


def payload(upload: Upload) -> dict[str, Any]:
    error = {"code": upload.error_code, "message": upload.error_message} if upload.error_code else None
    return {
        "upload_id": upload.public_id,
        "state": upload.state,
        "filename": upload.filename,
        "size_bytes": upload.size_bytes,
        "offset": upload.offset,
        "direct": upload.is_direct,
        "media_id": f"med_{upload.media_id.hex}" if upload.media_id else None,
        "error": error,
        "created_at": payloads.moment(upload.created_at),
        "expires_at": payloads.moment(upload.expires_at),
    }


def find_upload(view: ApiView, upload_id: str) -> Upload:
    rows = of_keys_world(Upload.objects.select_related("organization", "created_by", "api_key", "media"), view.world)
    upload = rows.filter(organization=view.organization, pk=parse_id(upload_id, "upl_")).first()
    if upload is None:
        raise Http404
    return upload


def _address(request: Request, upload: Upload) -> str:
    return request.build_absolute_uri(reverse("api_upload", args=[upload.public_id]))


def _filename(metadata: str) -> str:
    """What the pairs of Upload-Metadata call the file."""
    found = ""
    if len(metadata) > 4000:
        raise _bad_header("Upload-Metadata", "It may have 4,000 characters at most.")
    for pair in metadata.split(",") if metadata.strip() else ():
        name, _, value = pair.strip().partition(" ")
        if not _METADATA_KEY.fullmatch(name):
            raise _bad_header("Upload-Metadata", "Give pairs of a name and a value in Base64, separated by commas.")
        text = _decoded("Upload-Metadata", value).decode("utf-8", "replace")
        if name == "filename":
            found = text
    return found


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _bad_header(name, "The value is not Base64.") from None


def _bad_header(name: str, sentence: str) -> DomainError:
    return DomainError(f"{name}: {sentence}", "header_invalid", fields={name: [sentence]})
