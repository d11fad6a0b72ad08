"""What an item can be found again by: the pictures of its faces, and peaks of its sound.

Neither knows who somebody is. A face print finds the same picture of a face, saved again, scaled or cropped; a sound
print finds the same recording, cut, coded or mixed again. Another photo of the person, or another recording of the
voice, has other prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import faces
from detection.engine.types import Face, Scene, Track

MAX_PEOPLE = 8
FACES_PER_PERSON = 3
MIN_FACE_PX = 48
FACE_SIDE = 64
FACE_MARGIN = 1.3
FACE_BITS = 256  # of the low frequencies of an upright face
SAME_FACE_BITS = 40  # measured: docs/workspace.md

RATE_HZ = 16000
WINDOW = 1024
HOP = 256  # 16 ms
BANDS = 256  # rows of the spectrum that are looked at: up to 4 kHz, which the telephone carries too
SECTION_STEPS = 62  # about a second
PEAKS_PER_SECTION = 10
PARTNERS = 5
REACH_STEPS = (4, 80)  # a peak is paired with those 0.06 to 1.3 s later
REACH_BANDS = 100
COARSE = 2  # steps and bands that count as one: a cut falls between the steps of the original
MAX_MARKS = 1500
SAME_SOUND_MARKS = 6  # that fall on one offset; measured: docs/workspace.md


@dataclass(frozen=True)
class FacePrint:
    track: int
    time_s: float
    bits: str  # 64 hex digits


@dataclass(frozen=True)
class SoundMark:
    """Two peaks of the spectrum and the time between them, as one number; `step` is when, in hops of 16 ms."""

    value: int
    step: int


@dataclass(frozen=True)
class Prints:
    faces: tuple[FacePrint, ...] = ()
    sound: tuple[SoundMark, ...] = ()


def of_scene(scene: Scene) -> Prints:
    """Return the prints of a scene's faces and of its sound."""
    found = tuple(print_ for track in scene.tracks[:MAX_PEOPLE] for print_ in _of_person(scene, track))
    return Prints(found, sound_marks(scene.media.audio) if scene.media.audio is not None else ())


def _of_person(scene: Scene, track: Track) -> Iterator[FacePrint]:
    for face in _spread(track.faces):
        upright = faces.align(scene.frame(face.frame_index).image, face, FACE_SIDE, FACE_MARGIN)
        yield FacePrint(track.number, round(face.time_s, 3), face_bits(upright))


def _spread(seen: Sequence[Face]) -> list[Face]:
    """Return up to FACES_PER_PERSON faces that are large enough, spread over the time in which they were seen."""
    large = [face for face in seen if min(face.box[2:]) >= MIN_FACE_PX]
    places = (np.arange(FACES_PER_PERSON) + 0.5) / FACES_PER_PERSON * len(large)
    return [large[index] for index in dict.fromkeys(int(place) for place in places)] if large else []


def face_bits(upright: NDArray[np.uint8]) -> str:
    """Return 256 bits in hex: which of the 16 x 16 lowest frequencies lie above their middle. upright: (h, w, 3)."""
    grey = cv2.cvtColor(np.ascontiguousarray(upright), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:16, :16]
    bits = (low > np.median(low)).ravel()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):064x}"


def sound_marks(sound: NDArray[np.float32]) -> tuple[SoundMark, ...]:
    """Return pairs of spectral peaks. sound: (n,) mono 16 kHz. Source: Wang 2003, An industrial-strength audio search.

    Long recordings give fewer marks a second, the same strongest ones.
    """
    if len(sound) < WINDOW + HOP or float(np.abs(sound).max(initial=0)) < 1e-4:
        return ()
    peaks = _peaks(_spectrum(sound))
    marks = [mark for index in range(len(peaks)) for mark in _pairs(peaks, index)]
    if len(marks) <= MAX_MARKS:
        return tuple(marks)
    keep = np.linspace(0, len(marks) - 1, MAX_MARKS).astype(int)
    return tuple(marks[index] for index in keep)


def _spectrum(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (steps, BANDS) log energy, each band relative to its own mean: a microphone's colour falls out."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    energy = [np.abs(np.fft.rfft(part * window, axis=1))[:, :BANDS] for part in np.array_split(frames, _parts(frames))]
    levels = np.log(np.concatenate(energy) + 1e-4).astype(np.float32)
    return np.asarray(levels - levels.mean(axis=0), np.float32)


def _parts(frames: NDArray[np.float32]) -> int:
    return max(1, len(frames) // 2000)  # keeps the memory of ten minutes small


def _peaks(levels: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return (step, band) of local maxima, the strongest of every second, in order of time."""
    highest = cv2.dilate(levels, np.ones((9, 13), np.uint8))
    steps, bands = np.nonzero((levels >= highest) & (levels > 1.0))
    inner = (bands >= 8) & (bands < BANDS - 2)
    steps, bands = steps[inner], bands[inner]
    strength = levels[steps, bands]
    kept: list[tuple[int, int]] = []
    for section in range(0, len(levels), SECTION_STEPS):
        inside = np.nonzero((steps >= section) & (steps < section + SECTION_STEPS))[0]
        best = inside[np.argsort(-strength[inside])[:PEAKS_PER_SECTION]]
        kept += [(int(steps[i]), int(bands[i])) for i in best]
    return sorted(kept)


def _pairs(peaks: Sequence[tuple[int, int]], index: int) -> Iterator[SoundMark]:
    step, band = peaks[index]
    found = 0
    for later, other in peaks[index + 1 :]:
        gap = later - step
        if gap > REACH_STEPS[1] or found == PARTNERS:
            return
        if gap >= REACH_STEPS[0] and abs(other - band) <= REACH_BANDS:
            found += 1
            yield SoundMark((band // COARSE << 14) | (other // COARSE << 7) | (gap // COARSE), step)


def aligned(mine: Sequence[SoundMark], theirs: Sequence[SoundMark]) -> int:
    """Return how many marks two recordings share at one and the same offset (two steps more or less)."""
    places: dict[int, list[int]] = {}
    for mark in mine:
        places.setdefault(mark.value, []).append(mark.step)
    votes: dict[int, int] = {}
    for mark in theirs:
        for step in places.get(mark.value, ()):
            votes[mark.step - step] = votes.get(mark.step - step, 0) + 1
    return max((sum(votes.get(offset + near, 0) for near in range(3)) for offset in votes), default=0)
