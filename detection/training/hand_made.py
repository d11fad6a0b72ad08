"""The four picture formulas of a published specification, constants as stated there; higher means more suspicious.

They are here to be beaten: none of them is used by the product.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def spectral_anomaly(image: Image) -> float:
    """Share of the spectrum's magnitude beyond a quarter of the side: below .10 or above .40 is called odd."""
    magnitude = _magnitude(image)
    h, w = magnitude.shape
    y, x = np.ogrid[:h, :w]
    distance = np.sqrt((x - w // 2) ** 2 + (y - h // 2) ** 2)
    side = min(h, w)
    total = float(magnitude[distance < side // 2].sum())
    high = float(magnitude[(distance >= side // 4) & (distance < side // 2)].sum())
    ratio = high / total if total else 0.0
    if ratio < 0.10:
        return (0.10 - ratio) / 0.10
    return float(np.clip((ratio - 0.40) / 0.40, 0, 1)) if ratio > 0.40 else 0.0


def missing_sensor_noise(image: Image) -> float:
    """One minus the trust in a camera's noise: the variance left by a Gaussian of sigma 2 is expected in 10 to 100."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    variance = float(np.var(grey - cv2.GaussianBlur(grey, (0, 0), 2)))
    if 10 <= variance <= 100:
        trust = 1.0
    elif variance < 5:
        trust = 0.0
    else:
        trust = max(0.0, 1.0 - (variance - 100) / 100)
    return 1 - float(np.clip(trust, 0, 1))


def block_anomaly(image: Image) -> float:
    """Steps at the borders of 8-pixel blocks: 5 to 20 grey levels are called normal."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 0].astype(np.float32)
    rows = [float(np.abs(luma[i] - luma[i - 1]).mean()) for i in range(8, luma.shape[0], 8)]
    columns = [float(np.abs(luma[:, j] - luma[:, j - 1]).mean()) for j in range(8, luma.shape[1], 8)]
    strength = float(np.mean(rows + columns)) if rows or columns else 0.0
    if 5 <= strength <= 20:
        return 0.0
    return float(np.clip((2 - strength) / 2 if strength < 2 else (strength - 20) / 20, 0, 1))


def checkerboard(image: Image) -> float:
    """Magnitude at half the Nyquist frequency against the middle half of the spectrum."""
    magnitude = _magnitude(image)
    h, w = magnitude.shape
    middle_y, middle_x = h // 2, w // 2
    points = [(middle_y + h // 4, middle_x), (middle_y - h // 4, middle_x)]
    points += [(middle_y, middle_x + w // 4), (middle_y, middle_x - w // 4)]
    inner = float(magnitude[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4].sum())
    ratio = sum(float(magnitude[p]) for p in points) / inner if inner else 0.0
    return float(np.clip((ratio - 0.01) / 0.04, 0, 1))


def _magnitude(image: Image) -> NDArray[np.float64]:
    return np.asarray(np.abs(np.fft.fftshift(np.fft.fft2(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))), float)


FORMULAS: dict[str, Callable[[Image], float]] = {
    "formula: spectral anomaly": spectral_anomaly,
    "formula: missing sensor noise": missing_sensor_noise,
    "formula: block borders": block_anomaly,
    "formula: checkerboard": checkerboard,
}
