"""Every format goes in and comes out upright, whole and at the right times; what cannot says why."""

from __future__ import annotations

import io
import struct
import threading
import time
from pathlib import Path

import imagehash
import numpy as np
import pillow_heif
import pytest
import soundfile
from PIL import Image

from detection.engine import media, sandbox
from detection.engine.errors import MediaUnreadable
from detection.engine.media import DecodePlan, Limits
from tests.engine.clips import ASTRONAUT, astronaut, grey_of, make_clip, tone

pillow_heif.register_heif_opener()

PICTURES = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "heic": "HEIF",
    "avif": "AVIF",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
}
CLIPS = {
    "mp4": ("mp4", "libx264", "aac"),
    "mov": ("mov", "libx264", "aac"),
    "webm": ("webm", "libvpx-vp9", "libopus"),
    "mkv": ("matroska", "libx264", "aac"),
    "avi": ("avi", "mpeg4", "libmp3lame"),
    "mpg": ("mpeg", "mpeg2video", "mp2"),
    "ts": ("mpegts", "libx264", "aac"),
    "hevc": ("mp4", "libx265", "aac"),
}
SOUNDS = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("mp4", "aac"),
    "flac": ("flac", "flac"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
}


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(("container", "pillow_name"), PICTURES.items())
def test_stills(tmp_path, container, pillow_name):
    path = save(tmp_path / "name-says-nothing.txt", Image.fromarray(astronaut()), format=pillow_name)
    decoded = media.decode(path)
    assert (decoded.info.kind, decoded.info.container) == ("image", container)
    assert decoded.frames[0].image.shape == (512, 512, 3)
    assert np.abs(decoded.frames[0].image.astype(int) - astronaut()).mean() < 12
    assert decoded.info.is_browser_playable == (container not in ("heic", "tiff"))
    assert decoded.audio is None


def test_facts_of_a_still(tmp_path):
    info = media.probe(ASTRONAUT)
    assert (info.width, info.height, info.mime_type) == (512, 512, "image/jpeg")
    assert info.size_bytes == ASTRONAUT.stat().st_size
    assert len(info.sha256) == 64


def test_perceptual_hash_equals_imagehash():
    expected = str(imagehash.phash(Image.open(ASTRONAUT).convert("RGB")))
    assert media.decode(ASTRONAUT).info.phash == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.fromarray(astronaut()[:, :300])
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", stored, quality=95, exif=exif)
    decoded = media.decode(path)
    assert (decoded.info.width, decoded.info.height) == (300, 512)
    assert np.abs(decoded.frames[0].image.astype(int) - np.asarray(upright)).mean() < 6


def test_exif_is_kept_as_bounded_text(tmp_path):
    exif = Image.Exif()
    exif[0x0110] = "Camera Z\x00\x07"
    exif[0x0131] = "x" * 5000
    exif[0x927C] = b"\x01\x02binary"
    path = save(tmp_path / "a.jpg", Image.new("RGB", (40, 30), "red"), exif=exif)
    metadata = media.decode(path).info.metadata
    assert metadata["Model"] == "Camera Z"
    assert len(metadata["Software"]) == 300
    assert "MakerNote" not in metadata


def modes() -> dict[str, Image.Image]:
    colour = Image.fromarray(astronaut())
    deep = Image.fromarray(np.asarray(colour.convert("L"), np.uint16) * 257)
    return {
        "grey": colour.convert("L"),
        "palette": colour.quantize(200),
        "one bit": colour.convert("1"),
        "grey and alpha": colour.convert("LA"),
        "16 bit": deep,
    }


@pytest.mark.parametrize("mode", modes())
def test_every_mode_becomes_rgb(tmp_path, mode):
    decoded = media.decode(save(tmp_path / "a.png", modes()[mode]))
    picture = decoded.frames[0].image
    assert picture.shape == (512, 512, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.mean() - astronaut().mean()) < 12


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(astronaut()).convert("CMYK"), quality=95)
    assert np.abs(media.decode(path).frames[0].image.astype(int) - astronaut()).mean() < 12


def test_transparency_is_laid_on_white(tmp_path):
    picture = media.decode(save(tmp_path / "a.png", Image.new("RGBA", (32, 32), (200, 0, 0, 0)))).frames[0].image
    assert picture.min() == 255


