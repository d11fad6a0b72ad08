"""Training fakes with a real picture's content: the picture sent through a latent autoencoder and back.

A latent-diffusion generator ends in such a decoder. A reconstruction carries its traces and nothing else of a fake,
so that subject, framing and style cannot become the cue (Rajan et al. 2024, arXiv:2410.11835). The autoencoder is a
generator for training only: its weights are given by path and never shipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.engine.patches import STORED_JPEG_QUALITY, encode_jpeg
from detection.training.pictures import read_rgb

WIDTH = 64


class _Residual(nn.Module):
    """Three convolutions around a shortcut; near the latent, a pooled correction goes in first."""

    def __init__(self, *, has_pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        )
        if has_pool:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            )
        self.has_pool = has_pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.has_pool:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _Clamp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


def _down() -> nn.Module:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1, stride=2, bias=False)


def _conv_up() -> nn.Module:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)


def _blocks(count: int, *, has_pool: bool = False) -> list[nn.Module]:
    return [_Residual(has_pool=has_pool) for _ in range(count)]


def build_encoder(latent: int = 32) -> nn.Sequential:
    """Image (n, 3, h, w) in [0, 1], sides divisible by 8 -> latent (n, 32, h/8, w/8)."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, padding=1),
        *_blocks(1),
        *[_down(), *_blocks(3)],
        *[_down(), *_blocks(3)],
        *[_down(), *_blocks(3, has_pool=True)],
        nn.Conv2d(WIDTH, latent, 3, padding=1),
    )


def build_decoder(latent: int = 32) -> nn.Sequential:
    """Latent (n, 32, h, w) -> image (n, 3, 8h, 8w), about [0, 1]."""
    return nn.Sequential(
        _Clamp(),
        nn.Conv2d(latent, WIDTH, 3, padding=1),
        nn.ReLU(),
        *[*_blocks(3, has_pool=True), nn.Upsample(scale_factor=2), _conv_up()],
        *[*_blocks(3), nn.Upsample(scale_factor=2), _conv_up()],
        *[*_blocks(3), nn.Upsample(scale_factor=2), _conv_up()],
        *_blocks(1),
        nn.Conv2d(WIDTH, 3, 3, padding=1),
    )


class Autoencoder:
    """The published tiny autoencoder of FLUX.2 latents (madebyollin/taesd, MIT): taef2_{encoder,decoder}.pth."""

    def __init__(self, folder: Path) -> None:
        self.encoder = _load(build_encoder(), folder / "taef2_encoder.pth")
        self.decoder = _load(build_decoder(), folder / "taef2_decoder.pth")

    @torch.inference_mode()
    def reconstruct(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """image: (h, w, 3) uint8 RGB. Returns it cut to sides divisible by 8 and reconstructed."""
        height, width = (side // 8 * 8 for side in image.shape[:2])
        batch = torch.from_numpy(image[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            latent = self.encoder(batch)
        # bf16 is too coarse for pixels: the decoder runs in float32, as generators run theirs
        restored = self.decoder(latent.float()).clamp(0, 1)
        pixels = (restored[0].permute(1, 2, 0) * 255).round().byte().numpy()
        return np.asarray(pixels, dtype=np.uint8)


def _load(module: nn.Module, path: Path) -> nn.Module:
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return module.eval()


def write_pairs(paths: Iterable[Path], weights: Path, cache: Path) -> None:
    """Write `<stem>.real.jpg` and `<stem>.fake.jpg` into cache for each picture; those there already are kept.

    Both go through the same JPEG on the same 8-pixel grid: compression must not tell them apart.
    """
    cache.mkdir(parents=True, exist_ok=True)
    autoencoder = Autoencoder(weights)
    for path in paths:
        target = cache / f"{path.stem}.fake.jpg"
        if target.exists():
            continue
        image = read_rgb(path)[:224, :224]
        if min(image.shape[:2]) < 160:
            continue
        fake = autoencoder.reconstruct(image)
        real = image[: fake.shape[0], : fake.shape[1]]
        (cache / f"{path.stem}.real.jpg").write_bytes(encode_jpeg(real, STORED_JPEG_QUALITY))
        temporary = target.with_suffix(".part")
        temporary.write_bytes(encode_jpeg(fake, STORED_JPEG_QUALITY))
        temporary.replace(target)


def read_pair(cache: Path, path: Path) -> tuple[Path, Path] | None:
    """Return (real, fake) of a picture, or None when it has no reconstruction in the cache."""
    real, fake = cache / f"{path.stem}.real.jpg", cache / f"{path.stem}.fake.jpg"
    return (real, fake) if fake.exists() else None


def difference(real: NDArray[np.uint8], fake: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB: how true the copy is."""
    return float(cv2.PSNR(real, fake))
