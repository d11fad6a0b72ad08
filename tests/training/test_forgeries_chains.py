"""Chains: alike for both classes, named, written down and read back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from detection.training.forgeries import chains, clip_chains
from tests.engine.scenes import astronaut


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[20:260, 80:400])


@pytest.mark.parametrize("name", chains.CHAINS)
def test_a_chain_read_back_gives_the_same_picture(picture: np.ndarray, name: str) -> None:
    chain = chains.draw(np.random.default_rng(3), (name,))
    assert chain.name == name
    first = chains.apply(picture, chain)
    assert np.array_equal(first, chains.apply(picture, chains.parse(str(chain))))
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert (name == "untouched") == np.array_equal(first, picture)


@pytest.mark.parametrize("name", chains.CHAINS)
def test_a_mask_keeps_to_what_it_marks(picture: np.ndarray, name: str) -> None:
    """A white square on black goes through the chain as its own mask does (but for the edges of the square)."""
    marked = np.zeros_like(picture)
    marked[80:160, 100:220] = 255
    chain = chains.draw(np.random.default_rng(5), (name,))
    shown, mask = chains.apply(marked, chain), chains.apply_mask(marked[:, :, 0], chain)
    assert mask.shape == shown.shape[:2]
    assert set(np.unique(mask)) == {0, 255}
    inside = chains.apply_mask(np.full(picture.shape[:2], 255, np.uint8), chain) > 0  # no bars of a screenshot
    bright = shown.astype(int).mean(axis=2) > 127
    assert (bright[inside] == (mask[inside] > 0)).mean() > 0.97


def test_the_same_chain_gives_real_and_fake_the_same_size(picture: np.ndarray) -> None:
    fake = picture.copy()
    fake[60:90, 60:120] = 200
    rng = np.random.default_rng(0)
    for _ in range(20):
        chain = chains.draw(rng)
        assert chains.apply(picture, chain).shape == chains.apply(fake, chain).shape


def test_drawing_follows_the_seed_and_the_names() -> None:
    drawn = [str(chains.draw(np.random.default_rng(seed))) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    rng = np.random.default_rng(0)
    assert {chains.draw(rng).name for _ in range(400)} == set(chains.CHAINS)
    assert {chains.draw(rng, ("jpeg", "webp")).name for _ in range(40)} == {"jpeg", "webp"}
    with pytest.raises(ValueError, match="no chain called fax"):
        chains.draw(rng, ("fax",))


def test_a_messenger_shrinks_only_what_is_larger(picture: np.ndarray) -> None:
    large = np.repeat(np.repeat(picture, 6, axis=0), 6, axis=1)
    chain = chains.draw(np.random.default_rng(0), ("messenger",))
    assert max(chains.apply(large, chain).shape) in (1280, 1600)
    assert chains.apply(picture, chain).shape == picture.shape


def test_a_beauty_filter_smooths_skin_and_leaves_edges() -> None:
    rng = np.random.default_rng(0)
    skin = np.clip(np.full((96, 96, 3), (200, 150, 125)) + rng.normal(0, 6, (96, 96, 1)), 0, 255)
    skin[:, 48:] = (60, 90, 160)
    image = skin.astype(np.uint8)
    image[:, 48:] = np.clip(image[:, 48:] + rng.normal(0, 6, (96, 48, 1)), 0, 255).astype(np.uint8)
    filtered = chains.STEPS["beauty"](image, smoothing=1.0, brightening=0.0, warmth=0.0)
    noise = [one[10:86, 8:32, 1].astype(float).std() for one in (image, filtered)]
    assert noise[1] < 0.6 * noise[0]
    assert np.abs(filtered[:, 64:88].astype(int) - image[:, 64:88]).mean() < 1  # blue is no skin
    step = np.abs(np.diff(filtered[:, :, 0].astype(int).mean(axis=0))).max()
    assert step > 60


def test_brightening_never_darkens(picture: np.ndarray) -> None:
    lifted = chains.STEPS["beauty"](picture, smoothing=0.0, brightening=1.0, warmth=0.0)
    assert (lifted.astype(int) >= picture.astype(int) - 1).all()
    assert lifted.mean() > picture.mean() + 5


@pytest.fixture(scope="module")
def clip(picture: np.ndarray) -> np.ndarray:
    """Twelve frames that pan over a picture, so that each is unlike the one before."""
    return np.stack([picture[:121, i * 6 : i * 6 + 161] for i in range(12)])


@pytest.mark.parametrize("name", clip_chains.CLIP_CHAINS)
def test_a_clip_comes_back_alike(clip: np.ndarray, name: str) -> None:
    chain = clip_chains.draw(np.random.default_rng(2), (name,))
    assert clip_chains.parse(str(chain)) == chain
    frames, rate_hz = clip_chains.recode(clip, 25.0, chain)
    assert rate_hz == pytest.approx(25 * chain.rate_share, abs=0.05)
    assert len(frames) == pytest.approx(12 * chain.rate_share, abs=1)
    height, width = frames.shape[1:3]
    assert height == pytest.approx(121 * chain.scale, abs=2)
    assert width == pytest.approx(161 * chain.scale, abs=2)
    assert np.abs(frames[0].mean(axis=(0, 1)) - clip[0].mean(axis=(0, 1))).max() < 12


def test_a_higher_crf_loses_more(clip: np.ndarray) -> None:
    even = clip[:, :120, :160]
    for codec in clip_chains.CODECS:
        lost = [
            np.abs(clip_chains.recode(even, 25, clip_chains.ClipChain("x", codec, crf))[0].astype(int) - even).mean()
            for crf in (18, 44)
        ]
        assert lost[0] < lost[1], codec


def test_a_frozen_call_shows_the_last_frame_again(clip: np.ndarray) -> None:
    frozen = clip_chains.degraded(clip, clip_chains.ClipChain("x", freeze=4, seed=1))
    still = [np.array_equal(frozen[i], frozen[i + 1]) for i in range(11)]
    assert sum(still) == 4
    plain = clip_chains.degraded(clip, clip_chains.ClipChain("x"))
    assert not any(np.array_equal(plain[i], plain[i + 1]) for i in range(11))


def test_half_the_rate_keeps_every_second_frame(clip: np.ndarray) -> None:
    even = clip[:, :120, :160]
    assert np.array_equal(clip_chains.degraded(even, clip_chains.ClipChain("x", rate_share=0.5)), even[::2])


def test_loss_follows_the_seed(clip: np.ndarray) -> None:
    first, again, other = (
        clip_chains.degraded(clip, clip_chains.ClipChain("x", dropped=0.5, seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("codec", clip_chains.CODECS)
def test_a_saved_clip_keeps_its_sound(clip: np.ndarray, tmp_path: Path, codec: str) -> None:
    sample = Path(__file__).parents[2] / "samples" / "blended-clip.mp4"
    path = tmp_path / f"clip.{clip_chains.CODECS[codec][1]}"
    clip_chains.save(path, clip, 25.0, clip_chains.ClipChain("x", codec, 30), sound_of=sample)
    with av.open(str(path)) as container, av.open(str(sample)) as original:
        heard = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        meant = sum(frame.samples / frame.sample_rate for frame in original.decode(audio=0))
    assert heard == pytest.approx(meant, abs=0.1)
    frames, rate_hz = clip_chains.read(path)
    assert (len(frames), rate_hz) == (12, 25.0)


def test_a_silent_clip_stays_silent(clip: np.ndarray, tmp_path: Path) -> None:
    silent, path = tmp_path / "silent.mp4", tmp_path / "out.mp4"
    clip_chains.save(silent, clip, 25.0, clip_chains.ClipChain("x"))
    clip_chains.save(path, clip, 25.0, clip_chains.ClipChain("x", passes=2), sound_of=silent)
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_a_clip_is_saved_into_its_codecs_container(clip: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="webm"):
        clip_chains.save(tmp_path / "clip.mp4", clip, 25.0, clip_chains.ClipChain("x", "vp9"))
