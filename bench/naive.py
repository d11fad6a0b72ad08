"""What a first attempt would do, to compare with: MTCNN on every 5th frame, Xception in eager PyTorch, batches of 16.

`python -m bench.naive CLIP` prints seconds and memory as JSON. The nets' weights do not change the time, so Xception
runs untrained.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

FRAME_SKIP = 5
BATCH = 16
SIZE = 299


def run(path: Path, threads: int = 2) -> dict[str, float]:
    """Return seconds per step of the naive pipeline on a clip, models already loaded."""
    from detection.engine import torch_compat  # isort: skip  (before anything that imports torchvision)

    import cv2
    import timm
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    assert torch_compat
    torch.set_num_threads(threads)
    finder = MTCNN(image_size=SIZE, margin=40, post_process=True)
    net = timm.create_model("legacy_xception", pretrained=False, num_classes=1).eval()
    seconds = {"decode": 0.0, "faces": 0.0, "net": 0.0}
    started = time.perf_counter()
    frames = _every_fifth(cv2, path)
    seconds["decode"] = time.perf_counter() - started
    before = time.perf_counter()
    crops = [c for c in (finder(Image.fromarray(f)) for f in frames) if c is not None]
    seconds["faces"] = time.perf_counter() - before
    before = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(crops), BATCH):
            net(torch.stack(crops[start : start + BATCH]))
    seconds["net"] = time.perf_counter() - before
    seconds["total"] = time.perf_counter() - started
    return seconds | {"frames": float(len(frames)), "faces_found": float(len(crops))}


def _every_fifth(cv2: Any, path: Path) -> list[Any]:
    video = cv2.VideoCapture(str(path))
    frames: list[Any] = []
    number = 0
    while True:
        found, frame = video.read()
        if not found:
            return frames
        if number % FRAME_SKIP == 0:
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        number += 1


if __name__ == "__main__":
    result = run(Path(sys.argv[1]))
    print(json.dumps(result | {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
