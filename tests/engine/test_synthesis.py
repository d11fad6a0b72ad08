"""The synthesis branch: pieces, evidence, and the weights that ship."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.engine import patches, registry, runtime
from detection.engine.branches import synthesis
from detection.engine.types import Decoded, Face, Frame, MediaInfo, Scene, Track

GOLDEN_LOGITS = [1.689, -0.161]
GOLDEN_FACE_LOGITS = [1.305, -0.160]
TOLERANCE = 0.02


def scene_of(*images: np.ndarray, kind: str = "image", tracks: tuple[Track, ...] = ()) -> Scene:
    info = MediaInfo(kind, "png", "image/png", 1, "0" * 64)  # type: ignore[arg-type]
    frames = tuple(Frame(i * 5, i * 0.2, image) for i, image in enumerate(images))
    return Scene(Decoded(info, frames), tracks=tracks)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth waves with a little noise; the same pixels on every machine."""
    y, x = np.indices((height, width))
    waves = np.stack([128 + 90 * np.sin((x * (c + 1) + y * 2) / 23) for c in range(3)], axis=-1)
    return (waves + np.random.default_rng(seed).integers(-12, 13, waves.shape)).clip(0, 255).astype(np.uint8)


def level(height: int, width: int, mean: int, seed: int = 0) -> np.ndarray:
    """Noise around one grey level: texture without a subject."""
    noise = np.random.default_rng(seed).integers(-12, 13, (height, width, 3))
    return (mean + noise).astype(np.uint8)


class FixedNet:
    """A net that finds bright pieces generated: logit = mean level - 128, over 10; in faces it finds the opposite."""

    def __init__(self, size: int = 64) -> None:
        spec = registry.BRANCHES["synthesis"]
        self.spec = spec.__class__(**{**vars(spec), "input_size": size, "temperature": 1.0, "bias": 0.0})
        self.mean, self.std = spec.mean[0], spec.std[0]

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        level = batch.mean(axis=(1, 2, 3)) * self.std + self.mean
        logit = (level - 128) / 10
        return {"logit": logit, "face_logit": -logit, "cam": np.abs(batch[:, 0, ::16, ::16])}


def test_sound_without_picture_is_skipped() -> None:
    found = synthesis.examine(scene_of(kind="audio"), None)
    assert (found.state, found.reason, found.score) == ("skipped", "no_picture", None)


@pytest.mark.parametrize(("height", "width"), [(40, 300), (127, 2000), (70, 1140)])
def test_small_picture_is_skipped_with_a_reason(height: int, width: int) -> None:
    found = synthesis.examine(scene_of(picture(height, width)), FixedNet())
    assert (found.state, found.reason, found.score) == ("skipped", "too_small", None)


def page() -> np.ndarray:
    """A page with lines of print and a chart."""
    paper = np.full((700, 500, 3), 250, np.uint8)
    for line in range(40, 400, 30):
        cv2.putText(paper, "Invoice 1234: total 99.00", (30, line), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 1)
    cv2.rectangle(paper, (60, 450), (200, 650), (200, 90, 40), -1)
    return paper


@pytest.mark.parametrize("quality", [None, 60, 90])
def test_a_page_or_graphic_gets_no_score(quality: int | None) -> None:
    image = page()
    if quality:
        image = cv2.imdecode(np.frombuffer(patches.encode_jpeg(image, quality), np.uint8), cv2.IMREAD_COLOR)
    found = synthesis.examine(scene_of(image), FixedNet(192))
    assert (found.state, found.reason, found.score) == ("skipped", "no_texture", None)


def test_flat_pieces_of_a_photograph_do_not_count() -> None:
    image = np.full((400, 600, 3), 250, np.uint8)  # a burnt-out sky, bright: alone, it would count as generated
    image[200:] = level(200, 600, 108)
    found = synthesis.examine(scene_of(image), FixedNet())
    assert found.data["pieces"] < 9
    assert found.logit is not None
    assert found.logit < 0


