"""What happens to pictures on their way: named chains of saving, resizing, filters and screens, alike for both classes.

A chain is data. It is drawn once, written into the manifest, and applied to the real and the fake of a pair; read back
from its text it gives the same picture again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import features

from detection.training.forgeries import recapture
from detection.training.forgeries.forged import Image, u8

KERNELS = {
    "nearest": Pillow.Resampling.NEAREST,
    "box": Pillow.Resampling.BOX,
    "bilinear": Pillow.Resampling.BILINEAR,
    "bicubic": Pillow.Resampling.BICUBIC,
    "lanczos": Pillow.Resampling.LANCZOS,
}
SMOOTH_KERNELS = ("bilinear", "bicubic", "lanczos", "box")


@dataclass(frozen=True)
class Step:
    """One thing that happens, with plain numbers and words as arguments."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()


def step(name: str, **arguments: Any) -> Step:
    return Step(name, tuple(sorted(arguments.items())))


@dataclass(frozen=True)
class Chain:
    """Steps in order under a name that tables group by."""

    name: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Return JSON that `parse` reads back."""
        return json.dumps([self.name, *([one.name, dict(one.arguments)] for one in self.steps)])


def parse(text: str) -> Chain:
    """Return the chain of `str(chain)`."""
    name, *steps = json.loads(text)
    return Chain(name, tuple(step(what, **arguments) for what, arguments in steps))


def draw(rng: np.random.Generator, names: tuple[str, ...] | None = None) -> Chain:
    """Draw one chain, each name as likely as the next. names: of CHAINS; None means all."""
    unknown = set(names or ()) - set(CHAINS)
    if unknown:
        raise ValueError(f"there is no chain called {', '.join(sorted(unknown))}; there are {', '.join(CHAINS)}")
    name = str(rng.choice(list(names or CHAINS)))
    return Chain(name, CHAINS[name](rng))


def apply(image: Image, chain: Chain) -> Image:
    """Return the picture after all steps. image: (h, w, 3) RGB uint8; chains that resize return another size."""
    for one in chain.steps:
        image = STEPS[one.name](image, **dict(one.arguments))
    return image


def apply_mask(mask: Image, chain: Chain) -> Image:
    """Return the (h, w) uint8 mask after what the chain does to sizes and edges; values stay 0 or 255."""
    shown = np.repeat(mask[:, :, None], 3, axis=2)
    for one in chain.steps:
        if one.name in GEOMETRY:
            shown = GEOMETRY[one.name](shown, **dict(one.arguments))
    return np.where(shown[:, :, 0] > 127, 255, 0).astype(np.uint8)


def _jpeg(image: Image, quality: int, subsampling: int = 2) -> Image:
    return _saved(image, "JPEG", quality=quality, subsampling=subsampling)


def _webp(image: Image, quality: int) -> Image:
    return _saved(image, "WEBP", quality=quality)


def _avif(image: Image, quality: int) -> Image:
    return _saved(image, "AVIF", quality=quality, speed=9)


def _saved(image: Image, kind: str, **options: Any) -> Image:
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, kind, **options)
    return np.asarray(Pillow.open(file).convert("RGB"), np.uint8)


def _resize(image: Image, scale: float, kernel: str) -> Image:
    """Change the size for good."""
    height, width = image.shape[:2]
    return _sized(image, max(8, round(width * scale)), max(8, round(height * scale)), kernel)


def _through(image: Image, scale: float, down: str, up: str) -> Image:
    """Go through another size and come back to the old one."""
    height, width = image.shape[:2]
    return _sized(_resize(image, scale, down), width, height, up)


def _limit(image: Image, longest: int, kernel: str) -> Image:
    """Shrink to a longer side, as messengers do; smaller pictures stay."""
    scale = longest / max(image.shape[:2])
    return _resize(image, scale, kernel) if scale < 1 else image


def _sized(image: Image, width: int, height: int, kernel: str) -> Image:
    return np.asarray(Pillow.fromarray(image).resize((width, height), KERNELS[kernel]), np.uint8)


def _crop(image: Image, left: float, top: float, right: float, bottom: float) -> Image:
    """Cut shares of width and height off the edges."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = round(left * width), round(top * height), round(right * width), round(bottom * height)
    return np.ascontiguousarray(image[y1 : height - y2, x1 : width - x2])


def _screenshot(image: Image, scale: float, bar: float, margin: float, shade: int) -> Image:
    """Show the picture in a window at another scale, with a status bar above and margins beside it."""
    shown = _resize(image, scale, "bilinear")
    height, width = shown.shape[:2]
    top, side = round(bar * height), round(margin * width)
    screen = np.full((height + top, width + 2 * side, 3), shade, np.uint8)
    screen[top:, side : side + width] = shown
    if top >= 8:
        ink = 255 - shade
        for x in (0.04, 0.86, 0.92):
            at = round(x * screen.shape[1])
            screen[round(top * 0.35) : round(top * 0.65), at : at + max(2, round(0.03 * screen.shape[1]))] = ink
    return screen


def _screenshot_mask(mask: Image, scale: float, bar: float, margin: float, shade: int) -> Image:
    height, width = (max(8, round(side * scale)) for side in mask.shape[:2])
    shown = _sized(mask, width, height, "nearest")
    top, side = round(bar * height), round(margin * width)
    screen = np.zeros((height + top, width + 2 * side, 3), np.uint8)
    screen[top:, side : side + width] = shown
    return screen


