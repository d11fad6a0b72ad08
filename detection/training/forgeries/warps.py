"""Warps that carry a picture from one set of points to another: piecewise affine over triangles, and thin plates."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator
from scipy.spatial import Delaunay

from detection.training.forgeries.forged import Floats, Image

GRID_PX = 8  # a thin plate is smooth: it is computed on this grid and enlarged


def hull_mask(points: Floats, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return (h, w) uint8: 255 within the convex hull of the points."""
    mask = np.zeros(shape[:2], np.uint8)
    hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2)
    cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 255)
    return mask


def piecewise_map(source: Floats, target: Floats, shape: tuple[int, ...]) -> Floats:
    """Return (h, w, 2) float32: where each pixel of the target comes from, nan outside the points' hull.

    source, target: (n, 2) x, y of the same points. Each triangle of the target's Delaunay mesh is one affine map.
    """
    low = np.maximum(np.floor(target.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(target.max(axis=0)).astype(int) + 1, [shape[1], shape[0]])
    sampled = np.full((*shape[:2], 2), np.nan, np.float32)
    if (high <= low).any():
        return sampled
    across, down = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    mesh = LinearNDInterpolator(Delaunay(target.astype(np.float64)), source.astype(np.float64))
    sampled[low[1] : high[1], low[0] : high[0]] = mesh(across, down)
    return sampled


def piecewise(image: Image, source: Floats, target: Floats, onto: Image) -> Image:
    """Carry what lies between the source points of `image` to the target points of `onto`; its size, (h, w, 3) uint8.

    Outside the target points' hull the result is `onto`.
    """
    sampled = piecewise_map(source, target, onto.shape)
    inside = np.isfinite(sampled[:, :, :1])
    return np.where(inside, _remap(image, np.nan_to_num(sampled)), onto)


def thin_plate(image: Image, source: Floats, target: Floats) -> Image:
    """Bend the whole picture so that the source points come to lie on the target points (Bookstein 1989)."""
    height, width = image.shape[:2]
    columns, rows = np.arange(0, width + GRID_PX, GRID_PX), np.arange(0, height + GRID_PX, GRID_PX)
    across, down = np.meshgrid(columns, rows)
    places = np.stack([across.ravel(), down.ravel()], axis=1).astype(np.float64)
    bend = RBFInterpolator(target.astype(np.float64), (source - target).astype(np.float64), kernel="thin_plate_spline")
    coarse = bend(places).reshape(len(rows), len(columns), 2).astype(np.float32)
    at_y, at_x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(coarse, at_x / GRID_PX, at_y / GRID_PX, cv2.INTER_LINEAR)
    return _remap(image, np.stack([at_x, at_y], axis=2) + moved)


def _remap(image: Image, sampled: NDArray[np.floating]) -> Image:
    places = np.asarray(sampled, np.float32)
    return np.asarray(
        cv2.remap(image, places[:, :, 0], places[:, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
