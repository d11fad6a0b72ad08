"""Traits for error gaps: what sources state, and the tone of a face as it is in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine.types import Decoded, Face, Frame, MediaInfo, Scene, Track
from detection.training import quality_traits
from detection.training.progress import Progress, clock


def test_what_sources_state() -> None:
    woman = {"note": "path in repo: All-Age-Faces Dataset/original images/03431A30.jpg", "gray": "0"}
    man = {"note": "path in repo: All-Age-Faces Dataset/original images/07832A09.jpg", "gray": "0"}
    assert quality_traits.stated(woman) == {"colour": "colour", "sex": "female", "age": "20–39"}
    assert quality_traits.stated(man)["sex"] == "male"
    assert quality_traits.stated(man)["age"] == "0–12"
    grey = {"note": "LFW image, path in repo: data/validation/female/A_0001.jpg", "gray": "1"}
    assert quality_traits.stated(grey) == {"colour": "grey", "sex": "female"}
    assert quality_traits.stated({"language": "de"}) == {"language": "de"}
    assert quality_traits.stated({"note": "a female speaker"}) == {}


@pytest.mark.parametrize(
    ("colour", "tone"), [((235, 200, 175), "light"), ((170, 120, 90), "intermediate"), ((85, 55, 40), "dark")]
)
def test_tone_of_the_picture(colour: tuple[int, int, int], tone: str) -> None:
    assert quality_traits.tone(scene(colour)) == {"tone": tone}


def test_grey_pictures_have_no_tone() -> None:
    assert quality_traits.tone(scene((120, 120, 120))) == {}


def scene(colour: tuple[int, int, int]) -> Scene:
    image = np.full((100, 100, 3), colour, np.uint8)
    face = Face(0, 0.0, (20.0, 20.0, 60.0, 60.0), 0.9)
    info = MediaInfo("image", "jpeg", "image/jpeg", 1, "")
    return Scene(Decoded(info, (Frame(0, 0.0, image),)), None, (Track(0, (face,)),))


def test_progress_tells_what_is_left() -> None:
    class Lines:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None: ...

    ticks = iter([0.0, *[float(t) for t in range(1, 40)]])
    out = Lines()
    progress = Progress(4, "faces", out, every_s=0.0, now=lambda: next(ticks))  # type: ignore[arg-type]
    for _ in range(4):
        progress.step()
    assert "faces [1/4]" in out.text
    assert "ETA" in out.text.splitlines()[0]
    assert "ETA" not in out.text.splitlines()[-1]
    assert clock(3725) == "1:02:05"