def _beauty(image: Image, smoothing: float, brightening: float, warmth: float) -> Image:
    """Smooth skin and keep edges (bilateral filter where the colour is skin), brighten and warm the picture."""
    sigma = max(3.0, min(image.shape[:2]) / 80)
    smooth = cv2.bilateralFilter(image, 0, 30, sigma) if smoothing > 0 else image
    share = (_skin(image) * smoothing)[:, :, None]
    mixed = (image * (1 - share) + smooth * share) / 255
    lifted = np.log1p(mixed * brightening) / np.log1p(brightening) if brightening > 0 else mixed
    return u8(lifted * np.array([1 + warmth, 1, 1 - warmth]) * 255)


def _skin(image: Image) -> Image:
    """Return (h, w) in [0, 1]: where the colour may be skin of any tone (chroma only), with soft edges."""
    chroma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[:, :, 1:].astype(np.int16)
    red, blue = chroma[:, :, 0], chroma[:, :, 1]
    is_skin = ((red > 130) & (red < 180) & (blue > 77) & (blue < 132)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(is_skin, (0, 0), 3.0))


def _sharpen(image: Image, amount: float) -> Image:
    blurred = cv2.GaussianBlur(image, (0, 0), 1.2).astype(np.float32)
    return u8(image + (image - blurred) * amount)


def _noise(image: Image, sigma: float, seed: int) -> Image:
    return u8(image + np.random.default_rng(seed).normal(0, sigma, image.shape))


def _filmed(image: Image, medium: str, seed: int) -> Image:
    return recapture.recapture(image, recapture.draw_recipe(np.random.default_rng(seed), medium))


STEPS: Mapping[str, Callable[..., Image]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "resize": _resize,
    "through": _through,
    "limit": _limit,
    "crop": _crop,
    "screenshot": _screenshot,
    "beauty": _beauty,
    "sharpen": _sharpen,
    "noise": _noise,
    "filmed": _filmed,
}


def _resize_mask(mask: Image, scale: float, kernel: str) -> Image:
    return _resize(mask, scale, "nearest")


def _limit_mask(mask: Image, longest: int, kernel: str) -> Image:
    return _limit(mask, longest, "nearest")


GEOMETRY: Mapping[str, Callable[..., Image]] = {
    "resize": _resize_mask,
    "limit": _limit_mask,
    "crop": _crop,
    "screenshot": _screenshot_mask,
}


def _pick(rng: np.random.Generator) -> str:
    return str(rng.choice(SMOOTH_KERNELS))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


def _draw_jpeg(rng: np.random.Generator, low: int = 40, high: int = 97) -> Step:
    return step("jpeg", quality=int(rng.integers(low, high)), subsampling=int(rng.choice([0, 2], p=[0.3, 0.7])))


def _draw_avif(rng: np.random.Generator) -> Step:
    """AVIF needs a Pillow that carries its encoder; without one this is WebP, and the step says so."""
    quality = int(rng.integers(40, 91))
    return step("avif", quality=quality) if features.check("avif") else step("webp", quality=quality)


def _draw_screenshot(rng: np.random.Generator) -> tuple[Step, ...]:
    shot = step(
        "screenshot",
        scale=_between(rng, 0.6, 1.6),
        bar=_between(rng, 0.0, 0.08),
        margin=_between(rng, 0.0, 0.04),
        shade=int(rng.choice([0, 18, 245, 255])),
    )
    cut = step(
        "crop", left=_between(rng, 0, 0.03), top=0.0, right=_between(rng, 0, 0.03), bottom=_between(rng, 0, 0.04)
    )
    return (shot, cut)


CHAINS: Mapping[str, Callable[[np.random.Generator], tuple[Step, ...]]] = {
    "untouched": lambda rng: (),
    "jpeg": lambda rng: (_draw_jpeg(rng),),
    "webp": lambda rng: (step("webp", quality=int(rng.integers(40, 95))),),
    "avif": lambda rng: (_draw_avif(rng),),
    "double_jpeg": lambda rng: (_draw_jpeg(rng), _draw_jpeg(rng)),
    "resized": lambda rng: (
        step("resize", scale=_between(rng, 0.5, 1.5), kernel=_pick(rng)),
        _draw_jpeg(rng, 70),
    ),
    "through_small": lambda rng: (
        step("through", scale=_between(rng, 0.4, 0.9), down=_pick(rng), up=_pick(rng)),
        _draw_jpeg(rng, 60),
    ),
    "messenger": lambda rng: (
        step("limit", longest=int(rng.choice([1280, 1600])), kernel=_pick(rng)),
        _draw_jpeg(rng, 75, 86),
    ),
    "social": lambda rng: (
        _draw_jpeg(rng, 80),
        step("limit", longest=int(rng.choice([720, 1080, 1200, 2048])), kernel=_pick(rng)),
        step("sharpen", amount=_between(rng, 0, 0.5)),
        _draw_jpeg(rng, 70, 88),
    ),
    "screenshot": _draw_screenshot,
    "beauty": lambda rng: (
        step(
            "beauty",
            smoothing=_between(rng, 0.3, 1.0),
            brightening=_between(rng, 0.1, 1.5),
            warmth=_between(rng, -0.04, 0.06),
        ),
        _draw_jpeg(rng, 75),
    ),
    "photo_of_screen": lambda rng: (step("filmed", medium="screen_photo", seed=int(rng.integers(2**31))),),
    "noisy": lambda rng: (
        step("noise", sigma=_between(rng, 1, 7), seed=int(rng.integers(2**31))),
        _draw_jpeg(rng, 60),
    ),
}
