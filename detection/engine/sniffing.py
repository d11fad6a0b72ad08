"""What a file is, by its first bytes; its name and its sender's word count for nothing."""

from __future__ import annotations

from typing import Literal

HEAD_BYTES = 4096

# container -> (MIME type, FFmpeg demuxer; None for stills). The demuxer is forced: FFmpeg's own guess could
# take a text file for a playlist that names other files and addresses.
CONTAINERS: dict[str, tuple[str, str | None]] = {
    "jpeg": ("image/jpeg", None),
    "png": ("image/png", None),
    "webp": ("image/webp", None),
    "heic": ("image/heic", None),
    "avif": ("image/avif", None),
    "gif": ("image/gif", None),
    "bmp": ("image/bmp", None),
    "tiff": ("image/tiff", None),
    "mp4": ("video/mp4", "mov"),
    "mov": ("video/quicktime", "mov"),
    "webm": ("video/webm", "matroska"),
    "matroska": ("video/x-matroska", "matroska"),
    "avi": ("video/x-msvideo", "avi"),
    "mpeg": ("video/mpeg", "mpeg"),
    "mpegvideo": ("video/mpeg", "mpegvideo"),
    "mpegts": ("video/mp2t", "mpegts"),
    "wav": ("audio/wav", "wav"),
    "mp3": ("audio/mpeg", "mp3"),
    "aac": ("audio/aac", "aac"),
    "ogg": ("audio/ogg", "ogg"),
    "flac": ("audio/flac", "flac"),
}
AUDIO_MIME = {"mp4": "audio/mp4", "mov": "audio/mp4", "webm": "audio/webm", "matroska": "audio/x-matroska"}
SUPPORTED = (
    "Send a picture (JPEG, PNG, WebP, HEIC), a video (MP4, WebM, MOV, MKV, AVI, MPEG) "
    "or a sound recording (WAV, MP3, M4A, OGG, FLAC, Opus)."
)

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"8BPS", "a Photoshop file"),
    (b"FLV", "a Flash video"),
    (b"\x30\x26\xb2\x75", "a Windows Media file"),
    (b"FORM", "an AIFF recording"),
    (b"#!AMR", "an AMR recording"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"%!PS", "a PostScript document"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"#EXTM3U", "a playlist"),
)


def sniff(head: bytes) -> str | None:
    """Return the container (a key of CONTAINERS) that the first bytes belong to, or None for anything else."""
    for start, container in _STARTS:
        if head.startswith(start):
            return container
    if head[4:8] == b"ftyp":
        return _sniff_brand(head)
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12])
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "webm" if b"webm" in head[:64] else "matroska"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov"
    if head.startswith(b"BM") and head[6:10] == b"\x00\x00\x00\x00":
        return "bmp"
    return _sniff_stream(head)


def _sniff_brand(head: bytes) -> Literal["heic", "avif", "mov", "mp4"]:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))}
    if head[8:12] == b"qt  ":
        return "mov"
    if brands & {b"avif", b"avis"}:
        return "avif"
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "heic"
    return "mp4"


def _sniff_stream(head: bytes) -> str | None:
    """Formats without a signature: frames that follow one another."""
    if head.startswith(b"ID3") and len(head) >= 10:
        body = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return {b"fLaC": "flac", b"OggS": "ogg"}.get(head[body : body + 4], "mp3")
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "mpegts"
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer, version = head[1] >> 1 & 3, head[1] >> 3 & 3
        if layer == 0 and head[1] & 0xF0 == 0xF0:
            return "aac"
        bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
        if layer != 0 and version != 1 and bitrate != 15 and rate != 3:
            return "mp3"
    return None


def refusal(head: bytes) -> str:
    """Say in a sentence why a file whose container is unknown is not analysed, and what to send instead."""
    if not head:
        return f"The file is empty. {SUPPORTED}"
    text = head.lstrip().lower()
    for start, name in _FOREIGN:
        if head.startswith(start) or text.startswith(start.lower()):
            return f"This is {name}, which is not analysed. {SUPPORTED}"
    return f"This file is of a type that is not analysed, or it is damaged at its start. {SUPPORTED}"