def test_an_animation_is_read_at_its_first_frame_with_a_warning(tmp_path):
    first, second = Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (64, 64), "red")
    path = save(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    decoded = media.decode(path)
    assert decoded.frames[0].image[0, 0].tolist() == [0, 0, 255]
    assert "first frame" in decoded.warnings[0]


def test_an_animation_damaged_after_its_first_frame_is_read_at_that_frame(tmp_path):
    """Pillow's own count of the frames fails on the fragment with an IndexError."""
    buffer = io.BytesIO()
    Image.fromarray(astronaut()).resize((64, 64)).save(buffer, "GIF")
    path = tmp_path / "a.gif"
    path.write_bytes(buffer.getvalue()[:-1] + b"!")
    assert media.decode(path).frames[0].image.shape == (64, 64, 3)


def test_advice_for_a_broken_sound_speaks_of_sound(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    with pytest.raises(MediaUnreadable, match="save it anew as WAV"):
        media.decode(path)


def test_a_large_still_is_scaled_down_and_says_so(tmp_path):
    path = save(tmp_path / "a.jpg", Image.new("RGB", (6000, 400), "green"))
    decoded = media.decode(path)
    assert decoded.info.width == 6000
    assert decoded.frames[0].image.shape[1] == 4096
    assert "very large" in decoded.warnings[0]


def test_a_truncated_still_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(ASTRONAUT.read_bytes()[:40_000])
    decoded = media.decode(path)
    assert "truncated" in decoded.warnings[0]
    assert np.abs(decoded.frames[0].image[:150].astype(int) - astronaut()[:150]).mean() < 3


def test_a_still_cut_off_after_its_header_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(ASTRONAUT.read_bytes()[:700])
    with pytest.raises(MediaUnreadable, match="Send the original"):
        media.decode(path)


@pytest.mark.parametrize("name", CLIPS)
def test_clips(tmp_path, name):
    path = make_clip(tmp_path / "clip", *CLIPS[name])
    decoded = media.decode(path)
    info = decoded.info
    assert (info.kind, info.width, info.height, info.frame_count) == ("video", 160, 120, 50)
    assert info.duration_s == pytest.approx(2.0, abs=0.06)
    assert info.has_audio
    assert decoded.audio is not None
    assert decoded.audio.size / 16_000 == pytest.approx(2.0, abs=0.08)
    assert 0.2 < np.abs(decoded.audio).max() < 0.5
    assert [frame.index for frame in decoded.frames] == list(range(0, 50, 2))
    for frame in decoded.frames:
        assert abs(int(frame.image[60, 100].mean()) - grey_of(frame.index)) <= 4, frame.index
    assert info.is_browser_playable == (name in ("mp4", "webm"))


@pytest.mark.parametrize("format", ["mp4", "avi", "matroska"])
def test_frame_numbers_are_presentation_order_with_reordered_frames(tmp_path, format):
    path = make_clip(tmp_path / "clip", format, "libx264", None, options={"bf": "3"})
    for frame in media.decode(path).frames:
        assert abs(int(frame.image[60, 100].mean()) - grey_of(frame.index)) <= 4


def test_frame_numbers_are_exact_when_jumping_through_a_long_clip(tmp_path):
    path = make_clip(tmp_path / "a.mp4", audio=None, frames=1500, size=(64, 48), options={"bf": "2", "g": "60"})
    decoded = media.decode(path)
    assert decoded.info.duration_s == pytest.approx(60, abs=0.1)
    assert 16 * 10 <= len(decoded.frames) <= 16 * 20
    assert decoded.frames[-1].index > 1400
    for frame in decoded.frames:
        assert abs(int(frame.image[24, 40].mean()) - grey_of(frame.index)) <= 4, frame.index
        assert frame.time_s == pytest.approx(frame.index / 25, abs=0.002)


def test_a_plan_may_name_the_moments(tmp_path):
    path = make_clip(tmp_path / "a.mp4", audio=None, frames=1000, size=(64, 48))
    decoded = media.decode(path, plan=DecodePlan(starts_s=(4.0, 30.0), audio=False))
    assert len(decoded.frames) == 32
    assert decoded.frames[0].index == 100
    assert decoded.frames[16].index == 750


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds(tmp_path, name):
    format, codec = SOUNDS[name]
    path = make_clip(tmp_path / "sound", format, None, codec)
    decoded = media.decode(path)
    assert decoded.info.kind == "audio"
    assert decoded.info.mime_type.startswith("audio/")
    assert decoded.frames == ()
    assert decoded.audio is not None
    assert decoded.audio.dtype == np.float32
    assert decoded.info.duration_s == pytest.approx(2.0, abs=0.08)
    spectrum = np.abs(np.fft.rfft(decoded.audio[4000:20_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("rate_hz", "subtype"), [(8000, "ULAW"), (22_050, "PCM_24"), (48_000, "FLOAT")])
def test_sound_becomes_mono_16_khz(tmp_path, rate_hz, subtype):
    mono = tone(1.0, rate_hz)
    soundfile.write(tmp_path / "a.wav", np.stack([mono, mono], axis=1), rate_hz, subtype=subtype)
    audio = media.decode(tmp_path / "a.wav").audio
    assert audio is not None
    assert audio.shape == pytest.approx((16_000,), abs=40)
    assert np.abs(audio).max() == pytest.approx(0.3, abs=0.03)


def test_a_silent_clip_has_no_sound(tmp_path):
    decoded = media.decode(make_clip(tmp_path / "a.mp4", audio=None))
    assert decoded.audio is None
    assert not decoded.info.has_audio


def test_cover_art_is_no_video(tmp_path):
    path = make_clip(tmp_path / "a.mp3", "mp3", None, "libmp3lame")
    cover = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(cover, "JPEG")
    path.write_bytes(id3_with_cover(cover.getvalue()) + path.read_bytes())
    assert media.decode(path).info.kind == "audio"


def id3_with_cover(jpeg: bytes) -> bytes:
    body = b"\x00image/jpeg\x00\x03\x00" + jpeg
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame


def test_display_rotation_is_applied(tmp_path):
    path = make_clip(tmp_path / "a.mp4", audio=None, frames=10)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 8 + 4 + 4 + 4 + 8 + 8  # the matrix of a version 0 track header
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 120 << 16, 0, 1 << 30)  # 90° clockwise
    path.write_bytes(data)
    decoded = media.decode(path)
    assert (decoded.info.width, decoded.info.height) == (120, 160)
    picture = decoded.frames[0].image
    assert picture.shape == (160, 120, 3)
    assert picture[10, 60, 0] > 200 > picture[150, 60, 0]  # the red bar of the left side is now on top


def test_a_truncated_clip_is_read_as_far_as_it_goes(tmp_path):
    path = make_clip(tmp_path / "a.mkv", "matroska", frames=200, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decoded = media.decode(path)
    assert len(decoded.frames) > 0
    assert decoded.info.duration_s < 7
    assert any("truncated" in warning or "cut off" in warning for warning in decoded.warnings)


def test_an_mp4_without_its_index_says_what_to_do(tmp_path):
    path = make_clip(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaUnreadable, match="upload was cut off"):
        media.decode(path)


def test_a_recording_that_is_too_long_is_refused(tmp_path):
    path = make_clip(tmp_path / "a.mp4", frames=100, size=(64, 48))
    with pytest.raises(MediaUnreadable, match="lasts 4 seconds; at most 2 seconds"):
        media.probe(path, limits=Limits(max_duration_s=2))


def test_a_picture_that_is_too_big_is_refused(tmp_path):
    with pytest.raises(MediaUnreadable, match="at most"):
        media.probe(ASTRONAUT, limits=Limits(max_image_bytes=1000))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04 ...", "ZIP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"#EXTM3U\n/etc/passwd\n", "playlist"),
        (b"just some text", "not analysed"),
    ],
)
def test_foreign_files_are_told_what_they_are(tmp_path, content, word):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MediaUnreadable, match=word) as caught:
        media.probe(tmp_path / "a.mp4")
    assert "Send a picture" in caught.value.message


