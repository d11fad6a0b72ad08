"""What is known of the people and the sound in an item: only for measuring error gaps, never for a model.

Stated by the sources (language, file names that carry age or sex) or measured (grey, tone of the skin in the picture).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import cv2
import numpy as np

from detection.engine.types import Scene

# All-Age-Faces names its files NNNNNAyy: a running number (women first) and the age; github.com/middleyuan.
ALL_AGE_FACES = re.compile(r"/(\d{5})A(\d{2})\.")
ALL_AGE_FACES_FIRST_MAN = 7381
FOLDER_OF_SEX = re.compile(r"(?:^|[ /])(female|male)/")
# Individual typology angle (Chardon et al. 1991): above 41 degrees light, 10 to 41 intermediate, below 10 dark.
TONES = ((41.0, "light"), (10.0, "intermediate"), (-math.inf, "dark"))
AGES = ((13, "0–12"), (20, "13–19"), (40, "20–39"), (60, "40–59"), (200, "60 and above"))


def stated(line: Mapping[str, str]) -> dict[str, str]:
    """Return language, sound, colour, sex and age of a manifest row, as far as its source states them."""
    found = {name: line[name] for name in ("language", "has_audio") if line.get(name)}
    if line.get("gray") in ("0", "1"):
        found["colour"] = "grey" if line["gray"] == "1" else "colour"
    note = line.get("note", "")
    named = ALL_AGE_FACES.search(note)
    if named:
        found["sex"] = "female" if int(named.group(1)) < ALL_AGE_FACES_FIRST_MAN else "male"
        found["age"] = next(name for limit, name in AGES if int(named.group(2)) < limit)
    folder = FOLDER_OF_SEX.search(note)
    if folder:
        found["sex"] = folder.group(1)
    return found


def tone(scene: Scene) -> dict[str, str]:
    """Return the tone of the skin in the largest face of the first frame that shows one: a property of the picture.

    Light falls on a face in many ways, so this tells apart pictures, not people. Nothing for grey pictures.
    """
    seen = [face for track in scene.tracks for face in track.faces]
    if not seen:
        return {}
    face = max(seen, key=lambda f: f.box[2] * f.box[3])
    x, y, w, h = face.box
    image = scene.frame(face.frame_index).image
    top, left = max(0, round(y + 0.45 * h)), max(0, round(x + 0.2 * w))
    cheeks = image[top : max(top + 1, round(y + 0.7 * h)), left : max(left + 1, round(x + 0.8 * w))]
    if not cheeks.size:
        return {}
    lab = cv2.cvtColor((cheeks / 255).astype(np.float32), cv2.COLOR_RGB2LAB).reshape(-1, 3)
    lightness, _, b = np.median(lab, axis=0)
    if np.abs(lab[:, 1:]).max() < 2:
        return {}
    angle = math.degrees(math.atan2(float(lightness) - 50, max(float(b), 1e-3)))
    return {"tone": next(name for limit, name in TONES if angle > limit)}
