"""A drawn face with 468 landmarks, so that these tests need neither photos nor a face finder."""

import numpy as np

from detection.training.blending import MOUTH
from detection.training.datasets import PATCH_PX, Item, Patches


def draw_face(seed: int, side: int = PATCH_PX) -> tuple[np.ndarray, np.ndarray]:
    """Return ((side, side, 3) uint8, (468, 2) float32): a smooth oval with texture, and points all over it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    oval = ((x - 0.5) / 0.27) ** 2 + ((y - 0.5) / 0.34) ** 2
    skin = rng.uniform(90, 200, 3)
    texture = rng.normal(0, 12, (side, side, 3))
    image = np.where((oval < 1)[:, :, None], skin, 255 - skin) + texture
    angles = rng.uniform(0, 2 * np.pi, 468)
    radii = np.sqrt(rng.uniform(0, 1, 468))
    radii[:100] = 1.0
    points = np.stack([0.5 + 0.27 * radii * np.cos(angles), 0.5 + 0.34 * radii * np.sin(angles)], axis=1) * side
    round_mouth = np.linspace(0, 2 * np.pi, len(MOUTH))
    points[MOUTH] = np.stack([0.5 + 0.1 * np.cos(round_mouth), 0.66 + 0.05 * np.sin(round_mouth)], axis=1) * side
    return np.clip(image, 0, 255).astype(np.uint8), points.astype(np.float32)


def make_patches(count: int, *, split: str = "train", is_clip: bool = False, source: str = "made/up") -> Patches:
    """Real faces of one source, one per item."""
    drawn = [draw_face(seed) for seed in range(count)]
    items = [
        Item(f"{i}.jpg", False, is_clip, split, source, f"{source}/{i}", "real", "none", "none needed", 1000 + i)
        for i in range(count)
    ]
    return Patches(
        items,
        np.stack([image for image, _ in drawn]),
        np.stack([points for _, points in drawn]),
        np.arange(count),
        np.zeros(count, np.float32),
    )