@pytest.mark.parametrize("name", ["mkv", "avi", "mpg", "hevc", "mov"])
def test_renditions_are_playable_and_frame_exact(tmp_path, name):
    path = make_clip(tmp_path / "clip", *CLIPS[name])
    original = media.decode(path)
    mime = media.render_playable(path, tmp_path / "out.mp4", original.info)
    made = media.decode(tmp_path / "out.mp4")
    assert mime == made.info.mime_type == "video/mp4"
    assert made.info.is_browser_playable
    assert made.info.frame_count == original.info.frame_count
    assert made.audio is not None
    for ours, theirs in zip(made.frames, original.frames, strict=True):
        assert ours.index == theirs.index
        assert ours.time_s == pytest.approx(theirs.time_s, abs=0.001)
        assert np.abs(ours.image.astype(int) - theirs.image.astype(int)).mean() < 4


def test_sound_that_browsers_cannot_play_gets_a_rendition(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 8000), 8000, subtype="ULAW")
    info = media.probe(tmp_path / "a.wav")
    assert not info.is_browser_playable
    assert media.render_playable(tmp_path / "a.wav", tmp_path / "out.m4a", info) == "audio/mp4"
    made = media.decode(tmp_path / "out.m4a")
    assert made.info.is_browser_playable
    assert made.info.duration_s == pytest.approx(1.0, abs=0.1)


def test_heic_gets_a_jpeg(tmp_path):
    path = save(tmp_path / "a.heic", Image.fromarray(astronaut()), format="HEIF")
    assert media.render_playable(path, tmp_path / "out.jpg") == "image/jpeg"
    assert Image.open(tmp_path / "out.jpg").size == (512, 512)


@pytest.mark.parametrize("kind", ["still", "clip"])
def test_thumbnails(tmp_path, kind):
    path = ASTRONAUT if kind == "still" else make_clip(tmp_path / "a.mp4", size=(640, 480))
    assert media.thumbnail(path, tmp_path / "out.jpg", side=200) == "image/jpeg"
    assert max(Image.open(tmp_path / "out.jpg").size) == 200


def test_sound_has_no_thumbnail(tmp_path):
    path = make_clip(tmp_path / "a.wav", "wav", None, "pcm_s16le")
    with pytest.raises(MediaUnreadable):
        media.thumbnail(path, tmp_path / "out.jpg")


def test_long_clips_keep_within_the_memory_budget(tmp_path):
    path = make_clip(tmp_path / "a.mp4", audio=None, frames=300, size=(640, 480))
    decoded = media.decode(path, limits=Limits(frames_bytes=10_000_000))
    assert sum(frame.image.nbytes for frame in decoded.frames) <= 11_000_000
    assert decoded.info.width == 640


def test_files_are_decoded_side_by_side(tmp_path):
    sandbox.warm_up()
    failures: list[BaseException] = []

    def one() -> None:
        try:
            assert media.decode(ASTRONAUT).frames[0].image.shape == (512, 512, 3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert time.monotonic() - began < 20
