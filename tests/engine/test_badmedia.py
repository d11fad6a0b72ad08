"""Broken and hostile files end in frames or a sentence, soon and within the memory allowed; never in a crash.

BADMEDIA_DIR may point at a folder of more such files: each is probed and decoded too.
"""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detection.engine import media
from detection.engine.errors import EngineError, MediaUnreadable
from tests.engine.clips import ASTRONAUT, make_clip

PATIENCE_S = 40.0  # the slowest file on a machine that is busy with other tests


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *extra,
            png_chunk(b"IDAT", zlib.compress(data)),
            png_chunk(b"IEND", b""),
        ]
    )


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def pixel_flood_png() -> bytes:
    return png(60_000, 60_000)


def pixel_flood_jpeg() -> bytes:
    data = bytearray(ASTRONAUT.read_bytes())
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def inflating_png() -> bytes:
    """Within the pixel limit, tiny on disk, 270 MB when inflated."""
    return png(9_500, 9_500, data=bytes(9_500 * 3 + 1) * 9_500)


def text_bomb_png() -> bytes:
    bomb = b"comment\x00\x00" + zlib.compress(bytes(200 << 20), 9)
    return png(8, 8, png_chunk(b"zTXt", bomb), data=(b"\x00" + bytes(24)) * 8)


def lying_wav() -> bytes:
    header = (
        b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )
    return header + b"data" + struct.pack("<I", 0xFFFFFFF0) + bytes(4000)


def absurd_wav() -> bytes:
    header = b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt "
    return header + struct.pack("<IHHIIHH", 16, 1, 65535, 1, 1, 65535, 0) + b"data" + struct.pack("<I", 8) + bytes(8)


def nested_moov() -> bytes:
    inner = box(b"moov")
    for _ in range(20_000):
        inner = struct.pack(">I", min(8 + len(inner), 0xFFFFFFFF)) + b"moov" + inner
    return box(b"ftyp", b"isom\x00\x00\x00\x00isom") + inner


def huge_table_mp4() -> bytes:
    """A sample table that claims four billion samples."""
    stts = box(b"stts", struct.pack(">IIII", 0, 1, 0xFFFFFFFF, 1))
    stsz = box(b"stsz", struct.pack(">III", 0, 1, 0xFFFFFFFF))
    return box(b"ftyp", b"isom\x00\x00\x00\x00isom") + box(
        b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", stts + stsz))))
    )


def endless_gif() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 64, 64, 0) + b"\x02\x02\x4c\x01\x00"
    return head + frame * 50_000


def deep_ebml() -> bytes:
    return (
        b"\x1aE\xdf\xa3\x9f"
        + bytes(31)
        + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
        + b"\x1f\x43\xb6\x75\x81" * 5000
    )


def exif_loop() -> bytes:
    """An EXIF directory that names itself as the next one."""
    ifd = struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    tiff = b"II*\x00" + struct.pack("<I", 8) + ifd
    body = b"Exif\x00\x00" + tiff
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + ASTRONAUT.read_bytes()[2:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    maker.__name__: maker
    for maker in (
        pixel_flood_png,
        pixel_flood_jpeg,
        inflating_png,
        text_bomb_png,
        lying_wav,
        absurd_wav,
        nested_moov,
        huge_table_mp4,
        endless_gif,
        deep_ebml,
        exif_loop,
    )
}


def survive(path: Path) -> str:
    """Probe and decode; returns how the decoding ended. Anything but an answer or an EngineError fails the test."""
    began = time.monotonic()
    message, ending = "", ""
    for action in (media.probe, media.decode):
        try:
            action(path)
            ending = "decoded"
        except EngineError as error:
            message, ending = error.message, error.code
        assert ending == "decoded" or len(message) > 30, "a sentence says what to do"
        assert "Traceback" not in message
    assert time.monotonic() - began < PATIENCE_S
    return ending


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(HOSTILE[name]())
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    survive(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 400_000


@pytest.mark.parametrize("name", ["pixel_flood_png", "pixel_flood_jpeg"])
def test_pixel_floods_are_refused_by_their_header(tmp_path, name):
    (tmp_path / "file").write_bytes(HOSTILE[name]())
    with pytest.raises(MediaUnreadable, match="megapixels"):
        media.decode(tmp_path / "file")


def test_a_lying_riff_size_does_not_hide_the_sound(tmp_path):
    (tmp_path / "file").write_bytes(lying_wav())
    audio = media.decode(tmp_path / "file").audio
    assert audio is not None
    assert audio.size == pytest.approx(4000, abs=40)


def test_broken_exif_does_not_hide_the_picture(tmp_path):
    (tmp_path / "file").write_bytes(exif_loop())
    assert media.decode(tmp_path / "file").frames[0].image.shape == (512, 512, 3)


@pytest.mark.parametrize(
    "container", [("mp4", "libx264", "aac"), ("avi", "mpeg4", "libmp3lame"), ("webm", "libvpx", "libopus")]
)
def test_flipped_bits(tmp_path, container):
    whole = bytearray(make_clip(tmp_path / "whole", *container, frames=20).read_bytes())
    rng = np.random.default_rng(7)
    for attempt in range(6):
        broken = bytearray(whole)
        for at in rng.integers(0, len(broken), 40):
            broken[at] ^= 1 << rng.integers(8)
        path = tmp_path / f"broken{attempt}"
        path.write_bytes(broken)
        survive(path)


def test_cut_at_every_length(tmp_path):
    whole = make_clip(tmp_path / "whole", "matroska", "libx264", "aac", frames=10).read_bytes()
    for part in np.linspace(1, len(whole) - 1, 10).astype(int):
        (tmp_path / "part").write_bytes(whole[:part])
        survive(tmp_path / "part")


def corpus() -> list[Path]:
    folder = os.environ.get("BADMEDIA_DIR")
    return sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.name)
def test_corpus(path):
    assert survive(path) in ("decoded", "media_unreadable", "deadline_exceeded", "decoder_crashed")
