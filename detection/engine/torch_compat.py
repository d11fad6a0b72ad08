"""Make torchvision, torchaudio and what builds on them import beside a CPU torch; import this before any of them.

The wheels of torchvision and torchaudio on PyPI are compiled against the CUDA torch. Beside a CPU torch their
operators do not load, and the Python halves then fail at import. On a matching install nothing here takes effect.
"""

from __future__ import annotations

import importlib.util
import sys
import types

import torch


def _compiled_ops_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return True
    folder = spec.submodule_search_locations[0]
    try:
        torch.ops.load_library(f"{folder}/_C.so")
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression. boxes (n, 4) x1 y1 x2 y2, scores (n,). Returns kept indices, best first."""
    order = scores.argsort(descending=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep = []
    while order.numel():
        best = order[0]
        keep.append(best)
        rest = order[1:]
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        order = rest[overlap / (areas[best] + areas[rest] - overlap) <= iou_threshold]
    return torch.stack(keep) if keep else torch.empty(0, dtype=torch.int64)


def _batched_nms(boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Suppress within each group: boxes of different groups are moved apart so that they never overlap."""
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    offsets = idxs.to(boxes) * (boxes.max() + 1)
    return _nms(boxes + offsets[:, None], scores, iou_threshold)


def _stub_torchaudio_extension() -> None:
    """Stand in for torchaudio's loader of compiled code, which raises; its Python functions work without it."""
    extension = types.ModuleType("torchaudio._extension")

    def fail_if_no_align(function: object) -> object:
        return function  # forced alignment is not used here; calling it raises inside torch.ops

    extension.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, fail_if_no_align=fail_if_no_align
    )
    sys.modules.setdefault("torchaudio._extension", extension)


def _install() -> None:
    if _compiled_ops_load():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, _nms, "CompositeExplicitAutograd")
    _install.library = library  # type: ignore[attr-defined]  # the registration lives as long as this object

    _stub_torchaudio_extension()

    import torchvision.ops

    torchvision.ops.nms = torchvision.ops.boxes.nms = _nms
    torchvision.ops.batched_nms = _batched_nms
    torchvision.ops.boxes.batched_nms = _batched_nms


_install()