def test_score_is_the_calibrated_mean_of_the_pieces() -> None:
    bright = synthesis.examine(scene_of(level(200, 300, 148)), FixedNet())
    assert bright.logit == pytest.approx(2.0, abs=0.1)
    assert bright.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=0.02)
    assert bright.data["rare_pieces"] == bright.data["pieces"] == 9


@pytest.mark.parametrize(
    ("score", "rare", "words"),
    [
        (0.9, 4, "is much more like what generators make"),
        (0.7, 3, "is more like what generators make"),
        (0.5, 1, "does not settle"),
        (0.64, 2, "does not settle"),
        (0.2, 4, "does not settle"),  # a part of it may be generated
        (0.2, 1, "is more like what cameras take"),
        (0.1, 0, "is much more like what cameras take"),
    ],
)
def test_the_finding_is_as_strong_as_the_score_and_sets_the_count_against_genuine_pictures(
    score: float, rare: int, words: str
) -> None:
    said = synthesis.sentence(score, rare, 9, is_clip=False)
    assert words in said
    assert f"{rare} of 9 examined pieces stood out; of genuine pictures one piece in ten does" in said


@pytest.mark.parametrize(
    ("score", "words"), [(0.8, "each part a little and none by itself"), (0.64, "does not settle")]
)
def test_a_count_that_would_argue_against_the_score_is_not_told(score: float, words: str) -> None:
    said = synthesis.sentence(score, 0, 9, is_clip=False)
    assert words in said
    assert "stood out" not in said


def test_a_piece_stands_out_only_beyond_what_one_genuine_piece_in_ten_shows() -> None:
    """At even odds many pieces of a genuine picture lie above, so a count of those would sound stronger than it is."""
    level_at = round(128 + 10 * synthesis.RARE_PIECE_LOGIT)
    below = synthesis.examine(scene_of(level(200, 300, level_at - 2)), FixedNet())
    above = synthesis.examine(scene_of(level(200, 300, level_at + 3)), FixedNet())
    assert (below.data["rare_pieces"], above.data["rare_pieces"]) == (0, 9)


def test_a_finding_on_a_face_alone_counts_no_pieces() -> None:
    image = np.full((400, 400, 3), 250, np.uint8)
    image[100:300, 100:300] = level(200, 200, 108)
    found = synthesis.examine(scene_of(image[:300, :300], tracks=face_at(120, 120, 100)), FixedNet(192))
    assert found.state == "scored"
    if not found.data["pieces"]:
        assert "pieces" not in found.sentence


def face_at(x: float, y: float, side: float) -> tuple[Track, ...]:
    return (Track(0, (Face(0, 0.0, (x, y, side, side), 0.9),)),)


def test_a_face_counts_as_much_as_the_whole_picture_and_has_a_head_of_its_own() -> None:
    image = level(400, 900, 108)
    image[100:300, 300:500] = level(200, 200, 168)
    without = synthesis.examine(scene_of(image), FixedNet())
    with_face = synthesis.examine(scene_of(image, tracks=face_at(350, 150, 100)), FixedNet())
    assert with_face.logit is not None
    assert without.logit is not None
    assert with_face.logit == pytest.approx((without.logit - 4.0) / 2, abs=0.4)


def test_in_a_portrait_the_face_decides() -> None:
    image = level(300, 300, 108)
    found = synthesis.examine(scene_of(image, tracks=face_at(50, 50, 180)), FixedNet())
    assert found.logit == pytest.approx(0.2 * -2.0 + 0.8 * 2.0, abs=0.1)


def test_a_tiny_face_is_not_enlarged_into_evidence() -> None:
    image = level(400, 600, 108)
    found = synthesis.examine(scene_of(image, tracks=face_at(100, 100, 30)), FixedNet())
    assert found.logit == pytest.approx(-2.0, abs=0.1)


