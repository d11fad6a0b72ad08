"""Async byte-range responses over encrypted objects, so that a player can seek."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from deepfake import storage

BLOCK_BYTES = 256 * 1024

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    start: int
    length: int


class Unsatisfiable(Exception):
    """The asked range lies outside the object."""


def parse(header: str, total: int) -> ByteRange | None:
    """Return the range that `header` asks of an object of `total` bytes; None to send it whole.

    A header that cannot be understood, and one that asks for several ranges, is ignored (RFC 9110 §14.2 allows it).
    Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if len(first) > 18 or len(last) > 18:
        raise Unsatisfiable
    if not first:  # the last n bytes
        length = min(int(last), total)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(total - length, length)
    start = int(first)
    end = min(int(last), total - 1) if last else total - 1
    if last and int(last) < start:
        return None
    if start >= total:
        raise Unsatisfiable
    return ByteRange(start, end - start + 1)


async def respond(
    request: HttpRequest, storage_name: str, *, content_type: str, filename: str = "", as_download: bool = False
) -> HttpResponseBase:
    """Answer GET or HEAD with the object, or the part of it that `Range` asks for (200, 206 or 416)."""
    total = await sync_to_async(storage.size)(storage_name)
    try:
        wanted = parse(request.headers.get("Range", ""), total)
    except Unsatisfiable:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{total}", "Accept-Ranges": "bytes"})
    part = wanted or ByteRange(0, total)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(part.length),
        "Cache-Control": "private, max-age=300",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        # What a stranger uploaded must never run as a page of ours, whatever it holds.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{total}"
    if not _is_shown(content_type):
        # A page, an SVG or whatever else a browser might run is only ever saved.
        content_type, as_download = "application/octet-stream", True
    if filename or as_download:
        headers["Content-Disposition"] = _disposition(filename, as_download=as_download)
    status = 206 if wanted is not None else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers, content_type=content_type)
    return StreamingHttpResponse(blocks(storage_name, part), status=status, headers=headers, content_type=content_type)


def _is_shown(content_type: str) -> bool:
    kind, _, form = content_type.partition(";")[0].strip().lower().partition("/")
    return (kind in ("image", "video", "audio") and "xml" not in form) or (kind, form) == ("application", "json")


async def blocks(storage_name: str, part: ByteRange) -> AsyncIterator[bytes]:
    """Yield the part in pieces; decryption happens in a thread, off the event loop."""
    position, end = part.start, part.start + part.length
    read = sync_to_async(storage.read_range, thread_sensitive=False)
    while position < end:
        block = await read(storage_name, position, min(BLOCK_BYTES, end - position))
        if not block:
            return
        yield block
        position += len(block)


def _disposition(filename: str, *, as_download: bool) -> str:
    return content_disposition_header(as_download, filename or "download") or "inline"