def test_a_clip_gets_a_curve_and_at_most_three_maps() -> None:
    frames = [level(140, 160, 100 + 4 * i) for i in range(12)]
    found = synthesis.examine(scene_of(*frames, kind="video"), FixedNet())
    assert len(found.curve) == synthesis.CLIP_FRAMES
    assert [p.score for p in found.curve] == sorted(p.score for p in found.curve)
    assert len(found.heatmaps) == 3
    assert found.heatmaps[0].score == max(p.score for p in found.curve)


def test_pieces_keep_native_pixels_and_prefer_texture() -> None:
    image = np.full((900, 900, 3), 90, np.uint8)
    image[620:820, 610:810] = picture(200, 200)
    pieces = patches.choose(image, 128)
    assert len(pieces) == 9
    for piece in pieces:
        x, y, w, h = piece.box
        np.testing.assert_array_equal(piece.image, image[y : y + h, x : x + w])
    x, y, _, _ = pieces[-1].box
    assert 600 <= x <= 720
    assert 600 <= y <= 720


@pytest.mark.parametrize(("height", "width"), [(70, 70), (64, 500), (160, 160), (161, 400), (3000, 200), (1080, 1920)])
def test_pieces_of_any_shape_lie_inside_the_picture(height: int, width: int) -> None:
    image = picture(height, width)
    for piece in [*patches.choose(image, 160), *patches.grid(image, 160)]:
        x, y, w, h = piece.box
        assert piece.image.shape == (160, 160, 3)
        assert min(x, y) >= 0
        assert min(w, h) > 0
        assert x + w <= width
        assert y + h <= height


def test_quality_falls_with_size_blur_and_compression() -> None:
    good = picture(512, 512)
    worse = {
        "small": good[:80, :80],
        "blurred": cv2.GaussianBlur(good, (0, 0), 3),
        "compressed": cv2.imdecode(np.frombuffer(patches.encode_jpeg(good, 6), np.uint8), cv2.IMREAD_COLOR),
    }
    for name, image in worse.items():
        assert patches.quality(image) < 0.7 * patches.quality(good), name


def test_map_covers_the_whole_frame_where_the_pieces_lie() -> None:
    pieces = [patches.Patch((0, 0, 100, 100), np.zeros((100, 100, 3), np.uint8))]
    cam = patches.spread_cam(pieces, np.ones((1, 4, 4), np.float32), (200, 400, 3))
    assert cam.shape == (32, 64)
    assert cam[:16, :16].min() == 1
    assert cam[17:].max() == cam[:, 17:].max() == 0


def test_shipped_weights_give_the_golden_logits() -> None:
    net = runtime.load("synthesis")
    size = net.spec.input_size
    crops = [picture(size, size), np.kron(picture(size // 4, size // 4, 1), np.ones((4, 4, 1), np.uint8))]
    outputs = net(patches.to_batch(crops, net.spec.mean, net.spec.std))
    np.testing.assert_allclose(outputs["logit"], GOLDEN_LOGITS, atol=TOLERANCE)
    np.testing.assert_allclose(outputs["face_logit"], GOLDEN_FACE_LOGITS, atol=TOLERANCE)
    assert outputs["cam"].shape[0] == 2
    assert outputs["cam"].min() >= 0


def test_shipped_weights_speak_in_plain_words() -> None:
    found = synthesis.examine(scene_of(picture(300, 420)), runtime.load("synthesis"))
    assert found.state == "scored"
    assert found.score is not None
    assert 0 <= found.score <= 1
    assert "picture" in found.sentence
    assert found.sentence.endswith(".")


def test_the_pieces_that_were_judged_come_with_place_and_score() -> None:
    image = np.concatenate([level(192, 192, 60), level(192, 192, 200)], axis=1)
    found = synthesis.examine(scene_of(image), FixedNet())
    assert len(found.pieces) == found.data["pieces"]
    for piece in found.pieces:
        x, y, w, h = piece.box
        assert 0 <= x <= 384 - w
        assert 0 <= y <= 192 - h
        if x + w <= 192:
            assert piece.score < 0.01
        elif x >= 192:
            assert piece.score > 0.99
    assert {piece.box[0] < 192 for piece in found.pieces} == {True, False}
